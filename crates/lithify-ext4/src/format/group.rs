//! Descriptors of block groups, 64 bytes each (`struct ext4_group_desc`).

use super::{DESCRIPTOR_LEN, crc32c, put16, put32};

/// No inode of the group is used; its bitmap of inodes is not read.
pub(crate) const INODE_UNINIT: u16 = 1;
/// No block of the group is used but those of its own metadata; its bitmap of blocks is not read.
pub(crate) const BLOCK_UNINIT: u16 = 2;
/// The inode table is zeros where no inode is, so that nobody has to write them.
pub(crate) const INODE_ZEROED: u16 = 4;

/// A block group.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Descriptor {
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
    pub(crate) free_blocks: u32,
    pub(crate) free_inodes: u32,
    pub(crate) used_directories: u32,
    /// Inodes at the end of the table that were never used.
    pub(crate) unused_inodes: u32,
    pub(crate) flags: u16,
    pub(crate) block_bitmap_sum: u32,
    pub(crate) inode_bitmap_sum: u32,
}

impl Descriptor {
    /// Returns the descriptor of group `number`, with its checksum.
    pub(crate) fn to_bytes(self, number: u32, seed: u32) -> [u8; DESCRIPTOR_LEN] {
        let mut bytes = [0; DESCRIPTOR_LEN];
        let halves = |value: u64| (value as u32, (value >> 32) as u32);
        for (low, high, value) in [
            (0, 32, self.block_bitmap),
            (4, 36, self.inode_bitmap),
            (8, 40, self.inode_table),
        ] {
            let (l, h) = halves(value);
            put32(&mut bytes, low, l);
            put32(&mut bytes, high, h);
        }
        for (low, high, value) in [
            (12, 44, self.free_blocks),
            (14, 46, self.free_inodes),
            (16, 48, self.used_directories),
            (24, 56, self.block_bitmap_sum),
            (26, 58, self.inode_bitmap_sum),
            (28, 50, self.unused_inodes),
        ] {
            put16(&mut bytes, low, value as u16);
            put16(&mut bytes, high, (value >> 16) as u16);
        }
        put16(&mut bytes, 18, self.flags);
        // The checksum counts as zeros (`ext4_group_desc_csum`).
        let sum = crc32c::update(crc32c::update(seed, &number.to_le_bytes()), &bytes);
        put16(&mut bytes, 30, sum as u16);
        bytes
    }
}
