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

    /// Appends the extents of a segment and their blocks. A segment in which nothing is worth compressing leaves both
    /// as they are, and gives `false`.
    pub(super) fn compress(
        &mut self,
        input: &[u8],
        extents: &mut Vec<Extent>,
        out: &mut Vec<u8>,
    ) -> Result<bool, WriteError> {
        let (first_extent, first_byte) = (extents.len(), out.len());
        if input.len() > BLOCK_SIZE {
            match &mut self.backend {
                Backend::Lz4(encoder) => {
                    lz4_segment(encoder, input, &mut self.scratch, extents, out)
                }
                Backend::Zstd(zstd) => {
                    zstd_segment(zstd, input, self.cluster, &mut self.scratch, extents, out)?;
                }
            }
        }
        if extents[first_extent..].iter().any(|e| e.blocks > 0) {
            return Ok(true);
        }
        extents.truncate(first_extent);
        out.truncate(first_byte);
        Ok(false)
    }
}

/// Cuts the segment so that each cluster is full.
fn lz4_segment(
    encoder: &mut lz4::Encoder,
    input: &[u8],
    block: &mut [u8],
    extents: &mut Vec<Extent>,
    out: &mut Vec<u8>,
) {
    encoder.begin(input.len());
    let mut at = 0;
    while at < input.len() {
        let (consumed, produced) = encoder.fill(input, at, block);
        at = if is_worth(consumed, produced) {
            compressed(&block[..produced], consumed, extents, out);
            at + consumed
        } else {
            plain(input, at, consumed, extents, out)
        };
    }
}

/// Cuts the segment into pieces of one size.
fn zstd_segment(
    zstd: &mut zstd::bulk::Compressor<'_>,
    input: &[u8],
    cluster: usize,
    scratch: &mut [u8],
    extents: &mut Vec<Extent>,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let mut at = 0;
    for piece in input.chunks(cluster) {
        let produced = zstd
            .compress_to_buffer(piece, scratch)
            .map_err(|source| WriteError::Compress { source })?;
        if is_worth(piece.len(), produced) {
            compressed(&scratch[..produced], piece.len(), extents, out);
        } else {
            plain(input, at, piece.len(), extents, out);
        }
        at += piece.len();
    }
    Ok(())
}

/// Whether an extent should be stored compressed. Extents that save less than a block of several never are, so that
/// each covers more logical clusters than its physical cluster has blocks: the index relies on it.
fn is_worth(consumed: usize, produced: usize) -> bool {
    produced.next_multiple_of(BLOCK_SIZE) + consumed / SAVED_PART < consumed
}

/// Stores compressed bytes behind zeros: the kernel decompresses in place, towards the end.
fn compressed(bytes: &[u8], length: usize, extents: &mut Vec<Extent>, out: &mut Vec<u8>) {
    let blocks = bytes.len().div_ceil(BLOCK_SIZE);
    out.resize(out.len() + blocks * BLOCK_SIZE - bytes.len(), 0);
    out.extend_from_slice(bytes);
    // Lengths are at most a segment's, blocks at most a cluster's.
    extents.push(Extent {
        length: length as u32,
        blocks: blocks as u16,
    });
}

/// Stores about `length` bytes from `at` on as they are, each block an extent, and says where the last one ends: not
/// in the middle of a logical cluster at the end of the segment, where no further extent could start.
fn plain(
    input: &[u8],
    mut at: usize,
    length: usize,
    extents: &mut Vec<Extent>,
    out: &mut Vec<u8>,
) -> usize {
    let end = at + length;
    loop {
        let left = input.len() - at;
        let in_cluster = BLOCK_SIZE - at % BLOCK_SIZE;
        // Data plain extents hold has no cluster behind its head's to itself.
        let n = if left <= BLOCK_SIZE {
            left.min(in_cluster)
        } else {
            BLOCK_SIZE
        };
        out.extend_from_slice(&input[at..at + n]);
        out.resize(out.len().next_multiple_of(BLOCK_SIZE), 0);
        extents.push(Extent {
            length: n as u32,
            blocks: 0,
        });
        at += n;
        if at + BLOCK_SIZE > end && (at >= end || end < input.len()) {
            return at;
        }
    }
}
