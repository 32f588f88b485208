//! The superblock: 96 bytes at the start of the image.

use super::{u16_at, u32_at, u64_at};

/// `hsqs`.
pub(crate) const MAGIC: u32 = 0x7371_7368;

/// Length in bytes.
pub(crate) const LEN: usize = 96;

/// The format's version, in use since Linux 2.6.29.
pub(crate) const VERSION: (u16, u16) = (4, 0);

/// Bits of [`Superblock::flags`].
pub(crate) mod flags {
    pub(crate) const INODES_STORED: u16 = 0x1;
    pub(crate) const DATA_STORED: u16 = 0x2;
    /// Metadata blocks have a checksum in their header; of versions before 4.0.
    pub(crate) const CHECKED: u16 = 0x4;
    pub(crate) const FRAGMENTS_STORED: u16 = 0x8;
    pub(crate) const DUPLICATES: u16 = 0x40;
    pub(crate) const EXPORTABLE: u16 = 0x80;
    pub(crate) const XATTRS_STORED: u16 = 0x100;
    pub(crate) const COMPRESSOR_OPTIONS: u16 = 0x400;
    pub(crate) const IDS_STORED: u16 = 0x800;
}

const MAGIC_OFFSET: usize = 0;
const INODES_OFFSET: usize = MAGIC_OFFSET + 4;
const TIME_OFFSET: usize = INODES_OFFSET + 4;
const BLOCK_SIZE_OFFSET: usize = TIME_OFFSET + 4;
const FRAGMENTS_OFFSET: usize = BLOCK_SIZE_OFFSET + 4;
const COMPRESSOR_OFFSET: usize = FRAGMENTS_OFFSET + 4;
const BLOCK_BITS_OFFSET: usize = COMPRESSOR_OFFSET + 2;
const FLAGS_OFFSET: usize = BLOCK_BITS_OFFSET + 2;
const IDS_OFFSET: usize = FLAGS_OFFSET + 2;
const MAJOR_OFFSET: usize = IDS_OFFSET + 2;
const MINOR_OFFSET: usize = MAJOR_OFFSET + 2;
const ROOT_OFFSET: usize = MINOR_OFFSET + 2;
const SIZE_OFFSET: usize = ROOT_OFFSET + 8;
const ID_TABLE_OFFSET: usize = SIZE_OFFSET + 8;
const XATTR_TABLE_OFFSET: usize = ID_TABLE_OFFSET + 8;
const INODE_TABLE_OFFSET: usize = XATTR_TABLE_OFFSET + 8;
const DIRECTORY_TABLE_OFFSET: usize = INODE_TABLE_OFFSET + 8;
const FRAGMENT_TABLE_OFFSET: usize = DIRECTORY_TABLE_OFFSET + 8;
const EXPORT_TABLE_OFFSET: usize = FRAGMENT_TABLE_OFFSET + 8;
const _: () = assert!(EXPORT_TABLE_OFFSET + 8 == LEN);

/// What the superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Superblock {
    /// Number of inodes.
    pub inodes: u32,
    /// When the image was made, in seconds since 1970.
    pub build_time: u32,
    /// Size of a data block in bytes.
    pub block_size: u32,
    /// Number of fragment blocks.
    pub fragments: u32,
    /// How blocks are compressed.
    pub compressor: Compressor,
    /// Feature bits.
    pub flags: u16,
    /// Number of different owners and groups.
    pub ids: u16,
    /// Reference of the root directory's inode.
    pub root: u64,
    /// Length of the image in bytes, without padding.
    pub size: u64,
    /// Offset of the owner table's list of blocks.
    pub id_table: u64,
    /// Offset of the attribute table's header; [`u64::MAX`] if there is none.
    pub xattr_table: u64,
    /// Offset of the inodes.
    pub inode_table: u64,
    /// Offset of the directories.
    pub directory_table: u64,
    /// Offset of the fragment table's list of blocks.
    pub fragment_table: u64,
    /// Offset of the list of blocks of the table of inode references; [`u64::MAX`] if there is none.
    pub export_table: u64,
}

/// What a superblock can say about compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compressor {
    /// zlib streams.
    Gzip,
    /// LZMA in the form before xz.
    Lzma,
    /// LZO1X.
    Lzo,
    /// xz streams.
    Xz,
    /// LZ4 blocks.
    Lz4,
    /// zstd frames.
    Zstd,
}

