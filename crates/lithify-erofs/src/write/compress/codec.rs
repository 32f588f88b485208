//! Compressing a segment: extents and the blocks they become.

use super::{Compression, CompressionMethod};
use crate::WriteError;
use crate::format::BLOCK_SIZE;
use crate::format::compressed::Extent;
use crate::lz4;

/// Compression must save this part of an extent, or it is stored as it is: reading costs a decompression.
const SAVED_PART: usize = 16;

/// Compresses segments, one at a time.
pub(super) struct Codec {
    /// Bytes of a cluster: compressed ones for LZ4, uncompressed ones for Zstandard.
    cluster: usize,
    backend: Backend,
    scratch: Vec<u8>,
}

enum Backend {
    Lz4(lz4::Encoder),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

impl Codec {
    pub(super) fn new(options: &Compression) -> Result<Self, WriteError> {
        let cluster = options.cluster_size as usize;
        let (backend, scratch) = match options.method {
            CompressionMethod::Lz4 => (Backend::Lz4(lz4::Encoder::new()), cluster),
            CompressionMethod::Zstd { level } => {
                let failed = |source| WriteError::Compress { source };
                let mut zstd = zstd::bulk::Compressor::new(level).map_err(failed)?;
                // What is known of the length makes the window no larger than it.
                zstd.include_contentsize(true).map_err(failed)?;
                zstd.include_checksum(false).map_err(failed)?;
                zstd.include_dictid(false).map_err(failed)?;
                zstd.set_parameter(zstd::zstd_safe::CParameter::WindowLog(
                    cluster.ilog2().max(10),
                ))
                .map_err(failed)?;
                let bound = zstd::zstd_safe::compress_bound(cluster);
                (Backend::Zstd(Box::new(zstd)), bound)
            }
        };
        Ok(Self {
            cluster,
            backend,
            scratch: vec![0; scratch],
        })
    }

    /// Appends the extents of a segment and their blocks. If all of it becomes one extent of at most `inline_max` bytes,
    /// these are not padded to a block. A segment in which nothing is worth compressing leaves both vectors as they are.
    pub(super) fn compress(
        &mut self,
        input: &[u8],
        inline_max: usize,
        extents: &mut Vec<Extent>,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, WriteError> {
        if input.len() <= BLOCK_SIZE && inline_max == 0 {
            return Ok(Outcome::Plain);
        }
        let mut pieces = Pieces {
            input,
            inline_max,
            at: 0,
            extents,
            out,
            outcome: Outcome::Plain,
        };
        let (first_extent, first_byte) = (pieces.extents.len(), pieces.out.len());
        match &mut self.backend {
            Backend::Lz4(encoder) => lz4_segment(encoder, &mut self.scratch, &mut pieces),
            Backend::Zstd(zstd) => {
                zstd_segment(zstd, self.cluster, &mut self.scratch, &mut pieces)?;
            }
        }
        let outcome = pieces.outcome;
        if outcome == Outcome::Plain {
            extents.truncate(first_extent);
            out.truncate(first_byte);
        }
        Ok(outcome)
    }
}

/// What has become of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It stays as it is.
    Plain,
    /// Extents in blocks, at least one of them compressed.
    Blocks,
    /// One extent, without padding.
    Inline,
}

/// A segment being cut up.
struct Pieces<'a> {
    input: &'a [u8],
    inline_max: usize,
    /// Start of the next extent.
    at: usize,
    extents: &'a mut Vec<Extent>,
    out: &'a mut Vec<u8>,
    outcome: Outcome,
}

/// Cuts the segment so that each cluster is full.
fn lz4_segment(encoder: &mut lz4::Encoder, block: &mut [u8], pieces: &mut Pieces<'_>) {
    encoder.begin(pieces.input.len());
    while pieces.at < pieces.input.len() {
        let (consumed, produced) = encoder.fill(pieces.input, pieces.at, block);
        pieces.push(consumed, &block[..produced]);
    }
}

/// Cuts the segment into pieces of one size.
fn zstd_segment(
    zstd: &mut zstd::bulk::Compressor<'_>,
    cluster: usize,
    scratch: &mut [u8],
    pieces: &mut Pieces<'_>,
) -> Result<(), WriteError> {
    for piece in pieces.input.chunks(cluster) {
        let produced = zstd
            .compress_to_buffer(piece, scratch)
            .map_err(|source| WriteError::Compress { source })?;
        pieces.push(piece.len(), &scratch[..produced]);
    }
    Ok(())
}

/// Whether an extent should be stored compressed. Extents that save less than a block of several never are, so that
/// each covers more logical clusters than its physical cluster has blocks: the index relies on it.
fn is_worth(consumed: usize, produced: usize) -> bool {
    produced.next_multiple_of(BLOCK_SIZE) + consumed / SAVED_PART < consumed
}

impl Pieces<'_> {
    /// Stores the next `length` bytes compressed, if that is worth it.
    fn push(&mut self, length: usize, compressed: &[u8]) {
        if length == self.input.len()
            && compressed.len() <= self.inline_max
            && compressed.len() + length / SAVED_PART < length
        {
            self.out.extend_from_slice(compressed);
            self.outcome = Outcome::Inline;
            self.advance(length, 1);
        } else if is_worth(length, compressed.len()) {
            self.compressed(length, compressed);
        } else {
            self.plain(length);
        }
    }

    fn advance(&mut self, length: usize, blocks: usize) {
        // Lengths are at most a segment's, blocks at most a cluster's.
        self.extents.push(Extent {
            length: length as u32,
            blocks: blocks as u16,
        });
        self.at += length;
    }

    /// Stores compressed bytes behind zeros: the kernel decompresses in place, towards the end.
    fn compressed(&mut self, length: usize, bytes: &[u8]) {
        let blocks = bytes.len().div_ceil(BLOCK_SIZE);
        let padding = blocks * BLOCK_SIZE - bytes.len();
        self.out.resize(self.out.len() + padding, 0);
        self.out.extend_from_slice(bytes);
        self.outcome = Outcome::Blocks;
        self.advance(length, blocks);
    }

    /// Stores about `length` bytes as they are, each block an extent. The last one does not end in the middle of a logical
    /// cluster at the end of the segment, where no further extent could start.
    fn plain(&mut self, length: usize) {
        let end = self.at + length;
        loop {
            let left = self.input.len() - self.at;
            let in_cluster = BLOCK_SIZE - self.at % BLOCK_SIZE;
            // A plain extent has no cluster to itself behind the one it starts in.
            let n = if left <= BLOCK_SIZE {
                left.min(in_cluster)
            } else {
                BLOCK_SIZE
            };
            self.out
                .extend_from_slice(&self.input[self.at..self.at + n]);
            self.out.resize(self.out.len() + BLOCK_SIZE - n, 0);
            self.advance(n, 0);
            let all = end == self.input.len();
            if self.at >= end || !all && self.at + BLOCK_SIZE > end {
                return;
            }
        }
    }
}
