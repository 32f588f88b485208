//! Why an `image.json` does not describe what is in its directory.

use lithify_tree::Escaped;

use super::Names;

/// Why an `image.json` does not describe what is in its directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptionProblem {
    /// A file that is used, and not among the artifacts.
    #[error("`{}` is used and not among its artifacts, so that no digest covers it", Escaped(.name))]
    NotDescribed {
        /// The file.
        name: String,
    },
    /// Files or directories it does not name, so that no digest covers them.
    #[error("it does not name {names}, which is in its directory")]
    Foreign {
        /// Their names.
        names: Names,
    },
    /// An artifact without a digest.
    #[error("it has no SHA-256 of `{}`", Escaped(.name))]
    NoDigest {
        /// The file.
        name: String,
    },
    /// Two artifacts of one name.
    #[error("it describes `{}` twice", Escaped(.name))]
    Twice {
        /// The file.
        name: String,
    },
    /// A file in a place of the stack that is for files of another format.
    #[error("`{}` has the format `{}`, its place in the stack is for `{expected}`", Escaped(.name), Escaped(.found))]
    Format {
        /// The file.
        name: String,
        /// Its format.
        found: String,
        /// The format of what belongs there.
        expected: &'static str,
    },
    /// The stack has more or fewer layers than the image.
    #[error("the stack has {found} layers, the image has {expected}")]
    LayerCount {
        /// Layers of the image.
        expected: usize,
        /// Layers of the overlay.
        found: usize,
    },
    /// A layer's image in another layer's place.
    #[error(
        "layer {index} of the stack is `{}`, the image of {}: expected the one of {}",
        Escaped(.name), Escaped(.found), Escaped(.expected)
    )]
    LayerOrder {
        /// The position, 0 is the bottom.
        index: usize,
        /// The file.
        name: String,
        /// The diff_id of the layer that is there.
        expected: String,
        /// The diff_id of the file's layer.
        found: String,
    },
    /// The devices of the merged image are not the layers of the overlay.
    #[error("the devices of the stack are not the layers of its overlay, bottom first")]
    Devices,
    /// Places on the disk that are not those the merged image says.
    #[error("the stack has other disk offsets than `{}` says", Escaped(.name))]
    DiskOffsets {
        /// The merged image.
        name: String,
    },
    /// A file with a root hash that is not the one described.
    #[error("`{}` does not say what is described of its image's hash tree", Escaped(.name))]
    Sidecar {
        /// The file.
        name: String,
    },
    /// A file with a root hash beside an image that has none.
    #[error("`{}` stands beside an image without a hash tree", Escaped(.name))]
    StraySidecar {
        /// The file.
        name: String,
    },
}
