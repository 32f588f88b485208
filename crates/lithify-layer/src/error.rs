//! Why a layer cannot be read.

use crate::{BlobError, TarError, TarFault};

/// Why a layer cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The tar in it.
    #[error(transparent)]
    Tar(Box<TarError>),
    /// The reader was asked for more after it had failed.
    #[error("this layer could not be read, as an earlier error said")]
    Failed,
}

impl Error {
    /// Whether the blob is not what it should be: wrong digest, size or diff_id, or not intact by its own checksums.
    #[must_use]
    pub const fn is_verification(&self) -> bool {
        match self {
            Self::Blob(error) => error.is_verification(),
            Self::Tar(error) => matches!(
                error.fault,
                TarFault::Checksum { .. } | TarFault::Truncated { .. }
            ),
            Self::Failed => false,
        }
    }
}

impl From<TarError> for Error {
    fn from(error: TarError) -> Self {
        Self::Tar(Box::new(error))
    }
}

/// Why a file's data could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError<E> {
    /// The layer cannot be read.
    #[error(transparent)]
    Layer(#[from] Error),
    /// The sink does not take it.
    #[error(transparent)]
    Sink(E),
}
