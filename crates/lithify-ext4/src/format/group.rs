//! Descriptors of block groups, 64 bytes each (`struct ext4_group_desc`).

use super::{DESCRIPTOR_LEN, crc32c, get16, get32, put16, put32};

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

    /// Reads a descriptor: 32 bytes, or 64 or more where block numbers have 64 bits.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let is_wide = bytes.len() >= DESCRIPTOR_LEN;
        let block = |low: usize, high: usize| {
            let upper = if is_wide { get32(bytes, high) } else { 0 };
            u64::from(get32(bytes, low)) | u64::from(upper) << 32
        };
        let count = |low: usize, high: usize| {
            let upper = if is_wide { get16(bytes, high) } else { 0 };
            u32::from(get16(bytes, low)) | u32::from(upper) << 16
        };
        Self {
            block_bitmap: block(0, 32),
            inode_bitmap: block(4, 36),
            inode_table: block(8, 40),
            free_blocks: count(12, 44),
            free_inodes: count(14, 46),
            used_directories: count(16, 48),
            unused_inodes: count(28, 50),
            flags: get16(bytes, 18),
            block_bitmap_sum: count(24, 56),
            inode_bitmap_sum: count(26, 58),
        }
    }
}

/// Returns the checksum of a descriptor that is stored.
pub(crate) fn stored_checksum(bytes: &[u8]) -> u16 {
    get16(bytes, 30)
}

/// Returns the CRC-32C a descriptor should have.
pub(crate) fn checksum(bytes: &[u8], number: u32, seed: u32) -> u16 {
    let sum = crc32c::update(seed, &number.to_le_bytes());
    let sum = crc32c::update(crc32c::update(sum, &bytes[..30]), &[0; 2]);
    crc32c::update(sum, &bytes[32..]) as u16
}

/// Returns the CRC-16 a descriptor should have in filesystems that have checksums of nothing else (`uninit_bg`).
pub(crate) fn old_checksum(bytes: &[u8], number: u32, uuid: &[u8; 16]) -> u16 {
    let parts: [&[u8]; 4] = [uuid, &number.to_le_bytes(), &bytes[..30], &bytes[32..]];
    parts.into_iter().flatten().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u16::from(byte), |sum, _| {
            sum >> 1 ^ if sum & 1 == 1 { 0xa001 } else { 0 }
        })
    })
}
