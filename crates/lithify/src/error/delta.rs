//! Reasons why a delta cannot be created or applied.

use std::path::{Path, PathBuf};

use lithify_delta::apply::{PatchError, SourceError};
use lithify_delta::create::CreateError;
use lithify_delta::format::{FormatError, WriteError};
use lithify_digest::Mismatch;
use lithify_tree::Escaped;

use super::{ErrorKind, Operation};

/// The reason why a delta cannot be created or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// A delta cannot be created.
    #[error("no delta can be made of `{}`", Escaped::path(.path))]
    Create {
        /// The new layer.
        path: PathBuf,
        /// The fault.
        source: Box<CreateError>,
    },
    /// A delta cannot be applied.
    #[error("the delta `{}` cannot be applied", Escaped::path(.path))]
    Patch {
        /// The delta.
        path: PathBuf,
        /// The fault.
        source: Box<PatchError>,
    },
    /// A delta that made something else.
    #[error("the delta `{}` made another tar than the one it is for: is the base the right one?", Escaped::path(.path))]
    Result {
        /// The delta.
        path: PathBuf,
        /// The difference.
        source: Mismatch,
    },
}

impl DeltaError {
    pub(crate) fn create(path: &Path, output: &Path, source: CreateError) -> crate::Error {
        match source {
            CreateError::Cancelled(_) => crate::Error::cancelled(),
            CreateError::Write(WriteError::Write(e)) => {
                crate::Error::output(Operation::Write, output, e)
            }
            source => Self::Create {
                path: path.to_path_buf(),
                source: Box::new(source),
            }
            .into(),
        }
    }

    pub(crate) fn patch(path: &Path, source: PatchError) -> crate::Error {
        if matches!(source, PatchError::Cancelled(_)) {
            return crate::Error::cancelled();
        }
        Self::Patch {
            path: path.to_path_buf(),
            source: Box::new(source),
        }
        .into()
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Create { source, .. } => match &**source {
                CreateError::Tar(_) => ErrorKind::Verification,
                error => ErrorKind::of_causes(error, ErrorKind::Io),
            },
            Self::Patch { source, .. } => match &**source {
                PatchError::Dictionary { .. } => ErrorKind::Limit,
                PatchError::Source {
                    source: SourceError::Read(error),
                    ..
                } => ErrorKind::of_io(error),
                PatchError::Format(FormatError::Magic { .. }) => ErrorKind::Unsupported,
                _ => ErrorKind::Verification,
            },
            Self::Result { .. } => ErrorKind::Verification,
        }
    }
}
