//! Directory blocks: entries one behind the other, a tree of hashes over them in large directories, a checksum at the end of
//! each block (`struct ext4_dir_entry_2`, `dx_root`, `dx_node`, `ext4_dir_entry_tail`).

use super::{crc32c, put16, put32};

/// Bytes of an entry before its name.
const HEADER_LEN: usize = 8;
/// Bytes of the checksum's entry.
pub(crate) const TAIL_LEN: usize = 12;
/// The type of the checksum's entry.
const TAIL_TYPE: u8 = 0xde;
/// Bytes of an entry of a tree of hashes: a hash and a block of the directory.
const INDEX_LEN: usize = 8;
/// Where the limit and count of a directory's first block are: behind `.`, `..` and eight bytes about the tree.
const ROOT_COUNT: usize = 12 + 12 + 8;
/// The same of other blocks of the tree: behind an empty entry.
const NODE_COUNT: usize = 8;

/// The types of files in entries (`EXT4_FT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileType {
    Regular = 1,
    Directory = 2,
    CharDevice = 3,
    BlockDevice = 4,
    Fifo = 5,
    Socket = 6,
    Symlink = 7,
}

/// Returns the bytes an entry takes.
pub(crate) const fn entry_len(name_len: usize) -> usize {
    (HEADER_LEN + name_len).next_multiple_of(4)
}

/// A block of entries being filled.
#[derive(Debug)]
pub(crate) struct Leaf {
    bytes: Vec<u8>,
    /// Where the last entry begins.
    last: usize,
    end: usize,
}

impl Leaf {
    pub(crate) fn new(block_size: usize) -> Self {
        Self {
            bytes: vec![0; block_size],
            last: 0,
            end: 0,
        }
    }

    /// Adds an entry, unless there is no room for it.
    pub(crate) fn push(&mut self, inode: u32, kind: FileType, name: &[u8]) -> bool {
        let length = entry_len(name.len());
        if self.end + length > self.bytes.len() - TAIL_LEN {
            return false;
        }
        self.last = self.end;
        let entry = &mut self.bytes[self.end..];
        put32(entry, 0, inode);
        put16(entry, 4, length as u16);
        entry[6] = name.len() as u8;
        entry[7] = kind as u8;
        entry[HEADER_LEN..HEADER_LEN + name.len()].copy_from_slice(name);
        self.end += length;
        true
    }

    /// Returns the block: its last entry has the rest, but for the checksum.
    pub(crate) fn finish(&mut self, inode_seed: u32) -> &[u8] {
        let tail = self.bytes.len() - TAIL_LEN;
        put16(&mut self.bytes, self.last + 4, (tail - self.last) as u16);
        put16(&mut self.bytes, tail + 4, TAIL_LEN as u16);
        self.bytes[tail + 7] = TAIL_TYPE;
        let sum = crc32c::update(inode_seed, &self.bytes[..tail]);
        put32(&mut self.bytes, tail + 8, sum);
        &self.bytes
    }

    /// Starts another block.
    pub(crate) fn clear(&mut self) {
        self.bytes.fill(0);
        self.last = 0;
        self.end = 0;
    }
}

/// An entry of a tree of hashes: everything from a hash on is in a block of the directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Index {
    pub(crate) hash: u32,
    pub(crate) block: u32,
}

/// Returns the number of entries in a directory's first block.
pub(crate) const fn root_limit(block_size: usize) -> usize {
    (block_size - ROOT_COUNT - INDEX_LEN) / INDEX_LEN
}

/// Returns the number of entries in other blocks of the tree.
pub(crate) const fn node_limit(block_size: usize) -> usize {
    (block_size - NODE_COUNT - INDEX_LEN) / INDEX_LEN
}

/// Returns the first block of a directory with a tree of `levels` below it.
pub(crate) fn root(
    block_size: usize,
    (own, parent): (u32, u32),
    hash: u8,
    levels: u8,
    entries: &[Index],
    inode_seed: u32,
) -> Vec<u8> {
    let mut bytes = vec![0; block_size];
    put32(&mut bytes, 0, own);
    put16(&mut bytes, 4, 12);
    bytes[6] = 1;
    bytes[7] = FileType::Directory as u8;
    bytes[8] = b'.';
    put32(&mut bytes, 12, parent);
    put16(&mut bytes, 16, (block_size - 12) as u16);
    bytes[18] = 2;
    bytes[19] = FileType::Directory as u8;
    bytes[20..22].copy_from_slice(b"..");
    bytes[28] = hash;
    // Bytes of this structure.
    bytes[29] = 8;
    bytes[30] = levels;
    put_entries(
        &mut bytes,
        ROOT_COUNT,
        root_limit(block_size),
        entries,
        inode_seed,
    );
    bytes
}

/// Returns another block of the tree.
pub(crate) fn node(block_size: usize, entries: &[Index], inode_seed: u32) -> Vec<u8> {
    let mut bytes = vec![0; block_size];
    put16(&mut bytes, 4, block_size as u16);
    put_entries(
        &mut bytes,
        NODE_COUNT,
        node_limit(block_size),
        entries,
        inode_seed,
    );
    bytes
}

/// Writes the entries at `at`; limit and count stand in the place of the first one's hash, which is zero.
fn put_entries(bytes: &mut [u8], at: usize, limit: usize, entries: &[Index], inode_seed: u32) {
    for (place, entry) in bytes[at..].chunks_mut(INDEX_LEN).zip(entries) {
        put32(place, 0, entry.hash);
        put32(place, 4, entry.block);
    }
    put16(bytes, at, limit as u16);
    put16(bytes, at + 2, entries.len() as u16);
    // Over what is used, then over its own tail with zeros for the sum (`ext4_dx_csum`).
    let sum = crc32c::update(inode_seed, &bytes[..at + entries.len() * INDEX_LEN]);
    let sum = crc32c::update(sum, &[0; 8]);
    put32(bytes, at + limit * INDEX_LEN + 4, sum);
}
