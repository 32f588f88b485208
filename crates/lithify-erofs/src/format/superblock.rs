//! The superblock: 128 bytes at offset 1024.

use lithify_tree::Timestamp;

use super::{crc32c, get_u16, get_u32, get_u64, put};

/// Where the superblock starts, in bytes (`EROFS_SUPER_OFFSET`): what is before belongs to boot loaders.
pub(crate) const SUPERBLOCK_OFFSET: usize = 1024;

/// Length of the superblock without extension slots, in bytes.
pub(crate) const SUPERBLOCK_LEN: usize = RESERVED_OFFSET + 23;

/// First byte behind the superblock that may hold anything else.
pub(crate) const SUPERBLOCK_END: usize = SUPERBLOCK_OFFSET + SUPERBLOCK_LEN;

/// First field of the superblock (`EROFS_SUPER_MAGIC_V1`).
pub(crate) const MAGIC: u32 = 0xe0f5_e1e2;

const MAGIC_OFFSET: usize = 0;
pub(crate) const CHECKSUM_OFFSET: usize = MAGIC_OFFSET + size_of::<u32>();
const COMPAT_OFFSET: usize = CHECKSUM_OFFSET + size_of::<u32>();
const BLOCK_BITS_OFFSET: usize = COMPAT_OFFSET + size_of::<u32>();
const EXTENSION_SLOTS_OFFSET: usize = BLOCK_BITS_OFFSET + size_of::<u8>();
const ROOT_NID_OFFSET: usize = EXTENSION_SLOTS_OFFSET + size_of::<u8>();
const INODES_OFFSET: usize = ROOT_NID_OFFSET + size_of::<u16>();
const BUILD_TIME_OFFSET: usize = INODES_OFFSET + size_of::<u64>();
const BUILD_NANOSECONDS_OFFSET: usize = BUILD_TIME_OFFSET + size_of::<u64>();
const BLOCKS_OFFSET: usize = BUILD_NANOSECONDS_OFFSET + size_of::<u32>();
const META_BLOCK_OFFSET: usize = BLOCKS_OFFSET + size_of::<u32>();
const XATTR_BLOCK_OFFSET: usize = META_BLOCK_OFFSET + size_of::<u32>();
const UUID_OFFSET: usize = XATTR_BLOCK_OFFSET + size_of::<u32>();
const VOLUME_NAME_OFFSET: usize = UUID_OFFSET + UUID_LEN;
const INCOMPAT_OFFSET: usize = VOLUME_NAME_OFFSET + VOLUME_NAME_LEN;
const COMPRESSION_OFFSET: usize = INCOMPAT_OFFSET + size_of::<u32>();
const EXTRA_DEVICES_OFFSET: usize = COMPRESSION_OFFSET + size_of::<u16>();
const DEVICE_SLOT_OFFSET: usize = EXTRA_DEVICES_OFFSET + size_of::<u16>();
const DIRECTORY_BLOCK_BITS_OFFSET: usize = DEVICE_SLOT_OFFSET + size_of::<u16>();
const PREFIX_COUNT_OFFSET: usize = DIRECTORY_BLOCK_BITS_OFFSET + size_of::<u8>();
const PREFIX_START_OFFSET: usize = PREFIX_COUNT_OFFSET + size_of::<u8>();
const PACKED_NID_OFFSET: usize = PREFIX_START_OFFSET + size_of::<u32>();
const FILTER_OFFSET: usize = PACKED_NID_OFFSET + size_of::<u64>();
const RESERVED_OFFSET: usize = FILTER_OFFSET + size_of::<u8>();

const _: () = assert!(SUPERBLOCK_LEN == 128);

const UUID_LEN: usize = 16;

/// Room for the volume name, in bytes. Linux wants its last byte to be zero.
pub(crate) const VOLUME_NAME_LEN: usize = 16;

/// Features a reader may ignore (`EROFS_FEATURE_COMPAT_*`).
pub(crate) mod compat {
    /// The checksum field is set.
    pub(crate) const CHECKSUM: u32 = 0x1;
    /// The time of extended inodes is the modification time.
    pub(crate) const MTIME: u32 = 0x2;
}

