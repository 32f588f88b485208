//! Why an image cannot be published as a filesystem.

use lithify_digest::Digest;
use lithify_tree::Printable;

use super::ErrorKind;

/// Why an image cannot be published as a filesystem.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The destination cannot take what is published.
    #[error("`{}` cannot be published to: expected docker://NAME:TAG, oci:DIR:TAG, oci-archive:FILE:TAG or a name in the store", Printable(.name))]
    PublishDestination {
        /// The destination asked for.
        name: String,
    },
    /// There is no image for any platform that was asked for.
    #[error("there is no image to be published: it has none for any platform asked for")]
    NoImages,
    /// The image cannot be published as a filesystem.
    #[error("`{}` cannot be published: {reason}", Printable(.name))]
    PublishSource {
        /// The image's name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// The destination lacks an image whose blobs are not kept as they were.
    #[error(
        "the destination has no manifest {manifest}, which what is published refers to, and `{}` keeps its layers decompressed, so that they cannot be put there with it: copy the image there first, from where it came from", Printable(.name)
    )]
    NotThere {
        /// The image's name.
        name: String,
        /// The digest of its manifest.
        manifest: Box<Digest>,
    },
    /// The lowest layer removes something, which the draft format forbids.
    #[error(
        "the lowest layer ({name}) removes `/{path}`, which the draft format does not allow: publish it as containerd has it"
    )]
    PublishWhiteouts {
        /// Its digest.
        name: String,
        /// What it removes, escaped.
        path: String,
    },
}

impl PublishError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoImages | Self::NotThere { .. } => ErrorKind::NotFound,
            Self::PublishDestination { .. } => ErrorKind::Usage,
            Self::PublishSource { .. } | Self::PublishWhiteouts { .. } => ErrorKind::Unsupported,
        }
    }
}
