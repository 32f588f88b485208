//! Why an image cannot be mounted, or a mount not ended.

use super::ErrorKind;

/// Why an image cannot be mounted, or a mount not ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// What overlayfs would take for a mark of its own.
    #[error(
        "`/{path}` {mark}, which means something else to the overlay a writable mount is: mount the image read-only, or build \
         it with -f dir and change that"
    )]
    OverlayMark {
        /// The file, escaped.
        path: String,
        /// What it is.
        mark: String,
    },
    /// The mount, or its end, did not work.
    #[error(transparent)]
    Mount(#[from] lithify_mount::MountError),
}

impl MountError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OverlayMark { .. } => ErrorKind::Unsupported,
            Self::Mount(source) => ErrorKind::of_causes(source, ErrorKind::Unsupported),
        }
    }
}
