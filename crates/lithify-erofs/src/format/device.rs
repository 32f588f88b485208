//! The device table: one slot of 128 bytes for each further device that holds data of the image.

use super::{get_u32, put, take};

/// Length of a slot, in bytes. The table starts at a multiple of it (`EROFS_DEVT_SLOT_SIZE`).
pub(crate) const SLOT_LEN: usize = 128;

const TAG_OFFSET: usize = 0;
/// Length of a tag, in bytes.
pub(crate) const TAG_LEN: usize = 64;
const BLOCKS_OFFSET: usize = TAG_OFFSET + TAG_LEN;
const MAPPED_OFFSET: usize = BLOCKS_OFFSET + size_of::<u32>();

/// A further device that holds data of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceSlot {
    /// What identifies it, such as its digest in hexadecimal; padded with zeros.
    pub tag: [u8; TAG_LEN],
    /// Its length in blocks.
    pub blocks: u32,
    /// Where it starts, in blocks, when image and devices stand one after another on a single device; 0 if they
    /// never do.
    pub mapped_block: u32,
}

impl DeviceSlot {
    pub(crate) fn encode(&self) -> [u8; SLOT_LEN] {
        let mut b = [0; SLOT_LEN];
        put(&mut b, TAG_OFFSET, &self.tag);
        put(&mut b, BLOCKS_OFFSET, &self.blocks.to_le_bytes());
        put(&mut b, MAPPED_OFFSET, &self.mapped_block.to_le_bytes());
        b
    }

    /// Reads a slot at the start of `b`, which has [`SLOT_LEN`] bytes.
    pub(crate) fn decode(b: &[u8]) -> Self {
        Self {
            tag: take(b, TAG_OFFSET),
            blocks: get_u32(b, BLOCKS_OFFSET),
            mapped_block: get_u32(b, MAPPED_OFFSET),
        }
    }
}
