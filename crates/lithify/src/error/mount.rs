//! Why an image cannot be mounted, or a mount not ended.

use std::path::PathBuf;

use lithify_tree::Escaped;

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
    /// fs-verity is required of a composefs repository that is not under it.
    #[error(
        "fs-verity is required, and the composefs repository `{}` is not under it: the kernel would compare no file; mount it with `--verity auto`, \
         or copy the image to a repository on a filesystem with fs-verity (ext4 with `tune2fs -O verity`, btrfs, f2fs)", Escaped::path(.path))]
    NoVerity {
        /// The repository.
        path: PathBuf,
    },
    /// fs-verity of files is asked for, of what is no image of a composefs repository.
    #[error(
        "`--verity` says what is done with files of a composefs repository: it is for `composefs:REPO[:NAME]` alone"
    )]
    VerityOfFiles,
    /// The mount, or its end, did not work.
    #[error(transparent)]
    Mount(#[from] lithify_mount::MountError),
}

impl MountError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OverlayMark { .. } | Self::NoVerity { .. } => ErrorKind::Unsupported,
            Self::VerityOfFiles => ErrorKind::Usage,
            Self::Mount(source) => ErrorKind::of_causes(source, ErrorKind::Unsupported),
        }
    }
}