/// Features a reader must know (`EROFS_FEATURE_INCOMPAT_*`).
pub(crate) mod incompat {
    /// Compressed data is padded in front.
    pub(crate) const ZERO_PADDING: u32 = 0x01;
    /// Compression settings follow the superblock, or clusters over one block.
    pub(crate) const COMPRESSION_SETTINGS: u32 = 0x02;
    /// Chunk-based inodes exist.
    pub(crate) const CHUNKED_FILE: u32 = 0x04;
    /// Data lies on other devices too.
    pub(crate) const DEVICE_TABLE: u32 = 0x08;
    /// Compressed tails stand in inodes.
    pub(crate) const COMPRESSED_TAILS: u32 = 0x10;
    /// Compressed fragments in a packed inode, or deduplicated ones.
    pub(crate) const FRAGMENTS: u32 = 0x20;
    /// Attribute names may use prefixes stored in the image.
    pub(crate) const XATTR_PREFIXES: u32 = 0x40;

    /// What the reader can at least list.
    pub(crate) const KNOWN: u32 = ZERO_PADDING
        | COMPRESSION_SETTINGS
        | CHUNKED_FILE
        | DEVICE_TABLE
        | COMPRESSED_TAILS
        | FRAGMENTS
        | XATTR_PREFIXES;
}

/// The superblock of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Superblock {
    /// Features a reader may ignore.
    pub compatible_features: u32,
    /// Features a reader must know.
    pub incompatible_features: u32,
    /// Binary logarithm of the block size.
    pub block_bits: u8,
    /// Nid of the root directory.
    pub root_nid: u16,
    /// Number of inodes.
    pub inodes: u64,
    /// Modification time of every compact inode.
    pub build_time: Timestamp,
    /// Length of the image in blocks.
    pub blocks: u32,
    /// Block that nid 0 is at the start of.
    pub meta_block: u32,
    /// Block that shared attribute 0 is at the start of.
    pub xattr_block: u32,
    /// Identity of the image.
    pub uuid: [u8; UUID_LEN],
    /// Name of the volume, padded with zeros.
    pub volume_name: [u8; VOLUME_NAME_LEN],
    /// Algorithms of compressed data, a bit for each: 1 LZ4, 2 MicroLZMA, 4 DEFLATE, 8 Zstandard. Without settings behind
    /// the superblock LZ4's window instead.
    pub compression: u16,
    /// How many more devices hold data.
    pub extra_devices: u16,
    /// Where the table of these devices is, in units of 128 bytes.
    pub device_table: u16,
    /// Binary logarithm of the number of blocks in a directory block; 0 is the only value in use.
    pub directory_block_bits: u8,
    /// How many times 16 bytes the superblock is longer.
    pub extension_slots: u8,
    /// How many prefixes of attribute names are stored.
    pub prefix_count: u8,
    /// Where the first of them is, in units of four bytes: of the image or, if there is one, of the packed inode.
    pub prefix_start: u32,
    /// Nid of the inode with fragments; 0 if there is none.
    pub packed_nid: u64,
}

impl Superblock {
    /// The bytes, with the checksum field still zero.
    pub(crate) fn encode(&self) -> [u8; SUPERBLOCK_LEN] {
        let mut b = [0; SUPERBLOCK_LEN];
        put(&mut b, MAGIC_OFFSET, &MAGIC.to_le_bytes());
        put(
            &mut b,
            COMPAT_OFFSET,
            &self.compatible_features.to_le_bytes(),
        );
        put(&mut b, BLOCK_BITS_OFFSET, &[self.block_bits]);
        put(&mut b, ROOT_NID_OFFSET, &self.root_nid.to_le_bytes());
        put(&mut b, INODES_OFFSET, &self.inodes.to_le_bytes());
        put(
            &mut b,
            BUILD_TIME_OFFSET,
            &self.build_time.seconds.to_le_bytes(),
        );
        put(
            &mut b,
            BUILD_NANOSECONDS_OFFSET,
            &self.build_time.nanoseconds.to_le_bytes(),
        );
        put(&mut b, BLOCKS_OFFSET, &self.blocks.to_le_bytes());
        put(&mut b, META_BLOCK_OFFSET, &self.meta_block.to_le_bytes());
        put(&mut b, XATTR_BLOCK_OFFSET, &self.xattr_block.to_le_bytes());
        put(&mut b, UUID_OFFSET, &self.uuid);
        put(&mut b, VOLUME_NAME_OFFSET, &self.volume_name);
        put(
            &mut b,
            INCOMPAT_OFFSET,
            &self.incompatible_features.to_le_bytes(),
        );
        put(&mut b, COMPRESSION_OFFSET, &self.compression.to_le_bytes());
        put(
            &mut b,
            EXTRA_DEVICES_OFFSET,
            &self.extra_devices.to_le_bytes(),
        );
        put(
            &mut b,
            EXTRA_DEVICES_OFFSET,
            &self.extra_devices.to_le_bytes(),
        );
        put(&mut b, DEVICE_SLOT_OFFSET, &self.device_table.to_le_bytes());
        put(
            &mut b,
            DIRECTORY_BLOCK_BITS_OFFSET,
            &[self.directory_block_bits],
        );
        put(&mut b, EXTENSION_SLOTS_OFFSET, &[self.extension_slots]);
        put(&mut b, PREFIX_COUNT_OFFSET, &[self.prefix_count]);
        put(
            &mut b,
            PREFIX_START_OFFSET,
            &self.prefix_start.to_le_bytes(),
        );
        put(&mut b, PACKED_NID_OFFSET, &self.packed_nid.to_le_bytes());
        b
    }

