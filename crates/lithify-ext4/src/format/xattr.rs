//! Extended attributes: behind an inode's fields, and in a block several inodes may share (`fs/ext4/xattr.h`, `acl.h`).

use std::borrow::Cow;

use super::{crc32c, put16, put32};

const MAGIC: u32 = 0xea02_0000;
/// Bytes of a block's header; an inode has only the magic number.
pub(crate) const BLOCK_HEADER_LEN: usize = 32;
pub(crate) const INODE_HEADER_LEN: usize = 4;
/// Bytes of an entry before its name.
const ENTRY_LEN: usize = 16;
/// The most inodes that share a block.
pub(crate) const SHARED_MAX: u32 = 1024;

/// Prefixes of names that are stored as numbers; the first that fits counts.
const PREFIXES: [(u8, &[u8]); 6] = [
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (1, b"user."),
    (4, b"trusted."),
    (6, b"security."),
    (7, b"system."),
];

/// An attribute as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attribute<'a> {
    pub(crate) index: u8,
    /// Its length comes before it in the order of a block.
    name_len: usize,
    pub(crate) name: &'a [u8],
    pub(crate) value: Cow<'a, [u8]>,
    /// The inode that has the value, if it stands elsewhere.
    pub(crate) elsewhere: Option<Elsewhere>,
}

/// A value that stands in the data of an inode of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Elsewhere {
    pub(crate) inode: u32,
    /// The [`value_hash`].
    pub(crate) hash: u32,
}

/// Returns the hash of a value that stands in an inode of its own (`ext4_xattr_inode_hash`).
pub(crate) fn value_hash(seed: u32, value: &[u8]) -> u32 {
    crc32c::update(seed, value)
}

impl<'a> Attribute<'a> {
    /// Returns an attribute as it is stored; `None` for a name ext4 has no number for, or a value that is no ACL where one
    /// must be.
    pub(crate) fn of(name: &'a [u8], value: &'a [u8]) -> Option<Self> {
        let (index, prefix) = PREFIXES.iter().find(|(index, prefix)| match index {
            2 | 3 => name == *prefix,
            _ => name.starts_with(prefix) && name.len() > prefix.len(),
        })?;
        let name = &name[prefix.len()..];
        let value = match index {
            2 | 3 => Cow::Owned(acl(value)?),
            _ => Cow::Borrowed(value),
        };
        (name.len() <= 255).then_some(Self {
            index: *index,
            name_len: name.len(),
            name,
            value,
            elsewhere: None,
        })
    }

    /// Returns the bytes it takes without its value.
    pub(crate) fn entry_len(&self) -> usize {
        (ENTRY_LEN + self.name.len()).next_multiple_of(4)
    }

    /// Returns the value, if it stands with the entry.
    fn here(&self) -> &[u8] {
        match self.elsewhere {
            None => &self.value,
            Some(_) => &[],
        }
    }

    /// Returns the bytes it takes.
    pub(crate) fn len(&self) -> usize {
        self.entry_len() + self.here().len().next_multiple_of(4)
    }

    /// Returns its hash (`ext4_xattr_hash_entry`).
    fn hash(&self) -> u32 {
        let hash = self.name.iter().fold(0_u32, |hash, &byte| {
            hash << 5 ^ hash >> 27 ^ u32::from(byte)
        });
        let elsewhere = self.elsewhere.map(|found| found.hash.to_le_bytes());
        let words = elsewhere.as_ref().map_or(self.here(), <[u8; 4]>::as_slice);
        words.chunks(4).fold(hash, |hash, bytes| {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            hash << 16 ^ hash >> 16 ^ u32::from_le_bytes(word)
        })
    }
}

/// Turns an ACL as programs see it (`system.posix_acl_access`, version 2) into ext4's own, in which only users and groups that
/// are named have an id.
fn acl(value: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 || entries.len() % 8 != 0 {
        return None;
    }
    let mut out = 1_u32.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        out.extend_from_slice(&entry[..4]);
        // ACL_USER and ACL_GROUP.
        if matches!(entry[0], 2 | 8) {
            out.extend_from_slice(&entry[4..]);
        }
    }
    Some(out)
}

/// Returns the bytes of attributes, with the end of the entries.
pub(crate) fn total(attributes: &[Attribute<'_>]) -> usize {
    4 + attributes.iter().map(Attribute::len).sum::<usize>()
}

/// Writes entries from `first` on, and values from the end on. Offsets count from `base`.
fn put(bytes: &mut [u8], base: usize, first: usize, attributes: &[Attribute<'_>], hashes: bool) {
    let (mut at, mut end) = (first, bytes.len());
    for attribute in attributes {
        let value = attribute.here();
        end -= value.len().next_multiple_of(4);
        bytes[end..end + value.len()].copy_from_slice(value);
        let entry = &mut bytes[at..];
        entry[0] = attribute.name.len() as u8;
        entry[1] = attribute.index;
        if !value.is_empty() {
            put16(entry, 2, (end - base) as u16);
        }
        if let Some(elsewhere) = attribute.elsewhere {
            put32(entry, 4, elsewhere.inode);
        }
        put32(entry, 8, attribute.value.len() as u32);
        if hashes {
            put32(entry, 12, attribute.hash());
        }
        entry[ENTRY_LEN..ENTRY_LEN + attribute.name.len()].copy_from_slice(attribute.name);
        at += attribute.entry_len();
    }
}

/// Returns attributes as they stand behind an inode's fields, in so many bytes.
pub(crate) fn in_inode(room: usize, attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; room];
    put32(&mut bytes, 0, MAGIC);
    put(
        &mut bytes,
        INODE_HEADER_LEN,
        INODE_HEADER_LEN,
        attributes,
        false,
    );
    bytes
}

/// Returns the block with sorted attributes, for so many inodes, that will be block `number`.
pub(crate) fn block(
    block_size: usize,
    attributes: &[Attribute<'_>],
    inodes: u32,
    number: u64,
    seed: u32,
) -> Vec<u8> {
    let mut bytes = vec![0; block_size];
    put32(&mut bytes, 0, MAGIC);
    put32(&mut bytes, 4, inodes);
    put32(&mut bytes, 8, 1);
    let hash = attributes
        .iter()
        .fold(0_u32, |hash, a| hash << 16 ^ hash >> 16 ^ a.hash());
    put32(&mut bytes, 12, hash);
    put(&mut bytes, 0, BLOCK_HEADER_LEN, attributes, true);
    let sum = crc32c::update(crc32c::update(seed, &number.to_le_bytes()), &bytes);
    put32(&mut bytes, 16, sum);
    bytes
}
