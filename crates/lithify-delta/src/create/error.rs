//! Why a delta cannot be created.

use std::io;

use lithify_cancel::Cancelled;
use lithify_tar::TarError;
use lithify_tree::TreePath;

use crate::format::WriteError;

/// Why a delta cannot be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A file of the old image.
    #[error("`{path}` of the old image cannot be read")]
    Old {
        /// The file.
        path: TreePath,
        /// What its storage says.
        source: io::Error,
    },
    /// The bytes of the new layer.
    #[error("the new layer cannot be read")]
    New(#[source] io::Error),
    /// The new layer's tar.
    #[error("the new layer is no tar that lithify reads")]
    Tar(#[source] Box<TarError>),
    /// The delta.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// No thread can be had.
    #[error("no thread can be started")]
    Thread(#[source] io::Error),
    /// Stopped from outside.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
