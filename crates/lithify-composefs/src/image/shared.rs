//! Attributes that several inodes have: they are in the image once.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use hashbrown::HashTable;
use lithify_cancel::CancelToken;
use lithify_tree::InodeKind;

use super::ImageError;
use super::attributes::{Attribute, Attributes, Unfit};
use super::members::{Class, Member, Members};
use crate::source::Source;

/// Hashes are the same in every process, so that a failure can be repeated.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// The table of shared attributes.
#[derive(Debug, Default)]
pub(super) struct Shared {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    by_hash: HashTable<u32>,
    /// Bytes of the table in the image.
    size: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    middle: usize,
    end: usize,
    /// Where it is in the table, in bytes.
    offset: u64,
    /// Whether more than one inode has it.
    is_shared: bool,
}

fn hash(attribute: &Attribute<'_>) -> u64 {
    Hasher::default().hash_one((attribute.key, attribute.value))
}

impl Shared {
    /// Finds the attributes that more than one inode has.
    ///
    /// First their hashes alone are kept, eight bytes for an attribute and inode; then the attributes whose hash occurs twice.
    pub(super) fn find<S: Source + ?Sized>(
        members: &Members<'_, S>,
        cancel: &CancelToken,
    ) -> Result<Self, ImageError> {
        let mut hashes = Vec::new();
        each(members, cancel, |attribute| hashes.push(hash(&attribute)))?;
        hashes.sort_unstable();
        let mut twice: Vec<u64> = hashes
            .chunk_by(|a, b| a == b)
            .filter_map(|same| same.get(1).copied())
            .collect();
        twice.shrink_to_fit();
        drop(hashes);
        let mut shared = Self::default();
        if !twice.is_empty() {
            each(members, cancel, |attribute| {
                let hash = hash(&attribute);
                if twice.binary_search(&hash).is_ok() {
                    shared.count(attribute, hash);
                }
            })?;
        }
        Ok(shared.sorted())
    }

    fn count(&mut self, attribute: Attribute<'_>, hash: u64) {
        if let Some(index) = self.index(&attribute, hash) {
            self.entries[index].is_shared = true;
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(attribute.key);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(attribute.value);
        let index = self.entries.len() as u32;
        self.entries.push(Entry {
            start,
            middle,
            end: self.bytes.len(),
            offset: 0,
            is_shared: false,
        });
        let Self {
            bytes,
            entries,
            by_hash,
            ..
        } = self;
        by_hash.insert_unique(hash, index, |&i| {
            self::hash(&attribute_of(bytes, &entries[i as usize]))
        });
    }

    fn index(&self, attribute: &Attribute<'_>, hash: u64) -> Option<usize> {
        let is_it = |&i: &u32| attribute_of(&self.bytes, &self.entries[i as usize]) == *attribute;
        self.by_hash.find(hash, is_it).map(|&i| i as usize)
    }

    /// Puts the table into its order: from the last key to the first, and from the longest and last value.
    fn sorted(mut self) -> Self {
        self.entries.retain(|entry| entry.is_shared);
        let bytes = &self.bytes;
        self.entries.sort_unstable_by_key(|entry| {
            let attribute = attribute_of(bytes, entry);
            Reverse((attribute.key, attribute.value.len(), attribute.value))
        });
        self.size = 0;
        for entry in &mut self.entries {
            entry.offset = self.size;
            self.size += attribute_of(bytes, entry).size();
        }
        self.by_hash.clear();
        for (index, entry) in self.entries.iter().enumerate() {
            let hash = hash(&attribute_of(bytes, entry));
            self.by_hash.insert_unique(hash, index as u32, |&i| {
                self::hash(&attribute_of(bytes, &self.entries[i as usize]))
            });
        }
        self
    }

    /// Returns where an attribute is in the table, in bytes, if it is shared.
    pub(super) fn offset(&self, attribute: &Attribute<'_>) -> Option<u64> {
        if self.entries.is_empty() {
            return None;
        }
        let index = self.index(attribute, hash(attribute))?;
        Some(self.entries[index].offset)
    }

    /// Returns the bytes of the table.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the attributes in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.entries.iter().map(|e| attribute_of(&self.bytes, e))
    }
}

fn attribute_of<'a>(bytes: &'a [u8], entry: &Entry) -> Attribute<'a> {
    Attribute {
        key: &bytes[entry.start..entry.middle],
        value: &bytes[entry.middle..entry.end],
    }
}

/// Calls `found` for each attribute of each inode: of those whose attributes come from one set of the tree twice at most, since
/// an attribute is shared or not.
fn each<S: Source + ?Sized>(
    members: &Members<'_, S>,
    cancel: &CancelToken,
    mut found: impl FnMut(Attribute<'_>),
) -> Result<(), ImageError> {
    let mut attributes = Attributes::default();
    let mut seen: HashMap<Class, u8> = HashMap::new();
    let mut stubs = 0;
    for (at, member) in members.order.iter().enumerate() {
        if at % 4096 == 0 {
            cancel.check()?;
        }
        let unfit = |e| unfit(members.path(member), e);
        let node = match *member {
            Member::Node(node) => node,
            Member::Stub(_) => {
                stubs += 1;
                if stubs <= 2 {
                    members.attributes(member, &mut attributes).map_err(unfit)?;
                    attributes.iter().for_each(&mut found);
                }
                continue;
            }
        };
        let class = members.class(node);
        let times = seen.entry(class).or_default();
        if *times < 2 {
            *times += 1;
            attributes.clear();
            members.class_attributes(class, &mut attributes);
            attributes.finish().map_err(unfit)?;
            attributes.iter().for_each(&mut found);
        }
        if let InodeKind::File { size: 1.., content } = members.tree.node_inode(node).kind {
            attributes.clear();
            Members::<S>::object_attributes(&members.content(content), &mut attributes);
            attributes.finish().map_err(unfit)?;
            attributes.iter().for_each(&mut found);
        }
    }
    Ok(())
}

/// Names the file whose attribute does not fit.
pub(super) fn unfit(path: Vec<u8>, unfit: Unfit) -> ImageError {
    match unfit {
        Unfit::Name(name) => ImageError::XattrName { path, name },
        Unfit::Value(name, found) => ImageError::XattrValue { path, name, found },
    }
}
