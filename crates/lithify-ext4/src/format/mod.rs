//! The on-disk format: `docs/formats/ext4.md` has it byte by byte, these modules have one structure each.
//!
//! All numbers are little endian, those of the journal big endian. Sources: the kernel's `fs/ext4/ext4.h`, `hash.c`,
//! `xattr.h`, `acl.h`, `ext4_extents.h`, `include/linux/jbd2.h`, and `Documentation/filesystems/ext4`.

pub(crate) mod crc32c; // checksums
pub(crate) mod dirent; // directory blocks
pub(crate) mod extent; // where a file's data is
pub(crate) mod group; // descriptors of block groups
pub(crate) mod hash; // hashes of names
pub(crate) mod inode; // inodes
pub(crate) mod journal; // the journal's first block
pub(crate) mod superblock; // the filesystem's first block
pub(crate) mod xattr; // extended attributes

/// Bytes of an inode.
pub(crate) const INODE_LEN: usize = 256;
/// Bytes of a group descriptor.
pub(crate) const DESCRIPTOR_LEN: usize = 64;
/// Where the superblock is, in bytes.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
/// Bytes of the superblock.
pub(crate) const SUPERBLOCK_LEN: usize = 1024;

/// The inode of the root directory.
pub(crate) const ROOT_INODE: u32 = 2;
/// The inode whose blocks are reserved for more group descriptors.
pub(crate) const RESIZE_INODE: u32 = 7;
/// The inode of the journal.
pub(crate) const JOURNAL_INODE: u32 = 8;
/// The first inode that is not reserved, that of `lost+found`.
pub(crate) const FIRST_INODE: u32 = 11;

/// Reads a number at an offset.
pub(crate) fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Reads a number at an offset.
pub(crate) fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from(get16(bytes, at)) | u32::from(get16(bytes, at + 2)) << 16
}

/// Reads a number whose lower half is at one offset and its upper half at another.
pub(crate) fn halves(bytes: &[u8], low: usize, high: usize) -> u64 {
    u64::from(get32(bytes, low)) | u64::from(get32(bytes, high)) << 32
}

/// Writes a number at an offset.
pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Writes a number at an offset.
pub(crate) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Tells whether a group has a copy of the superblock: the first two, and those whose number is a power of 3, 5 or 7.
pub(crate) const fn has_superblock(group: u32) -> bool {
    const fn is_power(mut number: u32, of: u32) -> bool {
        while number > 1 && number.is_multiple_of(of) {
            number /= of;
        }
        number == 1
    }
    group <= 1 || is_power(group, 3) || is_power(group, 5) || is_power(group, 7)
}
