//! What the superblock says of the compressor, and what stands behind it, in a block of metadata that is never compressed.

use super::superblock::Compressor;
use super::{METADATA_STORED, u32_at};
use crate::compression::Compression;

impl Compression {
    /// What the superblock calls it. An image that is not compressed has to name one all the same.
    pub(crate) fn compressor(self) -> Compressor {
        match self {
            Self::None | Self::Gzip { .. } => Compressor::Gzip,
            Self::Lz4 => Compressor::Lz4,
            Self::Xz { .. } => Compressor::Xz,
            Self::Zstd { .. } => Compressor::Zstd,
        }
    }
}

/// The block, header included; empty where the defaults of every reader are right.
///
/// - gzip: level, window bits and strategies, written when the level is not 9, as readers assume.
/// - lz4: version 1 (the block format) and flags; Linux wants them.
/// - zstd: the level, which says nothing to a reader; written because tools show it.
/// - xz: dictionary size and filters; readers assume a dictionary of the block size and no filter, which is what is
///   written.
pub(crate) fn encode(compression: Compression) -> Vec<u8> {
    let mut body = Vec::new();
    match compression {
        Compression::Gzip { level } if level != 9 => {
            body.extend(u32::from(level).to_le_bytes());
            body.extend(15_u16.to_le_bytes());
            body.extend(1_u16.to_le_bytes());
        }
        Compression::Lz4 => {
            body.extend(1_u32.to_le_bytes());
            body.extend(0_u32.to_le_bytes());
        }
        Compression::Zstd { level } => body.extend(u32::from(level).to_le_bytes()),
        Compression::None | Compression::Gzip { .. } | Compression::Xz { .. } => {}
    }
    if body.is_empty() {
        return body;
    }
    let header = METADATA_STORED | body.len() as u16;
    let mut block = header.to_le_bytes().to_vec();
    block.append(&mut body);
    block
}

/// Whether options of lz4 are of the one version there is.
pub(crate) fn lz4_is_known(body: &[u8]) -> bool {
    body.len() >= 8 && u32_at(body, 0) == 1
}

/// Whether options of xz have a dictionary Linux takes (`squashfs_xz_comp_opts`): one or two neighbouring bits; and
/// `unsquashfs`: between 8 KiB and the block size. Which filters were tried is said for the next `mksquashfs`, and each
/// block says itself what it went through: readers take no notice, so that images with filters newer than they are open.
pub(crate) fn xz_is_known(body: &[u8], block_size: u32) -> bool {
    if body.len() < 8 {
        return false;
    }
    let dictionary = u32_at(body, 0);
    let rest = match dictionary.checked_ilog2() {
        None => return false,
        Some(top) => dictionary & !(1 << top) & !(1_u32 << top >> 1),
    };
    rest == 0 && (8192..=block_size).contains(&dictionary)
}
