//! Numbers and structures of the image. EROFS' own are those of the kernel's `fs/erofs/erofs_fs.h`.

/// Size of a block in bytes.
pub(super) const BLOCK: u64 = 4096;
/// Inodes begin at multiples of this; their number is the multiple.
pub(super) const SLOT: u64 = 32;

/// Magic of the header at byte 0.
pub(super) const HEADER_MAGIC: u32 = 0xd078_629a;
/// Version of the header.
pub(super) const HEADER_VERSION: u32 = 1;
/// Header flag: an inode has a POSIX ACL.
pub(super) const FLAG_ACL: u32 = 1;
/// Bytes of the header; the rest up to the superblock is zeros.
pub(super) const HEADER_SIZE: usize = 32;

/// Byte at which the superblock is.
pub(super) const SUPERBLOCK_AT: u64 = 1024;
/// Bytes of the superblock.
pub(super) const SUPERBLOCK_SIZE: u64 = 128;
/// Byte at which inodes begin.
pub(super) const INODES_AT: u64 = SUPERBLOCK_AT + SUPERBLOCK_SIZE;
/// Magic of the superblock.
pub(super) const SUPERBLOCK_MAGIC: u32 = 0xe0f5_e1e2;
/// Compatible features: times of inodes are of modification (2), attributes have a filter (4).
pub(super) const FEATURE_COMPAT: u32 = 2 | 4;

/// Bytes of an inode with 16-bit numbers and the image's time.
pub(super) const COMPACT: u64 = 32;
/// Bytes of any other inode.
pub(super) const EXTENDED: u64 = 64;

/// Layouts of data, as they are in `i_format`.
pub(super) const PLAIN: u16 = 0;
pub(super) const INLINE: u16 = 2 << 1;
pub(super) const CHUNKS: u16 = 4 << 1;
/// The bit of `i_format` that an extended inode has.
pub(super) const IS_EXTENDED: u16 = 1;

/// Largest binary logarithm of a chunk's length.
pub(super) const CHUNK_BITS_MAX: u32 = 12 + 31;
/// Bytes of a chunk's address.
pub(super) const CHUNK_ADDRESS: u64 = 4;
/// The address of a chunk that is nowhere: all bits set.
pub(super) const NOWHERE: u8 = 0xff;

/// Bytes of a directory entry before its name.
pub(super) const DIRENT: usize = 12;
/// Longest end of a directory, or of inline data, that stands behind its inode.
pub(super) const TAIL_MAX: u64 = BLOCK / 2;

/// Bytes of attributes before the first one.
pub(super) const XATTRS_HEAD: u64 = 12;
/// Bytes of an attribute before its name.
pub(super) const XATTR_HEAD: usize = 4;
/// Bytes in which attributes are counted and to which they are filled.
pub(super) const XATTR_UNIT: usize = 4;
/// Most references of an inode to shared attributes.
pub(super) const XATTR_SHARED_MAX: usize = 128;
/// Longest value of an attribute in bytes.
pub(super) const XATTR_VALUE_MAX: usize = 65535;
/// Longest name of an attribute in bytes, prefix and escape included (`XATTR_NAME_MAX` of Linux).
pub(super) const XATTR_NAME_MAX: usize = 255;
/// Seed of the filter's hash, to which the prefix's number is added (`EROFS_XATTR_FILTER_SEED`).
pub(super) const XATTR_FILTER_SEED: u32 = 0x25bb_e08f;

/// Prefixes of attributes and their numbers. A name with none of them is whole, under number 0.
pub(super) const XATTR_PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (ACL_ACCESS, 2),
    (ACL_DEFAULT, 3),
    (b"trusted.", 4),
    (b"security.", 6),
];
pub(super) const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
pub(super) const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// Types of directory entries.
pub(super) mod dirent {
    pub(in crate::image) const FILE: u8 = 1;
    pub(in crate::image) const DIRECTORY: u8 = 2;
    pub(in crate::image) const CHAR_DEVICE: u8 = 3;
    pub(in crate::image) const BLOCK_DEVICE: u8 = 4;
    pub(in crate::image) const FIFO: u8 = 5;
    pub(in crate::image) const SOCKET: u8 = 6;
    pub(in crate::image) const SYMLINK: u8 = 7;
}

/// Type bits of `st_mode` of what is not in the tree as it is in the image.
pub(super) const S_IFREG: u16 = 0o100_000;
pub(super) const S_IFCHR: u16 = 0o020_000;
/// Mode of a stub.
pub(super) const STUB_MODE: u16 = S_IFCHR | 0o644;
/// Directories of objects, one for each first byte of a digest.
pub(super) const STUBS: u32 = 256;

/// The attributes of overlayfs that composefs is made of.
pub(super) mod overlay {
    pub(in crate::image) const PREFIX: &[u8] = b"trusted.overlay.";
    pub(in crate::image) const ESCAPE: &[u8] = b"trusted.overlay.overlay.";
    pub(in crate::image) const USER: &[u8] = b"user.overlay.";
    pub(in crate::image) const METACOPY: &[u8] = b"trusted.overlay.metacopy";
    pub(in crate::image) const REDIRECT: &[u8] = b"trusted.overlay.redirect";
    pub(in crate::image) const OPAQUE: &[u8] = b"trusted.overlay.opaque";
    /// Bytes of a metacopy attribute before the digest (`struct ovl_metacopy`): version, length, flags, algorithm.
    pub(in crate::image) const METACOPY_HEAD: usize = 4;
}
