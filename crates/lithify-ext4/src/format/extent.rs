//! Extents: which blocks hold a file's data (`fs/ext4/ext4_extents.h`).

use super::{crc32c, get16, get32, put16, put32};

/// Bytes of a header, and of an entry.
pub(crate) const ENTRY_LEN: usize = 12;
/// Entries in an inode.
pub(crate) const IN_INODE: usize = 4;
/// The most blocks one extent of written data has.
pub(crate) const BLOCKS_MAX: u32 = 1 << 15;
/// Bytes of the checksum behind a block's entries.
const TAIL_LEN: usize = 4;
const MAGIC: u16 = 0xf30a;

/// A stretch of a file and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its first block in the file.
    pub(crate) logical: u32,
    /// Its first block in the filesystem.
    pub(crate) physical: u64,
    pub(crate) blocks: u32,
}

/// A block of a tree of extents, and the first block of the file below it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) logical: u32,
    pub(crate) block: u64,
}

/// Returns the number of entries of a block.
pub(crate) const fn per_block(block_size: usize) -> usize {
    (block_size - ENTRY_LEN - TAIL_LEN) / ENTRY_LEN
}

fn header(bytes: &mut [u8], entries: usize, max: usize, depth: u16) {
    put16(bytes, 0, MAGIC);
    put16(bytes, 2, entries as u16);
    put16(bytes, 4, max as u16);
    put16(bytes, 6, depth);
}

/// Writes a leaf.
pub(crate) fn put_leaf(bytes: &mut [u8], extents: &[Extent], max: usize) {
    header(bytes, extents.len(), max, 0);
    for (entry, extent) in bytes[ENTRY_LEN..].chunks_mut(ENTRY_LEN).zip(extents) {
        put32(entry, 0, extent.logical);
        put16(entry, 4, extent.blocks as u16);
        put16(entry, 6, (extent.physical >> 32) as u16);
        put32(entry, 8, extent.physical as u32);
    }
}

/// Writes a node over others, which are `depth` levels above the leaves.
pub(crate) fn put_index(bytes: &mut [u8], nodes: &[Node], max: usize, depth: u16) {
    header(bytes, nodes.len(), max, depth);
    for (entry, node) in bytes[ENTRY_LEN..].chunks_mut(ENTRY_LEN).zip(nodes) {
        put32(entry, 0, node.logical);
        put32(entry, 4, node.block as u32);
        put16(entry, 8, (node.block >> 32) as u16);
    }
}

/// Writes the checksum of a block (`ext4_extent_block_csum`).
pub(crate) fn seal(block: &mut [u8], inode_seed: u32) {
    let at = ENTRY_LEN * (1 + per_block(block.len()));
    let sum = crc32c::update(inode_seed, &block[..at]);
    put32(block, at, sum);
}

/// A header: what follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) magic: u16,
    pub(crate) entries: u16,
    pub(crate) max: u16,
    pub(crate) depth: u16,
}

/// The magic number of a header.
pub(crate) const fn magic() -> u16 {
    MAGIC
}

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let [magic, entries, max, depth] = [0, 2, 4, 6].map(|at| get16(bytes, at));
        Self {
            magic,
            entries,
            max,
            depth,
        }
    }
}

/// Reads entry `index` of a leaf: an extent, and whether it was written.
pub(crate) fn leaf_entry(bytes: &[u8], index: usize) -> (Extent, bool) {
    let entry = &bytes[ENTRY_LEN * (1 + index)..];
    let length = u32::from(get16(entry, 4));
    let is_written = length <= BLOCKS_MAX;
    let extent = Extent {
        logical: get32(entry, 0),
        physical: u64::from(get16(entry, 6)) << 32 | u64::from(get32(entry, 8)),
        blocks: if is_written {
            length
        } else {
            length - BLOCKS_MAX
        },
    };
    (extent, is_written)
}

/// Reads entry `index` of a block above leaves.
pub(crate) fn index_entry(bytes: &[u8], index: usize) -> Node {
    let entry = &bytes[ENTRY_LEN * (1 + index)..];
    Node {
        logical: get32(entry, 0),
        block: u64::from(get16(entry, 8)) << 32 | u64::from(get32(entry, 4)),
    }
}

/// Returns the checksum of a block with room for `max` entries: the one that is stored, and the right one.
pub(crate) fn checksum(block: &[u8], max: u16, inode_seed: u32) -> (u32, u32) {
    let at = ENTRY_LEN * (1 + usize::from(max));
    (get32(block, at), crc32c::update(inode_seed, &block[..at]))
}
