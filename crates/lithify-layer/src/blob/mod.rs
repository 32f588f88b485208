//! From a blob to a verified tar: reading, hashing, decompressing, side by side.
//!
//! ```text
//! lithify-read            lithify-inflate        lithify-diff-id
//! blob ──read──▶ chunk ───inflate──▶ chunk ──┬──▶ diff_id
//!                  └──▶ blob digest          └──▶ the caller's thread parses the tar
//! ```
//!
//! Chunks are shared, not copied, and come from two small pools they return to: a layer takes the same few megabytes
//! whatever its size, and a stage that falls behind stops those before it.

mod buffer; // chunks and their pools
mod cancel; // stopping early
mod compression; // which compression, by magic
mod error; // what can be wrong
mod foreign; // what is no tar
mod gzip; // RFC 1952 members
mod input; // the blob's bytes, read ahead
mod lane; // hashing the tar's chunks as they pass
mod pipeline; // with threads or without
mod producer; // source, decoder and hashes together
mod source; // reading the blob with digest, size and cancellation
mod zstd; // RFC 8878 frames

pub(crate) use buffer::Chunk;
pub use compression::Compression;
pub use error::{BlobError, ZstdFault};
pub use foreign::ForeignFormat;
pub(crate) use pipeline::Pipeline;

use lithify_digest::Digest;

/// What the image says about a blob. Whatever is known is verified; an expectation left out is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Digest of the blob as stored, from its descriptor.
    pub digest: Option<Digest>,
    /// Size of the blob as stored, in bytes, from its descriptor. No byte more is taken from the source, except one
    /// to see that there is none.
    pub size: Option<u64>,
    /// Digest of the decompressed tar, from the image config's `rootfs.diff_ids`.
    pub diff_id: Option<Digest>,
    /// What the media type says. The blob's own magic decides; see [`Compression`].
    pub compression: Option<Compression>,
}

impl Expected {
    /// Nothing is known of the blob.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            digest: None,
            size: None,
            diff_id: None,
            compression: None,
        }
    }
}

/// What a blob turned out to be, after everything expected of it was found true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) diff_id: Digest,
    pub(crate) tar_size: u64,
    pub(crate) compression: Compression,
}
