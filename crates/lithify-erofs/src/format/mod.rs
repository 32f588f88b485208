//! The on-disk format: one module per structure, each constant derived from its neighbours.
//!
//! The layout is Linux's `fs/erofs/erofs_fs.h`; `docs/formats/erofs.md` describes it byte by byte. All integers are
//! little-endian.

pub(crate) mod chunk; // maps of sparse files
pub(crate) mod compressed; // indexes of compressed files
pub(crate) mod crc32c; // the superblock's checksum
pub(crate) mod device; // the table of further devices
pub(crate) mod dirent; // directory blocks
pub(crate) mod inode; // the two inode forms
pub(crate) mod superblock; // where everything starts
pub(crate) mod xattr; // extended attributes

/// Binary logarithm of the block size written.
pub(crate) const BLOCK_BITS: u8 = 12;

/// Block size written, in bytes: the page size of most machines, and the only one Linux before 6.4 mounts.
pub const BLOCK_SIZE: usize = 1 << BLOCK_BITS;

/// "No block": a hole in a map, and the start of an inode without data blocks (`EROFS_NULL_ADDR`).
pub(crate) const NULL_BLOCK: u32 = u32::MAX;

/// Copies `N` bytes out of a slice. The caller has checked the length, or the slice is one of constant size.
fn take<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[offset..offset + N]);
    out
}

pub(crate) fn get_u16(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(take(bytes, offset))
}

pub(crate) fn get_u32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(take(bytes, offset))
}

pub(crate) fn get_u64(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(take(bytes, offset))
}

pub(crate) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}
