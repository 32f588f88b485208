//! Where the blocks of a tree are.

use std::fmt;
use std::ops::RangeInclusive;

use super::error::GeometryError;
use super::hash::DIGEST_SIZE;
use super::superblock::SUPERBLOCK_SIZE;

/// Block sizes `veritysetup` accepts, in bytes (powers of two only). The kernel mounts up to its page size.
const BLOCK_SIZES: RangeInclusive<u32> = 512..=512 * 1024;

/// Linux' and this crate's largest file.
const SIZE_MAX: u64 = i64::MAX as u64;

/// One of the two block sizes of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// Blocks of the image.
    Data,
    /// Blocks of the tree.
    Hash,
}

impl fmt::Display for BlockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Hash => "hash",
        })
    }
}

/// One level of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Offset in bytes from the tree's start: levels stand one behind the other, the top one first.
    pub offset: u64,
    /// Number of blocks. The top level has one.
    pub blocks: u64,
    /// Number of digests, one for each block below.
    pub digests: u64,
}

/// Sizes of a tree and where its levels are.
///
/// A level holds a digest for each block of the level below, level 0 for each block of data. Levels are added until one
/// is a single block. A single block of data has no tree at all: its digest is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    data_blocks: u64,
    data_block: u32,
    hash_block: u32,
    levels: Vec<Level>,
}

impl Geometry {
    /// The tree over `data_blocks` blocks; block sizes in bytes.
    ///
    /// # Errors
    /// No data, block sizes that are not powers of two from 512 bytes to 512 KiB, or more than 2⁶³ − 1 bytes of data.
    pub fn new(data_blocks: u64, data_block: u32, hash_block: u32) -> Result<Self, GeometryError> {
        for (kind, found) in [(BlockKind::Data, data_block), (BlockKind::Hash, hash_block)] {
            if !BLOCK_SIZES.contains(&found) || !found.is_power_of_two() {
                return Err(GeometryError::BlockSize { kind, found });
            }
        }
        if data_blocks == 0 {
            return Err(GeometryError::NoData);
        }
        if data_blocks
            .checked_mul(data_block.into())
            .is_none_or(|size| size > SIZE_MAX)
        {
            return Err(GeometryError::TooLarge {
                data_blocks,
                data_block,
            });
        }
        // With at least 16 digests per block this ends after at most 14 levels, and all products stay below 2⁶³: level
        // 0 has no more than a sixteenth of the data's blocks (rounded up), each at most 1024 times as large, and then
        // 16384 digests each.
        let per_block = u64::from(hash_block) / DIGEST_SIZE as u64;
        let mut levels = Vec::new();
        let mut below = data_blocks;
        while below > 1 {
            let blocks = below.div_ceil(per_block);
            levels.push(Level {
                offset: 0,
                blocks,
                digests: below,
            });
            below = blocks;
        }
        let mut offset = 0;
        for level in levels.iter_mut().rev() {
            level.offset = offset;
            offset += level.blocks * u64::from(hash_block);
        }
        Ok(Self {
            data_blocks,
            data_block,
            hash_block,
            levels,
        })
    }

    /// Number of data blocks.
    #[must_use]
    pub fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// Size of a data block in bytes.
    #[must_use]
    pub fn data_block(&self) -> u32 {
        self.data_block
    }

    /// Size of a hash block in bytes.
    #[must_use]
    pub fn hash_block(&self) -> u32 {
        self.hash_block
    }

    /// Size of the data in bytes, a multiple of the block size.
    #[must_use]
    pub fn data_size(&self) -> u64 {
        self.data_blocks * u64::from(self.data_block)
    }

    /// The levels; the first is the one over the data.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Size of all levels in bytes.
    #[must_use]
    pub fn tree_size(&self) -> u64 {
        self.levels.first().map_or(0, |level| {
            level.offset + level.blocks * u64::from(self.hash_block)
        })
    }

    /// Where the tree starts behind a superblock at `hash_offset`, in bytes: at the next whole hash block.
    ///
    /// [`None`] when there is no such 64-bit number.
    #[must_use]
    pub fn tree_offset(&self, hash_offset: u64) -> Option<u64> {
        hash_offset
            .checked_add(SUPERBLOCK_SIZE as u64)?
            .checked_next_multiple_of(self.hash_block.into())
    }

    /// Where the tree behind a superblock at `hash_offset` ends, in bytes.
    ///
    /// [`None`] when there is no such 64-bit number.
    #[must_use]
    pub fn end(&self, hash_offset: u64) -> Option<u64> {
        self.tree_offset(hash_offset)?.checked_add(self.tree_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(data_blocks: u64) -> Vec<(u64, u64)> {
        let geometry = Geometry::new(data_blocks, 4096, 4096).unwrap();
        let levels = geometry.levels().iter();
        levels.map(|l| (l.offset / 4096, l.blocks)).collect()
    }

    #[test]
    fn levels_are_added_until_one_block_is_left() {
        assert_eq!(blocks(1), []);
        assert_eq!(blocks(2), [(0, 1)]);
        assert_eq!(blocks(128), [(0, 1)]);
        assert_eq!(blocks(129), [(1, 2), (0, 1)]);
        assert_eq!(blocks(128 * 128), [(1, 128), (0, 1)]);
        assert_eq!(blocks(128 * 128 + 1), [(3, 129), (1, 2), (0, 1)]);
    }

    #[test]
    fn sizes_beyond_16_tib() {
        // 16 TiB are 2³² blocks.
        assert_eq!(
            blocks(1 << 32),
            [
                (1 + 16 + 2048 + 262_144, 1 << 25),
                (1 + 16 + 2048, 1 << 18),
                (1 + 16, 1 << 11),
                (1, 16),
                (0, 1)
            ]
        );
        let most = Geometry::new(SIZE_MAX / 4096, 4096, 4096).unwrap();
        assert_eq!(most.data_size(), SIZE_MAX - 4095);
        assert!(most.end(most.data_size()).is_some());
        for (data, hash) in [(512, 512), (512, 524_288), (524_288, 512)] {
            let most = Geometry::new(SIZE_MAX / u64::from(data), data, hash).unwrap();
            assert!(most.end(most.data_size()).is_some());
        }
        assert!(most.end(u64::MAX - 600).is_none());
        assert_eq!(
            Geometry::new(SIZE_MAX / 4096 + 1, 4096, 4096),
            Err(GeometryError::TooLarge {
                data_blocks: SIZE_MAX / 4096 + 1,
                data_block: 4096
            })
        );
    }

    #[test]
    fn measures_that_make_no_tree() {
        assert_eq!(Geometry::new(0, 4096, 4096), Err(GeometryError::NoData));
        for size in [0, 1, 256, 1000, 4097, 1 << 20, u32::MAX] {
            let kind = BlockKind::Data;
            let error = GeometryError::BlockSize { kind, found: size };
            assert_eq!(Geometry::new(1, size, 4096), Err(error));
            let kind = BlockKind::Hash;
            let error = GeometryError::BlockSize { kind, found: size };
            assert_eq!(Geometry::new(1, 4096, size), Err(error));
        }
    }
}
