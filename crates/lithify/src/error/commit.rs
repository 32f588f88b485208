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
    /// An option about overlays, for a disk.
    #[error("{option} can be said of an overlay's directory only, not of a disk")]
    NoOverlay {
        /// The option.
        option: &'static str,
    },
    /// A name on a disk that a layer would take for a removal.
    #[error("`{path}` cannot be in a layer: names that begin with `.wh.` remove others there")]
    WhiteoutName {
        /// The path.
        path: lithify_tree::TreePath,
    },
    /// A path on a disk that cannot be in a layer.
    #[error(transparent)]
    Path(lithify_tree::PathError),
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
            Self::NoOverlay { .. } => ErrorKind::Usage,
            Self::Base { .. }
            | Self::BaseConfig { .. }
            | Self::WhiteoutName { .. }
            | Self::Path(_) => ErrorKind::Unsupported,
        }
    }
}
