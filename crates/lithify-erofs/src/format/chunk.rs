//! Chunk-based inodes: the file is cut into chunks of one size, and a map behind the inode says where each one is.

use super::{BLOCK_BITS, get_u16, get_u32, put};

/// Bits 0 to 4 of the format: binary logarithm of the blocks in a chunk.
const BITS_MASK: u32 = 0x1f;

/// Bit 5 of the format: 8-byte indexes instead of a plain block map.
const INDEXES: u32 = 0x20;

/// Length of an entry of a block map, in bytes.
pub(crate) const MAP_ENTRY_LEN: usize = size_of::<u32>();

/// Length of an index, in bytes.
pub(crate) const INDEX_LEN: usize = INDEX_BLOCK_OFFSET + size_of::<u32>();

const INDEX_DEVICE_OFFSET: usize = size_of::<u16>();
const INDEX_BLOCK_OFFSET: usize = INDEX_DEVICE_OFFSET + size_of::<u16>();

const _: () = assert!(INDEX_LEN == 8);

/// Largest chunk written, as binary logarithm of its bytes. Linux on 32-bit machines shifts a 32-bit one by it; only
/// files whose map would grow absurd go beyond.
pub(crate) const USUAL_CHUNK_BITS_MAX: u8 = 31;

/// Largest chunk the field can say, as binary logarithm of its bytes.
pub(crate) const CHUNK_BITS_MAX: u8 = BLOCK_BITS + BITS_MASK as u8;

/// How a chunk-based inode's map is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkFormat {
    /// Binary logarithm of the blocks in a chunk.
    pub(crate) block_bits: u8,
    /// 8-byte indexes.
    pub(crate) indexes: bool,
}

impl ChunkFormat {
    pub(crate) const fn encode(self) -> u32 {
        self.block_bits as u32 | if self.indexes { INDEXES } else { 0 }
    }

    /// Reads the inode's field; `None` when bits of unknown meaning are set.
    pub(crate) const fn decode(field: u32) -> Option<Self> {
        // The upper half of the field is reserved and ignored by Linux.
        let format = field & 0xffff;
        if format & !(BITS_MASK | INDEXES) != 0 {
            return None;
        }
        Some(Self {
            block_bits: (format & BITS_MASK) as u8,
            indexes: format & INDEXES != 0,
        })
    }

    /// Length of an entry, in bytes; the map starts at a multiple of it (`erofs_map_blocks`).
    pub(crate) const fn entry_len(self) -> usize {
        if self.indexes {
            INDEX_LEN
        } else {
            MAP_ENTRY_LEN
        }
    }
}

/// Reads an entry: device and first block.
pub(crate) fn decode_entry(format: ChunkFormat, bytes: &[u8]) -> (u16, u32) {
    if format.indexes {
        (
            get_u16(bytes, INDEX_DEVICE_OFFSET),
            get_u32(bytes, INDEX_BLOCK_OFFSET),
        )
    } else {
        (0, get_u32(bytes, 0))
    }
}

/// Appends an index: device and first block.
pub(crate) fn encode_index(device: u16, block: u32, out: &mut Vec<u8>) {
    let mut index = [0; INDEX_LEN];
    put(&mut index, INDEX_DEVICE_OFFSET, &device.to_le_bytes());
    put(&mut index, INDEX_BLOCK_OFFSET, &block.to_le_bytes());
    out.extend_from_slice(&index);
}
