//! Why the layers of an image cannot be read or applied.

use super::words::At;
use super::{ErrorKind, NativeLayerError};

/// Why the layers of an image cannot be read or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A layer is not what the image says, or cannot be decoded.
    #[error("layer {index} ({name})")]
    Layer {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest, diff_id or path.
        name: String,
        /// What is wrong with it.
        source: Box<lithify_layer::Error>,
    },
    /// A layer that is an EROFS image is not what the image says, or cannot be used.
    #[error("layer {index} ({name})")]
    NativeLayer {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest.
        name: String,
        /// What is wrong with it.
        source: Box<NativeLayerError>,
    },
    /// A layer cannot be applied to those below it.
    #[error("layer {index} ({name}) cannot be applied")]
    Merge {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest, diff_id or path.
        name: String,
        /// Why not.
        source: lithify_tree::MergeError,
    },
    /// All layers of an image together ask for more than the limits allow ([`ImageLimits`](crate::ImageLimits)).
    #[error("layer {index} ({name}){}", At(.path.as_ref()))]
    Budget {
        /// The layer that was too much, 0 is the bottom.
        index: usize,
        /// Its digest, diff_id or path.
        name: String,
        /// The entry that was too much, if it was one.
        path: Option<lithify_tree::TreePath>,
        /// Which limit, and how far the layers got.
        source: lithify_cancel::BudgetExceeded,
    },
    /// The entries of something that is no layer of an image make no tree.
    #[error("{name} cannot be made a tree of files")]
    Tree {
        /// The name of what they are of.
        name: String,
        /// Why not.
        source: lithify_tree::MergeError,
    },
    /// What is looked at has more than 4 GiB of names.
    #[error("there are too many names to be kept")]
    TooManyNames(#[source] lithify_tree::LayerFull),
    /// A layer is no EROFS image, though it was one when it was looked at first.
    #[error("layer {index} ({name}) is no EROFS image any more")]
    NotNative {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest.
        name: String,
    },
    /// A layer has more than 4 GiB of names.
    #[error("layer {index}")]
    LayerFull {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// The limit met.
        source: lithify_tree::LayerFull,
    },
    /// A layer cannot be a layer of an overlay.
    #[error("layer {index} ({name}) cannot have an image of its own")]
    Overlay {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its digest, diff_id or path.
        name: String,
        /// Why not.
        source: lithify_tree::overlay::OverlayError,
    },
    /// The host directory cannot be read as a root filesystem.
    #[error(transparent)]
    Scan(#[from] lithify_hostfs::ScanError),
}

impl LayerError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Layer { source, .. } if source.is_verification() => ErrorKind::Verification,
            Self::Layer { source, .. } => ErrorKind::of_causes(&**source, ErrorKind::Unsupported),
            Self::NativeLayer { source, .. } if source.is_verification() => ErrorKind::Verification,
            Self::NativeLayer { source, .. } => {
                ErrorKind::of_causes(&**source, ErrorKind::Unsupported)
            }
            Self::Merge { .. } | Self::Tree { .. } | Self::Overlay { .. } => ErrorKind::Unsupported,
            Self::NotNative { .. } => ErrorKind::Verification,
            Self::Budget { .. } | Self::LayerFull { .. } | Self::TooManyNames(_) => {
                ErrorKind::Limit
            }
            Self::Scan(source) => ErrorKind::of_causes(source, ErrorKind::Unsupported),
        }
    }
}
