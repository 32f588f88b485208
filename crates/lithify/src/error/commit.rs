//! Why changes cannot be made a layer.

use lithify_tree::Printable;

use super::ErrorKind;

/// Why changes cannot be made a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Changes a layer cannot say, or an upper directory that cannot be read.
    #[error(transparent)]
    Upper(#[from] lithify_hostfs::UpperError),
    /// The base image is a file tree.
    #[error(
        "`{name}` cannot be the base of a commit: it has no configuration; copy it to an image first"
    )]
    Base {
        /// The base image.
        name: String,
    },
    /// There is nothing to append a layer to.
    #[error("there is no image `{}` to append to; name the image the changes were made on with --base", Printable(.name))]
    NoBase {
        /// The destination's name.
        name: String,
        /// What was found instead, if anything was.
        source: Option<Box<crate::Error>>,
    },
    /// The layout cannot be written.
    #[error(transparent)]
    Layout(Box<lithify_oci::layout::Error>),
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
            Self::Layout(source) => match **source {
                lithify_oci::layout::Error::Mismatch { .. } => ErrorKind::Verification,
                ref source => ErrorKind::of_causes(source, ErrorKind::Unsupported),
            },
            Self::Upper(source) => ErrorKind::of_causes(source, ErrorKind::Unsupported),
            Self::NoBase { .. } => ErrorKind::NotFound,
            Self::Base { .. } | Self::BaseConfig { .. } => ErrorKind::Unsupported,
        }
    }
}
