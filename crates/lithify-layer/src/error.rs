//! Why a layer cannot be read.

use lithify_tar::{Located, TarError, TarFault};
use lithify_tree::{Escaped, PathError, WhiteoutError};

use crate::BlobError;

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
    /// A member of the tar that cannot be an entry of a layer.
    #[error(transparent)]
    Entry(Box<EntryError>),
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
            Self::Entry(_) | Self::Failed => false,
        }
    }
}

impl From<TarError> for Error {
    fn from(error: TarError) -> Self {
        Self::Tar(Box::new(error))
    }
}

impl From<EntryError> for Error {
    fn from(error: EntryError) -> Self {
        Self::Entry(Box::new(error))
    }
}

/// A member of a tar that cannot be an entry of a layer, and where it is.
pub type EntryError = Located<EntryFault>;

/// Why a member of a tar cannot be an entry of a layer.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryFault {
    /// The name cannot be a path in an image.
    #[error(transparent)]
    Path(PathError),
    /// A hard link's target cannot be a path in an image.
    #[error("hard link target: {0}")]
    HardLinkTarget(PathError),
    /// The image root as something else than a directory (CVE-2021-29136).
    #[error("the root can only be a directory, not a {kind}")]
    RootNotDirectory {
        /// The kind of entry.
        kind: &'static str,
    },
    /// A whiteout that names nothing.
    #[error(transparent)]
    Whiteout(#[from] WhiteoutError),
    /// A name that is a whiteout, an opaque marker or AUFS' own in a layer, in a tar that is no layer
    /// ([`Names::Plain`](crate::Names::Plain)).
    #[error(
        "the name begins with `{}`, which makes it a whiteout in a layer: this tar is a root filesystem, with nothing below it to remove, and no image can hold such a file; rename it or leave it out",
        Escaped(lithify_tree::WHITEOUT_PREFIX)
    )]
    ReservedName,
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
