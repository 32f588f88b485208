//! Reasons why a delta cannot be created.

use std::io;

use lithify_cancel::Cancelled;
use lithify_tar::TarError;
use lithify_tree::TreePath;

use crate::format::WriteError;

/// The reason why a delta cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A file of the old image.
    #[error("`{path}` of the old image cannot be read")]
    Old {
        /// The file.
        path: TreePath,
        /// The error of its storage.
        source: io::Error,
    },
    /// The new layer's tar.
    #[error("the new layer is no tar that lithify reads")]
    Tar(#[source] Box<TarError>),
    /// The delta.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A thread that compares files panicked.
    #[error("a thread that compares files ended before its work was done")]
    ThreadLost,
    /// Stopped from outside.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
