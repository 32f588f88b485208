//! Extended attributes: which stand behind the inode, which in a block several inodes may share, and which values have inodes
//! of their own.

use std::collections::HashMap;

use lithify_tree::{Tree, Xattrs};

use crate::WriteError;
use crate::format::INODE_LEN;
use crate::format::inode::XATTRS_AT;
use crate::format::xattr::{self, Attribute, Elsewhere, Unsupported};

/// Bytes behind an inode's fields.
pub(super) const INLINE_ROOM: usize = INODE_LEN - XATTRS_AT;

/// Where the attributes of a set stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There are none.
    Nowhere,
    /// Behind the inode.
    Inline,
    /// In a block several inodes may share, but for so many values, the longest, which have inodes of their own.
    Block(usize),
}

/// Returns a set as it is stored, in the order of a block; else the name of the first attribute that cannot be, and why.
pub(super) fn stored(set: &Xattrs) -> Result<Vec<Attribute<'_>>, (&[u8], Unsupported)> {
    let attributes = set
        .iter()
        .map(|(name, value)| Attribute::of(name, value).map_err(|why| (name, why)));
    let mut attributes = attributes.collect::<Result<Vec<_>, _>>()?;
    attributes.sort();
    Ok(attributes)
}

/// Returns the names of attributes ext4 cannot hold.
#[must_use]
pub fn unsupported_xattrs(set: &Xattrs) -> Vec<&[u8]> {
    let names = set
        .iter()
        .filter(|(name, value)| Attribute::of(name, value).is_err());
    names.map(|(name, _)| name).collect()
}

/// Decides where a set stands.
pub(super) fn place(
    set: &Xattrs,
    block_size: u32,
    path: impl Fn() -> Vec<u8>,
) -> Result<Place, WriteError> {
    if set.iter().next().is_none() {
        return Ok(Place::Nowhere);
    }
    let attributes = stored(set).map_err(|(name, why)| {
        let (path, name) = (path(), name.to_vec());
        match why {
            Unsupported::Name => WriteError::XattrName { path, name },
            Unsupported::Acl => WriteError::Acl { path, name },
        }
    })?;
    let bytes = xattr::total(&attributes);
    if bytes <= INLINE_ROOM - xattr::INODE_HEADER_LEN {
        return Ok(Place::Inline);
    }
    let limit = block_room(block_size);
    if bytes <= limit {
        return Ok(Place::Block(0));
    }
    let elsewhere = elsewhere(&attributes, limit);
    elsewhere.map(Place::Block).ok_or_else(|| {
        let names = attributes.iter().map(Attribute::entry_len);
        WriteError::Xattrs {
            path: path(),
            found: names.sum(),
            limit,
        }
    })
}

/// Returns the bytes a block has for attributes.
const fn block_room(block_size: u32) -> usize {
    block_size as usize - xattr::BLOCK_HEADER_LEN
}

/// Returns the number of values, largest first, that have to stand elsewhere so that the rest of a set fits; `None` where even
/// the entries without values do not.
fn elsewhere(attributes: &[Attribute<'_>], limit: usize) -> Option<usize> {
    let mut left = xattr::total(attributes);
    for (count, index) in by_length(attributes).into_iter().enumerate() {
        if left <= limit {
            return Some(count);
        }
        left -= attributes[index].value.len().next_multiple_of(4);
    }
    (left <= limit).then_some(attributes.len())
}

/// Returns the numbers of attributes, those with the longest values first.
fn by_length(attributes: &[Attribute<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..attributes.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(attributes[index].value.len()));
    order
}

/// Values that have inodes of their own, equal ones once.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// What each is, in the order of their inodes.
    pub(super) all: Vec<Value>,
    /// For each set that has any: its attributes and their values.
    of_sets: HashMap<usize, Vec<(usize, u32)>>,
}

/// A value that has an inode of its own.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    pub(super) elsewhere: Elsewhere,
    /// Blocks of attributes that name it.
    pub(super) references: u64,
}

impl Values {
    /// Collects them; their inodes begin with number `first`.
    pub(super) fn collect(
        tree: &Tree,
        places: &[Place],
        uses: &[u32],
        first: u64,
        seed: u32,
    ) -> Self {
        let mut found = Self::default();
        let mut known: HashMap<Vec<u8>, u32> = HashMap::new();
        // In the order of inodes, which is the tree's.
        for id in tree.inode_ids() {
            let set = tree.inode(id).xattrs;
            let Place::Block(count @ 1..) = places[set.index()] else {
                continue;
            };
            if found.of_sets.contains_key(&set.index()) {
                continue;
            }
            let attributes = stored(tree.xattrs(set)).unwrap_or_default();
            let mut numbers = Vec::new();
            for index in by_length(&attributes).into_iter().take(count) {
                let bytes = attributes[index].value.to_vec();
                let number = *known.entry(bytes).or_insert_with_key(|bytes| {
                    found.all.push(Value {
                        elsewhere: Elsewhere {
                            // That inodes have numbers of 32 bits is looked at afterwards.
                            inode: (first + found.all.len() as u64) as u32,
                            hash: xattr::value_hash(seed, bytes),
                        },
                        bytes: bytes.clone(),
                        references: 0,
                    });
                    found.all.len() as u32 - 1
                });
                found.all[number as usize].references +=
                    u64::from(uses[set.index()].div_ceil(xattr::SHARED_MAX));
                numbers.push((index, number));
            }
            found.of_sets.insert(set.index(), numbers);
        }
        found
    }

    /// Returns the blocks of a set's values that stand elsewhere.
    pub(super) fn blocks(&self, set: usize, block_size: u32) -> u64 {
        let numbers = self.of_sets.get(&set).into_iter().flatten();
        let lengths = numbers.map(|(_, number)| self.all[*number as usize].bytes.len() as u64);
        lengths
            .map(|length| length.div_ceil(block_size.into()))
            .sum()
    }

    /// Says in a set's attributes which values stand elsewhere.
    pub(super) fn refer(&self, set: usize, attributes: &mut [Attribute<'_>]) {
        for &(index, number) in self.of_sets.get(&set).into_iter().flatten() {
            attributes[index].elsewhere = Some(self.all[number as usize].elsewhere);
        }
    }
}
