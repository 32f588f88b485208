//! Extended attributes: behind an inode's fields, and in a block several inodes may share (`fs/ext4/xattr.h`, `acl.h`).

use std::borrow::Cow;

use super::{crc32c, get16, get32, put16, put32};

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

/// The reason why an attribute cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsupported {
    /// ext4 has no number for the name, or none that Linux shows.
    Name,
    /// The value is no POSIX ACL, and has to be one.
    Acl,
}

/// Returns the hash of a value that stands in an inode of its own (`ext4_xattr_inode_hash`).
pub(crate) fn value_hash(seed: u32, value: &[u8]) -> u32 {
    crc32c::update(seed, value)
}

impl<'a> Attribute<'a> {
    /// Returns an attribute as it is stored.
    pub(crate) fn of(name: &'a [u8], value: &'a [u8]) -> Result<Self, Unsupported> {
        let found = PREFIXES.iter().find(|(index, prefix)| match *index {
            2 | 3 => name == *prefix,
            // Linux shows none of these, and keeps data of inodes under one of the names.
            SYSTEM => false,
            _ => name.starts_with(prefix) && name.len() > prefix.len(),
        });
        let (index, prefix) = found.ok_or(Unsupported::Name)?;
        let name = &name[prefix.len()..];
        let value = match index {
            2 | 3 => Cow::Owned(acl(value).ok_or(Unsupported::Acl)?),
            _ => Cow::Borrowed(value),
        };
        if name.len() > 255 {
            return Err(Unsupported::Name);
        }
        Ok(Self {
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
        mix(hash, words)
    }
}

/// Turns an ACL as programs see it (`system.posix_acl_access`, version 2) into ext4's own, in which only users and groups that
/// are named have an id; `None` for a value that is none.
fn acl(value: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 || entries.len() % 8 != 0 {
        return None;
    }
    let mut out = 1_u32.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        out.extend_from_slice(&entry[..4]);
        match get16(entry, 0) {
            // ACL_USER and ACL_GROUP.
            0x02 | 0x08 => out.extend_from_slice(&entry[4..]),
            // ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_MASK and ACL_OTHER.
            0x01 | 0x04 | 0x10 | 0x20 => {}
            // Linux reads no ACL with another.
            _ => return None,
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

/// An entry as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) index: u8,
    pub(crate) name: &'a [u8],
    /// Where the value is, as the entry says.
    pub(crate) offset: usize,
    pub(crate) value_len: usize,
    /// The inode whose data is the value; 0 for none.
    pub(crate) inode: u32,
    pub(crate) hash: u32,
}

/// Tells whether bytes begin with the magic number of attributes.
pub(crate) fn has_magic(bytes: &[u8]) -> bool {
    get32(bytes, 0) == MAGIC
}

/// Returns the number of inodes that share a block, as it says.
pub(crate) fn references(block: &[u8]) -> u32 {
    get32(block, 4)
}

/// Tells whether a block says that the attributes are in it alone, as all do.
pub(crate) fn is_one_block(block: &[u8]) -> bool {
    get32(block, 8) == 1
}

/// Returns the checksum of a block: the one that is stored, and the right one.
pub(crate) fn checksum(block: &[u8], number: u64, seed: u32) -> (u32, u32) {
    let sum = crc32c::update(seed, &number.to_le_bytes());
    let sum = crc32c::update(crc32c::update(sum, &block[..16]), &[0; 4]);
    (get32(block, 16), crc32c::update(sum, &block[20..]))
}

/// The entries that begin in front of some bytes, up to one that does not fit.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Entries<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Some(bytes) }
    }
}

impl<'a> Iterator for Entries<'a> {
    /// `None` for an entry that does not fit.
    type Item = Option<Stored<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        if rest.len() < 4 {
            return Some(None);
        }
        if get32(rest, 0) == 0 {
            return None;
        }
        let name_len = usize::from(rest[0]);
        let length = (ENTRY_LEN + name_len).next_multiple_of(4);
        if length > rest.len() {
            return Some(None);
        }
        self.rest = Some(&rest[length..]);
        Some(Some(Stored {
            index: rest[1],
            name: &rest[ENTRY_LEN..ENTRY_LEN + name_len],
            offset: get16(rest, 2).into(),
            inode: get32(rest, 4),
            value_len: get32(rest, 8) as usize,
            hash: get32(rest, 12),
        }))
    }
}

impl Stored<'_> {
    /// Returns the name as programs know it; `None` for an index that stands for nothing.
    pub(crate) fn full_name(&self) -> Option<Vec<u8>> {
        if (self.index, self.name) == (RICH_ACL, b"") {
            return Some(b"system.richacl".to_vec());
        }
        let (_, prefix) = PREFIXES.iter().find(|(index, _)| *index == self.index)?;
        let is_whole = matches!(self.index, 2 | 3);
        (self.name.is_empty() == is_whole).then(|| [prefix, self.name].concat())
    }

    /// Tells whether it is of the filesystem's own, which no program sees: data of the inode, or how it is encrypted.
    pub(crate) fn is_internal(&self) -> bool {
        self.is_data() || self.index == ENCRYPTION
    }

    /// Tells whether it is data of the inode.
    pub(crate) fn is_data(&self) -> bool {
        self.index == SYSTEM && self.name == b"data"
    }

    /// Tells whether it is an ACL, in ext4's own form.
    pub(crate) fn is_acl(&self) -> bool {
        matches!(self.index, 2 | 3)
    }

    /// Tells whether its hash is that of its name and `value`, as a machine has it whose bytes are signed or not. Only attributes
    /// in blocks have one.
    pub(crate) fn hash_is_right(&self, value: &[u8]) -> bool {
        let hash_of = |byte: fn(u8) -> u32| {
            let hash = self
                .name
                .iter()
                .fold(0_u32, |hash, &b| hash << 5 ^ hash >> 27 ^ byte(b));
            mix(hash, value)
        };
        self.hash == 0
            || self.hash == hash_of(u32::from)
            || self.hash == hash_of(|b| i32::from(b as i8) as u32)
    }
}

const SYSTEM: u8 = 7;
const RICH_ACL: u8 = 8;
const ENCRYPTION: u8 = 9;

/// Adds a value to the hash of a name.
fn mix(hash: u32, value: &[u8]) -> u32 {
    value.chunks(4).fold(hash, |hash, bytes| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        hash << 16 ^ hash >> 16 ^ u32::from_le_bytes(word)
    })
}

/// Turns an ACL of ext4's own form into the one programs see; `None` for none.
pub(crate) fn acl_as_seen(value: &[u8]) -> Option<Vec<u8>> {
    let (version, mut rest) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 1 {
        return None;
    }
    let mut out = 2_u32.to_le_bytes().to_vec();
    while !rest.is_empty() {
        let (entry, behind) = rest.split_at_checked(4)?;
        out.extend_from_slice(entry);
        rest = behind;
        match get16(entry, 0) {
            // ACL_USER and ACL_GROUP.
            0x02 | 0x08 => {
                let (id, behind) = rest.split_at_checked(4)?;
                out.extend_from_slice(id);
                rest = behind;
            }
            // ACL_USER_OBJ, ACL_GROUP_OBJ, ACL_MASK and ACL_OTHER, which have none.
            0x01 | 0x04 | 0x10 | 0x20 => out.extend_from_slice(&[0xff; 4]),
            _ => return None,
        }
    }
    Some(out)
}
