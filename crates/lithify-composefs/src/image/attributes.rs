//! The extended attributes of one inode, as they are in the image.

use std::ops::Range;

use super::format::{
    XATTR_FILTER_SEED, XATTR_HEAD, XATTR_NAME_MAX, XATTR_PREFIXES, XATTR_UNIT, XATTR_VALUE_MAX,
};
use super::hash::xxh32;

/// An attribute that the image cannot hold, by its name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Name(Vec<u8>),
    /// Its value has that many bytes.
    Value(Vec<u8>, usize),
}

/// Attributes, in memory that is used again for the next inode.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: Range<usize>,
    value: Range<usize>,
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Attributes {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Adds an attribute, whose key comes in pieces and is none of those there.
    pub(super) fn add(&mut self, key: &[&[u8]], value: &[&[u8]]) {
        let start = self.bytes.len();
        key.iter()
            .for_each(|part| self.bytes.extend_from_slice(part));
        let middle = self.bytes.len();
        value
            .iter()
            .for_each(|part| self.bytes.extend_from_slice(part));
        self.entries.push(Entry {
            key: start..middle,
            value: middle..self.bytes.len(),
        });
    }

    /// Adds an attribute, or gives one that is there another value.
    pub(super) fn set(&mut self, key: &[&[u8]], value: &[u8]) {
        self.add(key, &[value]);
        if let Some((new, others)) = self.entries.split_last_mut() {
            let name = &self.bytes[new.key.clone()];
            let same = others
                .iter_mut()
                .find(|e| &self.bytes[e.key.clone()] == name);
            if let Some(old) = same {
                old.value = new.value.clone();
                self.entries.pop();
            }
        }
    }

    /// Puts them in the order of their keys, and checks that each fits.
    pub(super) fn finish(&mut self) -> Result<(), Unfit> {
        let bytes = &self.bytes;
        self.entries
            .sort_unstable_by(|a, b| bytes[a.key.clone()].cmp(&bytes[b.key.clone()]));
        for Attribute { key, value } in self.iter() {
            if key.len() > XATTR_NAME_MAX {
                return Err(Unfit::Name(key.to_vec()));
            }
            if value.len() > XATTR_VALUE_MAX {
                return Err(Unfit::Value(key.to_vec(), value.len()));
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.entries.iter().map(|entry| Attribute {
            key: &self.bytes[entry.key.clone()],
            value: &self.bytes[entry.value.clone()],
        })
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let mut all = self.iter();
        all.find(|a| a.key == key).map(|a| a.value)
    }

    /// Returns the filter: bits that are not set say that no attribute has a name with that hash.
    pub(super) fn filter(&self) -> u32 {
        !self.iter().fold(0, |bits, attribute| {
            let (number, suffix) = attribute.split();
            let seed = XATTR_FILTER_SEED + u32::from(number);
            bits | 1 << (xxh32(suffix, seed) % 32)
        })
    }
}

impl<'a> Attribute<'a> {
    /// Returns the number of the prefix and the rest of the name.
    fn split(&self) -> (u8, &'a [u8]) {
        XATTR_PREFIXES
            .iter()
            .find_map(|(prefix, number)| Some((*number, self.key.strip_prefix(*prefix)?)))
            .unwrap_or((0, self.key))
    }

    /// Returns the bytes it takes.
    pub(super) fn size(&self) -> u64 {
        let size = XATTR_HEAD + self.split().1.len() + self.value.len();
        size.next_multiple_of(XATTR_UNIT) as u64
    }

    /// Writes it as it is on disk. It fits.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (number, suffix) = self.split();
        let start = out.len();
        // A whole name has 255 bytes at most.
        out.extend_from_slice(&suffix.len().to_le_bytes()[..1]);
        out.push(number);
        out.extend_from_slice(&self.value.len().to_le_bytes()[..2]);
        out.extend_from_slice(suffix);
        out.extend_from_slice(self.value);
        let size = (out.len() - start).next_multiple_of(XATTR_UNIT);
        out.resize(start + size, 0);
    }
}