impl Compressor {
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Gzip => 1,
            Self::Lzma => 2,
            Self::Lzo => 3,
            Self::Xz => 4,
            Self::Lz4 => 5,
            Self::Zstd => 6,
        }
    }

    const fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Gzip,
            2 => Self::Lzma,
            3 => Self::Lzo,
            4 => Self::Xz,
            5 => Self::Lz4,
            6 => Self::Zstd,
            _ => return None,
        })
    }
}

impl std::fmt::Display for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// The magic number, whatever it is.
pub(crate) fn magic(bytes: &[u8; LEN]) -> u32 {
    u32_at(bytes, MAGIC_OFFSET)
}

/// Major and minor version.
pub(crate) fn version(bytes: &[u8; LEN]) -> (u16, u16) {
    (u16_at(bytes, MAJOR_OFFSET), u16_at(bytes, MINOR_OFFSET))
}

/// Block size as its binary logarithm, by the field that says so.
pub(crate) fn block_bits(bytes: &[u8; LEN]) -> u16 {
    u16_at(bytes, BLOCK_BITS_OFFSET)
}

impl Superblock {
    /// Gives the compressor's code when it is unknown.
    pub(crate) fn decode(bytes: &[u8; LEN]) -> Result<Self, u16> {
        let code = u16_at(bytes, COMPRESSOR_OFFSET);
        Ok(Self {
            inodes: u32_at(bytes, INODES_OFFSET),
            build_time: u32_at(bytes, TIME_OFFSET),
            block_size: u32_at(bytes, BLOCK_SIZE_OFFSET),
            fragments: u32_at(bytes, FRAGMENTS_OFFSET),
            compressor: Compressor::from_code(code).ok_or(code)?,
            flags: u16_at(bytes, FLAGS_OFFSET),
            ids: u16_at(bytes, IDS_OFFSET),
            root: u64_at(bytes, ROOT_OFFSET),
            size: u64_at(bytes, SIZE_OFFSET),
            id_table: u64_at(bytes, ID_TABLE_OFFSET),
            xattr_table: u64_at(bytes, XATTR_TABLE_OFFSET),
            inode_table: u64_at(bytes, INODE_TABLE_OFFSET),
            directory_table: u64_at(bytes, DIRECTORY_TABLE_OFFSET),
            fragment_table: u64_at(bytes, FRAGMENT_TABLE_OFFSET),
            export_table: u64_at(bytes, EXPORT_TABLE_OFFSET),
        })
    }

    pub(crate) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(MAGIC_OFFSET, &MAGIC.to_le_bytes());
        put(INODES_OFFSET, &self.inodes.to_le_bytes());
        put(TIME_OFFSET, &self.build_time.to_le_bytes());
        put(BLOCK_SIZE_OFFSET, &self.block_size.to_le_bytes());
        put(FRAGMENTS_OFFSET, &self.fragments.to_le_bytes());
        put(COMPRESSOR_OFFSET, &self.compressor.code().to_le_bytes());
        let bits = self.block_size.trailing_zeros() as u16;
        put(BLOCK_BITS_OFFSET, &bits.to_le_bytes());
        put(FLAGS_OFFSET, &self.flags.to_le_bytes());
        put(IDS_OFFSET, &self.ids.to_le_bytes());
        put(MAJOR_OFFSET, &VERSION.0.to_le_bytes());
        put(MINOR_OFFSET, &VERSION.1.to_le_bytes());
        put(ROOT_OFFSET, &self.root.to_le_bytes());
        put(SIZE_OFFSET, &self.size.to_le_bytes());
        put(ID_TABLE_OFFSET, &self.id_table.to_le_bytes());
        put(XATTR_TABLE_OFFSET, &self.xattr_table.to_le_bytes());
        put(INODE_TABLE_OFFSET, &self.inode_table.to_le_bytes());
        put(DIRECTORY_TABLE_OFFSET, &self.directory_table.to_le_bytes());
        put(FRAGMENT_TABLE_OFFSET, &self.fragment_table.to_le_bytes());
        put(EXPORT_TABLE_OFFSET, &self.export_table.to_le_bytes());
        bytes
    }
}
