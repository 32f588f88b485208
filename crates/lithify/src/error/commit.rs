//! Why changes cannot be made a layer.

use std::path::PathBuf;

use lithify_digest::Mismatch;
use lithify_tree::Escaped;

use super::ErrorKind;

/// Why changes cannot be made a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Changes a layer cannot say, or an upper directory that cannot be read.
    #[error(transparent)]
    Upper(#[from] lithify_hostfs::UpperError),
    /// A commit goes into an OCI layout, under a tag, on top of an image with a configuration.
    #[error(
        "`{name}` cannot take a commit: expected oci:DIR or oci:DIR:TAG, and a base image with layers and a configuration"
    )]
    CommitDestination {
        /// The destination asked for.
        name: String,
    },
    /// A path without a transport where a commit is to go.
    #[error("`{name}` is a path, not an image layout: a commit goes to oci:DIR or oci:DIR:TAG")]
    CommitPath {
        /// The destination asked for.
        name: String,
    },
    /// There is nothing to append a layer to.
    #[error("there is no image layout at `{}` to append to; name the image the changes were made on with --base", Escaped::path(.path))]
    NoBase {
        /// Where one was expected.
        path: PathBuf,
    },
    /// The layout cannot be written.
    #[error(transparent)]
    Layout(Box<lithify_oci::layout::Error>),
    /// A layer of the base image is not what its digest says.
    #[error("layer {index} of the base image is not what the image says: {source}")]
    BaseLayer {
        /// Its position, 0 is the bottom.
        index: usize,
        /// The difference.
        source: Mismatch,
    },
    /// The base image's configuration is no JSON object.
    #[error("the base image's configuration cannot be extended")]
    BaseConfig {
        /// Why not.
        source: serde_json::Error,
    },
}

impl CommitError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::CommitPath { .. } => ErrorKind::Usage,
            Self::BaseLayer { .. } => ErrorKind::Verification,
            Self::Layout(source) => match **source {
                lithify_oci::layout::Error::Mismatch { .. } => ErrorKind::Verification,
                ref source => ErrorKind::of_causes(source, ErrorKind::Unsupported),
            },
            Self::Upper(source) => ErrorKind::of_causes(source, ErrorKind::Unsupported),
            Self::NoBase { .. } => ErrorKind::NotFound,
            Self::CommitDestination { .. } | Self::BaseConfig { .. } => ErrorKind::Unsupported,
        }
    }
}
