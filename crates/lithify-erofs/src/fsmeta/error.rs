//! What can go wrong merging layers' images.

use lithify_cancel::BudgetExceeded;
use lithify_tree::{Escaped, LayerFull, MergeError};

use crate::{ReadError, WriteError};

/// Why layers' images could not be merged. Layers are counted from 0, bottom first.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FsmetaError {
    /// A layer's image cannot be read.
    #[error("cannot read the image of layer {layer}")]
    Read {
        /// The layer.
        layer: usize,
        /// What is wrong.
        source: ReadError,
    },
    /// Data that chunks cannot point at, since it does not start with a block: ends of files of more than a block, behind
    /// their inodes.
    #[error(
        "`/{}` of layer {layer} does not start and end in blocks of its own: build the layer's image with block-aligned data",
        Escaped(.path)
    )]
    NotAligned {
        /// The layer.
        layer: usize,
        /// The file.
        path: Vec<u8>,
    },
    /// Compressed data, which chunks cannot point at.
    #[error(
        "`/{}` of layer {layer} is compressed: a compressed layer cannot be merged, build its image without compression",
        Escaped(.path)
    )]
    Compressed {
        /// The layer.
        layer: usize,
        /// The file.
        path: Vec<u8>,
    },
    /// A layer whose image has other blocks than 4096 bytes.
    #[error("the image of layer {layer} has blocks of {found} bytes, expected {expected}")]
    BlockSize {
        /// The layer.
        layer: usize,
        /// What all images must have.
        expected: u64,
        /// What this one has.
        found: u64,
    },
    /// A layer whose data lies on further devices itself.
    #[error(
        "the image of layer {layer} has {devices} extra devices: only images in one piece can be merged"
    )]
    LayerDevices {
        /// The layer.
        layer: usize,
        /// Its number of devices.
        devices: usize,
    },
    /// No layers, or more than a 16-bit number can count.
    #[error("{found} layers: a merged image has 1 to {limit}")]
    LayerCount {
        /// How many there are.
        found: usize,
        /// The most there can be.
        limit: usize,
    },
    /// An alignment that is no power of two from one block to 2 GiB.
    #[error("layers cannot be aligned to {found} bytes: a power of two from 4096 to 2³¹ is needed")]
    Alignment {
        /// What was asked for.
        found: u64,
    },
    /// Block numbers over all images have 32 bits: 16 TiB.
    #[error("merged image and layers together have {blocks} blocks, the limit is 2³²")]
    TooLarge {
        /// How many blocks there are, up to the layer that is too much.
        blocks: u64,
    },
    /// More names in a layer than can be kept.
    #[error("layer {layer} has too many names")]
    LayerFull {
        /// The layer.
        layer: usize,
        /// What is too much.
        source: LayerFull,
    },
    /// A layer that cannot be applied.
    #[error("cannot apply layer {layer}")]
    Merge {
        /// The layer.
        layer: usize,
        /// Why.
        source: MergeError,
    },
    /// All layers together have more entries, names or attributes than they may.
    #[error("layer {layer}")]
    Budget {
        /// The layer that was too much.
        layer: usize,
        /// What is too much.
        source: BudgetExceeded,
    },
    /// The merged image cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
