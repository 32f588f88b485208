//! Directory blocks: an array of 12-byte entries, then the names they point to.

use super::{get_u16, get_u64, put};

const NID_OFFSET: usize = 0;
const NAME_OFFSET: usize = NID_OFFSET + size_of::<u64>();
const TYPE_OFFSET: usize = NAME_OFFSET + size_of::<u16>();
const RESERVED_OFFSET: usize = TYPE_OFFSET + size_of::<u8>();

/// Length of an entry without its name, in bytes.
pub(crate) const DIRENT_LEN: usize = RESERVED_OFFSET + size_of::<u8>();

const _: () = assert!(DIRENT_LEN == 12);

/// Longest name, in bytes (`EROFS_NAME_LEN`).
pub(crate) const NAME_MAX: usize = 255;

/// A directory entry without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dirent {
    pub(crate) nid: u64,
    /// Offset of the name in the block.
    pub(crate) name_offset: u16,
    pub(crate) file_type: u8,
}

impl Dirent {
    /// Writes the entry at `offset` of a block.
    pub(crate) fn encode(&self, block: &mut [u8], offset: usize) {
        put(block, offset + NID_OFFSET, &self.nid.to_le_bytes());
        put(block, offset + NAME_OFFSET, &self.name_offset.to_le_bytes());
        put(block, offset + TYPE_OFFSET, &[self.file_type, 0]);
    }

    /// Reads the entry at `offset` of a block; the caller has checked that it is inside.
    pub(crate) fn decode(block: &[u8], offset: usize) -> Self {
        Self {
            nid: get_u64(block, offset + NID_OFFSET),
            name_offset: get_u16(block, offset + NAME_OFFSET),
            file_type: block[offset + TYPE_OFFSET],
        }
    }
}
