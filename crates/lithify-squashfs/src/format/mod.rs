//! The structures of a squashfs 4.0 image, one module each. All integers are little-endian.
//!
//! Source: `fs/squashfs/squashfs_fs.h` of Linux for the structures, the rest of `fs/squashfs` for their meaning.

pub(crate) mod directory; // names
pub(crate) mod inode; // what names refer to
pub(crate) mod options; // what compressors say about themselves
pub(crate) mod superblock; // where everything is
pub(crate) mod xattr; // extended attributes

/// Uncompressed length of every block of metadata but the last of a table (`SQUASHFS_METADATA_SIZE`).
pub(crate) const METADATA_LEN: usize = 8192;

/// Length of what precedes a block of metadata.
pub(crate) const METADATA_HEADER_LEN: usize = 2;

/// Set in that header when the block is not compressed (`SQUASHFS_COMPRESSED_BIT`).
pub(crate) const METADATA_STORED: u16 = 1 << 15;

/// Set in the length of a data block that is not compressed (`SQUASHFS_COMPRESSED_BIT_BLOCK`).
pub(crate) const BLOCK_STORED: u32 = 1 << 24;

/// "None", for fragments and attributes of an inode (`SQUASHFS_INVALID_FRAG`, `SQUASHFS_INVALID_XATTR`).
pub(crate) const NONE: u32 = u32::MAX;

/// "None" for tables (`SQUASHFS_INVALID_BLK`).
pub(crate) const NO_TABLE: u64 = u64::MAX;

/// Length of an entry of the fragment table.
pub(crate) const FRAGMENT_LEN: usize = 16;

/// Smallest and largest block of data, as binary logarithms.
pub(crate) const BLOCK_BITS: std::ops::RangeInclusive<u32> = 12..=20;

/// Most owners and groups an image can have: their number has 16 bits.
pub(crate) const IDS_MAX: usize = u16::MAX as usize;

/// The number at an offset of a structure whose length has been checked.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// As [`u16_at`].
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// As [`u16_at`].
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// A place in a table of metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Offset of the block's header from the start of the table, in bytes of the image.
    pub(crate) block: u64,
    /// Offset in the uncompressed block.
    pub(crate) offset: u16,
}

impl Position {
    /// As inodes and attributes are referred to: the block in the upper 48 bits.
    pub(crate) const fn reference(self) -> u64 {
        self.block << 16 | self.offset as u64
    }

    pub(crate) const fn from_reference(reference: u64) -> Self {
        Self {
            block: reference >> 16,
            offset: reference as u16,
        }
    }
}