    /// Reads the fields; says nothing about their sense.
    pub(crate) fn decode(b: &[u8; SUPERBLOCK_LEN]) -> Self {
        Self {
            compatible_features: get_u32(b, COMPAT_OFFSET),
            incompatible_features: get_u32(b, INCOMPAT_OFFSET),
            block_bits: b[BLOCK_BITS_OFFSET],
            root_nid: get_u16(b, ROOT_NID_OFFSET),
            inodes: get_u64(b, INODES_OFFSET),
            build_time: Timestamp {
                // Linux takes the field for a signed number too.
                seconds: get_u64(b, BUILD_TIME_OFFSET) as i64,
                nanoseconds: get_u32(b, BUILD_NANOSECONDS_OFFSET),
            },
            blocks: get_u32(b, BLOCKS_OFFSET),
            meta_block: get_u32(b, META_BLOCK_OFFSET),
            xattr_block: get_u32(b, XATTR_BLOCK_OFFSET),
            uuid: super::take(b, UUID_OFFSET),
            volume_name: super::take(b, VOLUME_NAME_OFFSET),
            compression: get_u16(b, COMPRESSION_OFFSET),
            extra_devices: get_u16(b, EXTRA_DEVICES_OFFSET),
            device_table: get_u16(b, DEVICE_SLOT_OFFSET),
            directory_block_bits: b[DIRECTORY_BLOCK_BITS_OFFSET],
            extension_slots: b[EXTENSION_SLOTS_OFFSET],
            prefix_count: b[PREFIX_COUNT_OFFSET],
            prefix_start: get_u32(b, PREFIX_START_OFFSET),
            packed_nid: get_u64(b, PACKED_NID_OFFSET),
        }
    }
}

/// The magic number in superblock bytes.
pub(crate) fn magic(b: &[u8; SUPERBLOCK_LEN]) -> u32 {
    get_u32(b, MAGIC_OFFSET)
}

/// The stored checksum in superblock bytes.
pub(crate) fn stored_checksum(b: &[u8; SUPERBLOCK_LEN]) -> u32 {
    get_u32(b, CHECKSUM_OFFSET)
}

/// The checksum of everything from the superblock to the end of its block (`erofs_superblock_csum_verify`): its own
/// field counts as zero.
pub(crate) fn checksum(block_tail: &[u8]) -> u32 {
    let head = crc32c::update(!0, &block_tail[..CHECKSUM_OFFSET]);
    let field = crc32c::update(head, &[0; size_of::<u32>()]);
    crc32c::update(field, &block_tail[CHECKSUM_OFFSET + size_of::<u32>()..])
}

/// Where the checksummed stretch ends, in bytes, for a block size: the end of the superblock's block, or for blocks
/// that end before it one block length behind its start.
pub(crate) const fn checksum_end(block_size: usize) -> usize {
    if block_size > SUPERBLOCK_OFFSET {
        block_size
    } else {
        SUPERBLOCK_OFFSET + block_size
    }
}
