//! What can be wrong with the list of images, or with a manifest.

use lithify_digest::Digest;

use crate::refs::MAX_DOCUMENT;

/// Longest `index.json`, in bytes.
pub(crate) const MAX_INDEX: usize = 4 << 20;

/// What is wrong with the list of images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// There is none.
    #[error("it is missing")]
    Missing,
    /// More bytes than it may have.
    #[error("it has more than {MAX_INDEX} bytes")]
    TooLarge,
    /// Not a regular file.
    #[error("it is not a regular file")]
    NotAFile,
    /// Not JSON.
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    /// Not an index.
    #[error("it is not an image index: expected an object with a list `manifests`")]
    Form,
}

/// What is wrong with a manifest or index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// More bytes than any has.
    #[error("a manifest has at most {MAX_DOCUMENT} bytes")]
    TooLarge,
    /// Other bytes than its name says.
    #[error("its bytes have the digest {found}")]
    Digest {
        /// The digest of its bytes.
        found: Box<Digest>,
    },
    /// Not JSON.
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
}
