//! The kinds of errors that readers report as errors of the system.

use std::io;

use lithify_composefs::repository::ObjectError;
use lithify_composefs::splitstream::StreamError;
use lithify_delta::apply::{PatchError, SourceError};
use lithify_delta::format::FormatError;
use lithify_digest::Mismatch;

use super::kind::ErrorKind;
use super::nested::Nested;

impl ErrorKind {
    /// Returns the kind of what the system said.
    pub(super) fn of_io(error: &io::Error) -> Self {
        if let Some(kind) = Self::of_reader(error) {
            return kind;
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::Exists,
            _ => Self::Io,
        }
    }

    /// Returns the kind of what a reader of bytes that are compared reports through an error of the system.
    fn of_reader(error: &io::Error) -> Option<Self> {
        if Mismatch::in_error(error).is_some() {
            return Some(Self::Verification);
        }
        let inner = error.get_ref()?;
        if let Some(error) = inner.downcast_ref::<ObjectError>() {
            return Some(Self::of_object(error));
        }
        if let Some(error) = inner.downcast_ref::<PatchError>() {
            return Some(Self::of_patch(error));
        }
        if let Some(error) = inner.downcast_ref::<Nested>() {
            return Some(error.kind());
        }
        Some(match inner.downcast_ref::<StreamError>()? {
            StreamError::Io(source) | StreamError::OpenObject { source, .. } => Self::of_io(source),
            _ => Self::Verification,
        })
    }

    /// Returns the kind of an error of applying a delta.
    pub(super) fn of_patch(error: &PatchError) -> Self {
        match error {
            PatchError::Cancelled(_) => Self::Cancelled,
            PatchError::Dictionary { .. } => Self::Limit,
            PatchError::Source {
                source: SourceError::Read(error),
                ..
            } => Self::of_io(error),
            PatchError::Format(FormatError::Read(error)) => match Self::of_reader(error) {
                Some(kind) => kind,
                None => Self::Verification,
            },
            PatchError::Format(FormatError::Magic { .. }) => Self::Unsupported,
            _ => Self::Verification,
        }
    }
}
