//! Why a delta cannot be created or applied.

use std::io;
use std::path::{Path, PathBuf};

use lithify_delta::apply::{PatchError, SourceError};
use lithify_delta::create::CreateError;
use lithify_delta::format::FormatError;
use lithify_digest::Mismatch;
use lithify_layer::BlobError;
use lithify_tree::Escaped;

use super::{ErrorKind, LayerError};

/// Why a delta cannot be created or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// A delta cannot be created.
    #[error("no delta can be made of `{}`", Escaped::path(.path))]
    Create {
        /// The new layer.
        path: PathBuf,
        /// What is wrong.
        source: Box<CreateError>,
    },
    /// A delta cannot be applied.
    #[error("the delta `{}` cannot be applied", Escaped::path(.path))]
    Patch {
        /// The delta.
        path: PathBuf,
        /// What is wrong.
        source: Box<PatchError>,
    },
    /// What a delta made is something else.
    #[error("the delta `{}` made another tar than the one it is for: is the base the right one?", Escaped::path(.path))]
    Result {
        /// The delta.
        path: PathBuf,
        /// What is different.
        source: Mismatch,
    },
    /// The tar cannot be written.
    #[error("the tar cannot be written")]
    Output {
        /// What the system says.
        source: io::Error,
    },
}

impl DeltaError {
    pub(crate) fn create(path: &Path, source: CreateError) -> crate::Error {
        let source = match source {
            CreateError::Cancelled(_) => return crate::Error::cancelled(),
            CreateError::New(e) => match e.downcast::<BlobError>() {
                Ok(BlobError::Cancelled) => return crate::Error::cancelled(),
                Ok(blob) => {
                    return LayerError::Layer {
                        index: 0,
                        name: path.display().to_string(),
                        source: Box::new(blob.into()),
                    }
                    .into();
                }
                Err(e) => CreateError::New(e),
            },
            source => source,
        };
        Self::Create {
            path: path.to_path_buf(),
            source: Box::new(source),
        }
        .into()
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
            Self::Output { source } => ErrorKind::of_io(source),
        }
    }
}
