//! Directory blocks: entries one behind the other, a tree of hashes over them in large directories, a checksum at the end of
//! each block (`struct ext4_dir_entry_2`, `dx_root`, `dx_node`, `ext4_dir_entry_tail`).

use super::{crc32c, get16, get32, put16, put32};

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

/// An entry as it is stored, in use or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    /// 0 for none.
    pub(crate) inode: u32,
    pub(crate) kind: u8,
    pub(crate) name: &'a [u8],
}

/// The entries of a block or a part of one, up to the first that makes no sense: where that is.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes of a block: lengths over 65535 stand in the bits that others leave free.
    block_size: usize,
}

impl<'a> Entries<'a> {
    pub(crate) const fn new(bytes: &'a [u8], block_size: usize) -> Self {
        Self {
            bytes,
            at: 0,
            block_size,
        }
    }
}

/// Returns the length an entry says it has.
pub(crate) fn decode_len(stored: u16, block_size: usize) -> usize {
    let stored = usize::from(stored);
    match stored {
        _ if block_size < 1 << 16 => stored,
        0 | 0xffff => block_size,
        _ => stored & !3 | (stored & 3) << 16,
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Stored<'a>, usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return None;
        }
        let at = self.at;
        let entry = (rest.len() >= HEADER_LEN + 4).then(|| {
            let length = decode_len(get16(rest, 4), self.block_size);
            (length, usize::from(rest[6]))
        });
        let Some((length, name_len)) = entry.filter(|&(length, name_len)| {
            length >= entry_len(name_len.max(1)) && length % 4 == 0 && length <= rest.len()
        }) else {
            self.at = self.bytes.len();
            return Some(Err(at));
        };
        self.at += length;
        Some(Ok(Stored {
            inode: get32(rest, 0),
            kind: rest[7],
            name: &rest[HEADER_LEN..HEADER_LEN + name_len],
        }))
    }
}

/// Returns the checksum of a block of entries, the one that is stored and the right one; `None` where there is none.
pub(crate) fn leaf_checksum(block: &[u8], inode_seed: u32) -> Option<(u32, u32)> {
    let at = block.len() - TAIL_LEN;
    let tail = &block[at..];
    let is_tail = get32(tail, 0) == 0
        && usize::from(get16(tail, 4)) == TAIL_LEN
        && tail[6] == 0
        && tail[7] == TAIL_TYPE;
    is_tail.then(|| (get32(tail, 8), crc32c::update(inode_seed, &block[..at])))
}

/// A block of a tree of hashes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree<'a> {
    block: &'a [u8],
    at: usize,
    /// Entries there is room for.
    pub(crate) limit: usize,
    pub(crate) count: usize,
    /// The number of the hash, and the levels below the first block. In other blocks 0.
    pub(crate) hash: u8,
    pub(crate) levels: u8,
    /// Flags that are all for later.
    pub(crate) flags: u8,
}

/// Tells whether a block other than the first belongs to the tree of hashes, not to the entries.
pub(crate) fn is_node(block: &[u8]) -> bool {
    get32(block, 0) == 0 && block[6] == 0 && decode_len(get16(block, 4), block.len()) == block.len()
}

impl<'a> Tree<'a> {
    /// Reads a directory's first block; `None` for one that is none of a tree.
    pub(crate) fn root(block: &'a [u8]) -> Option<Self> {
        let is_root = get16(block, 4) == 12
            && decode_len(get16(block, 16), block.len()) == block.len() - 12
            && get32(block, 24) == 0
            && block[29] == 8;
        let tree = Self::at(block, ROOT_COUNT).filter(|_| is_root)?;
        Some(Self {
            hash: block[28],
            levels: block[30],
            flags: block[31],
            ..tree
        })
    }

    /// Reads another block of the tree; `None` for one that is none.
    pub(crate) fn node(block: &'a [u8]) -> Option<Self> {
        Self::at(block, NODE_COUNT).filter(|_| is_node(block))
    }

    fn at(block: &'a [u8], at: usize) -> Option<Self> {
        let (limit, count) = (get16(block, at).into(), get16(block, at + 2).into());
        let room = (block.len() - at) / INDEX_LEN;
        let is_sound = count >= 1 && count <= limit && limit <= room;
        is_sound.then_some(Self {
            block,
            at,
            limit,
            count,
            hash: 0,
            levels: 0,
            flags: 0,
        })
    }

    /// Returns how many entries there is room for, with a checksum behind them or without.
    pub(crate) fn room(&self, has_checksum: bool) -> usize {
        let tail = if has_checksum { INDEX_LEN } else { 0 };
        (self.block.len() - self.at - tail) / INDEX_LEN
    }

    /// Returns an entry. The first one's hash is 0.
    pub(crate) fn entry(&self, index: usize) -> Index {
        let at = self.at + index * INDEX_LEN;
        Index {
            hash: match index {
                0 => 0,
                _ => get32(self.block, at),
            },
            // The upper bits are for other things.
            block: get32(self.block, at + 4) & 0x0fff_ffff,
        }
    }

    /// Returns its checksum, the one that is stored and the right one; `None` where there is no room for any.
    pub(crate) fn checksum(&self, inode_seed: u32) -> Option<(u32, u32)> {
        let at = self.at + self.limit * INDEX_LEN;
        let tail = self.block.get(at..at + 8)?;
        let used = &self.block[..self.at + self.count * INDEX_LEN];
        let sum = crc32c::update(inode_seed, used);
        let sum = crc32c::update(crc32c::update(sum, &tail[..4]), &[0; 4]);
        Some((get32(tail, 4), sum))
    }
}
