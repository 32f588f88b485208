//! Telling an embedder how far a build is.

use std::fmt;

/// Receives [`Event`]s. Called from the building threads: it must be quick and must not block.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// What happens during a build, in this order for each layer; layers may overlap.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The number of layers is known.
    Started {
        /// How many layers will be decoded.
        layers: usize,
    },
    /// A layer begins.
    Layer {
        /// Its position in the image, 0 is the bottom.
        index: usize,
        /// Its blob digest or diff_id, for display.
        name: &'a str,
        /// Size of the blob in bytes, when it is known.
        blob_size: Option<u64>,
    },
    /// More of a layer's blob was read.
    Read {
        /// The layer's position.
        index: usize,
        /// Bytes of the blob read so far.
        blob_bytes: u64,
    },
    /// More of a layer's data is where it is to be in the target. Ahead of that is what [`Read`](Self::Read) says: what has
    /// arrived and waits to be decoded.
    Written {
        /// The layer's position.
        index: usize,
        /// Bytes of file data so far.
        data_bytes: u64,
    },
    /// A layer is decoded and verified.
    LayerDone {
        /// The layer's position.
        index: usize,
        /// Bytes of tar it held.
        tar_bytes: u64,
        /// Entries it had.
        entries: u64,
    },
    /// A blob is where it was to be transferred.
    BlobDone {
        /// Its position among the blobs.
        index: usize,
        /// Its digest.
        name: &'a str,
        /// Its size.
        bytes: u64,
        /// Whether it was sent; it may have been there.
        copied: bool,
    },
    /// All data is in place; the target writes its metadata.
    Finishing,
}

/// Ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}

impl fmt::Debug for dyn Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
