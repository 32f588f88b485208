//! Compressing file data while it arrives.
//!
//! A file is cut into *segments* of two megabytes, each compressed without looking at the others. Segments are gathered into
//! batches, batches go to threads, and what comes back is placed in the order it was handed in: what an image looks like does not
//! depend on the number of threads or on how fast they are. The caller waits when too many batches are under way, so
//! memory is bounded.

mod codec; // one segment
mod index; // the index behind an inode
mod place; // results to their place
mod pool; // batches as work of threads

pub(crate) use index::{encode_index, index_len};
pub(super) use place::{Compressor, Piece};

use std::num::NonZeroUsize;

use crate::WriteError;
use crate::format::BLOCK_SIZE;
use crate::format::compressed::{Method, PHYSICAL_MAX, settings};
use crate::format::inode::EXTENDED_LEN;
use crate::format::superblock::incompat;

/// Bytes of a file that are compressed on their own. A multiple of every cluster size.
const SEGMENT_LEN: usize = 2 << 20;

/// Bytes after which a batch goes to a thread.
const BATCH_LEN: usize = 1 << 20;

/// How data of files is compressed.
///
/// ```
/// use lithify_erofs::{Compression, CompressionMethod, DataOptions};
///
/// let mut options = DataOptions::default();
/// options.compression = Some(Compression::new(CompressionMethod::Zstd { level: 3 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// The algorithm.
    pub method: CompressionMethod,
    /// Size of what is read and decompressed together, in bytes: a power of two from 4096 (8192 for Zstandard) to 1 MiB.
    /// With LZ4 it is the size of compressed clusters, each filled with as much data as fits; with Zstandard that of the data
    /// compressed together, which takes as many blocks as it needs. Larger is smaller in the image and slower where
    /// little is read from many places. LZ4 with 4096 mounts from Linux 5.4 on if nothing is [`inline`](Self::inline), with
    /// more from 5.13. Default 64 KiB for LZ4, 128 KiB for Zstandard.
    pub cluster_size: u32,
    /// Whether what becomes smaller than a block stands behind its inode, which is most of small files and needs Linux 5.17.
    /// Never with [`block_aligned`](super::DataOptions::block_aligned). Default yes.
    pub inline: bool,
    /// Threads that compress. Default 1: none but the caller's. Each takes up to about 16 MiB; the image is the same
    /// whatever their number.
    pub threads: NonZeroUsize,
}

/// A compression algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompressionMethod {
    /// LZ4: the fastest to read.
    Lz4,
    /// Zstandard: smaller, for Linux 6.10 and later.
    Zstd {
        /// 1 to 22, usually 3.
        level: i32,
    },
}

impl Compression {
    /// With the defaults of a method.
    #[must_use]
    pub const fn new(method: CompressionMethod) -> Self {
        Self {
            method,
            cluster_size: match method {
                CompressionMethod::Lz4 => 64 << 10,
                CompressionMethod::Zstd { .. } => 128 << 10,
            },
            inline: true,
            threads: NonZeroUsize::MIN,
        }
    }

    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<(), WriteError> {
        let (min, level) = match self.method {
            CompressionMethod::Lz4 => (BLOCK_SIZE, None),
            CompressionMethod::Zstd { level } => (2 * BLOCK_SIZE, Some(level)),
        };
        let size = self.cluster_size as usize;
        if !size.is_power_of_two() || !(min..=PHYSICAL_MAX).contains(&size) {
            return Err(WriteError::ClusterSize {
                size: self.cluster_size,
                min: min as u32,
            });
        }
        match level {
            Some(level) if !(1..=22).contains(&level) => {
                Err(WriteError::CompressionLevel { level })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            method: match self.method {
                CompressionMethod::Lz4 => Method::Lz4,
                CompressionMethod::Zstd { .. } => Method::Zstd,
            },
            cluster_blocks: (self.cluster_size as usize / BLOCK_SIZE) as u16,
        }
    }
}

/// Shortest file worth compressing.
pub(super) const FILE_MIN: u64 = 128;

/// Longest compressed data kept for its inode, in bytes, of a file of `size` bytes: inode and index have to fit the same
/// block.
fn inline_max(size: u64) -> u64 {
    let fixed = EXTENDED_LEN as u64;
    (BLOCK_SIZE as u64 - fixed).saturating_sub(index_len(fixed, size))
}

/// What an image says of its compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) method: Method,
    /// Blocks in the largest physical cluster.
    pub(crate) cluster_blocks: u16,
}

impl Settings {
    /// Bits of `feature_incompat`. One block per cluster is what Linux has read from the beginning.
    pub(crate) const fn features(self) -> u32 {
        if self.has_superblock_extra() {
            incompat::ZERO_PADDING | incompat::COMPRESSION_SETTINGS
        } else {
            incompat::ZERO_PADDING
        }
    }

    /// Value of the superblock's field for algorithms, which without settings is LZ4's window.
    pub(crate) const fn available(self) -> u16 {
        if self.has_superblock_extra() {
            1 << self.method.code()
        } else {
            0
        }
    }

    const fn has_superblock_extra(self) -> bool {
        self.is_big() || !matches!(self.method, Method::Lz4)
    }

    /// What follows the superblock.
    pub(crate) fn superblock_extra(self) -> Vec<u8> {
        if !self.has_superblock_extra() {
            return Vec::new();
        }
        settings::encode(self.method, self.cluster_blocks)
    }

    /// Whether physical clusters have several blocks.
    pub(crate) const fn is_big(self) -> bool {
        self.cluster_blocks > 1
    }
}
