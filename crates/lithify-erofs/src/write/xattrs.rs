//! Extended attributes: which are stored behind each inode and which once for all.
//!
//! An attribute that several inodes have is shared when that takes fewer bytes. One that is long goes to the shared
//! area even if only one inode has it: inodes stay small, and what follows them keeps room in their block.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use lithify_tree::{Tree, XattrSetId, Xattrs};

use super::layout;
use crate::WriteError;
use crate::format::BLOCK_SIZE;
use crate::format::xattr::{
    BODY_MAX, ENTRY_LEN, HEADER_LEN, ID_LEN, SHARED_MAX, VALUE_MAX, encode_entry, encode_header,
    entry_len, split_name,
};

/// Bytes of entries behind one inode from which on the longest are moved to the shared area.
const INLINE_TARGET: usize = 512;

/// How every attribute of every set is stored. Attributes are numbered set by set, in the order of the sets.
#[derive(Debug)]
pub(crate) struct XattrPlan {
    /// Number of the first attribute of each set, and of the attribute behind the last set.
    first: Vec<u32>,
    /// Where each attribute is: an offset in the shared area in units of [`ID_LEN`], or [`INLINE`].
    place: Vec<u32>,
    /// Header, ids and entries of each set, in bytes.
    body: Vec<u16>,
    /// The first attribute with each shared name and value, in order of place: set and index in the set.
    shared: Vec<(XattrSetId, u32)>,
    /// Length of the shared area in units of [`ID_LEN`].
    shared_units: u32,
}

const INLINE: u32 = u32::MAX;

/// One attribute while equal ones are searched.
struct Candidate {
    hash: u64,
    set: u32,
    index: u32,
}

impl XattrPlan {
    /// Decides for all sets that inodes of the tree use.
    pub(crate) fn new(tree: &Tree) -> Result<Self, WriteError> {
        let mut uses = vec![0_u32; tree.xattr_set_count()];
        let mut sets = vec![XattrSetId::EMPTY; uses.len()];
        for id in tree.inode_ids() {
            let set = tree.inode(id).xattrs;
            uses[set.index()] += 1;
            sets[set.index()] = set;
        }
        uses[XattrSetId::EMPTY.index()] = 0;

        let mut first = Vec::with_capacity(uses.len() + 1);
        let mut candidates = Vec::new();
        let mut count = 0_u32;
        for (set, &id) in sets.iter().enumerate() {
            first.push(count);
            if uses[set] == 0 {
                continue;
            }
            check(tree, id)?;
            for (index, pair) in tree.xattrs(id).iter().enumerate() {
                let mut hasher = DefaultHasher::new();
                pair.hash(&mut hasher);
                candidates.push(Candidate {
                    hash: hasher.finish(),
                    set: set as u32,
                    index: index as u32,
                });
                count = count.checked_add(1).ok_or(WriteError::TooMuchMetadata)?;
            }
        }
        first.push(count);

        let mut plan = Self {
            place: vec![INLINE; count as usize],
            body: vec![0; uses.len()],
            shared: Vec::new(),
            shared_units: 0,
            first,
        };
        let leaders = plan.share_equal(tree, &sets, &uses, candidates);
        for (set, &id) in sets.iter().enumerate() {
            if uses[set] > 0 {
                plan.fit_set(tree, id, &leaders)?;
            }
        }
        plan.assign_places(tree, &sets, &leaders)?;
        Ok(plan)
    }

    /// Finds equal attributes. Gives for each attribute the first that equals it, and sets the place of those worth
    /// sharing to their leader's number.
    fn share_equal(
        &mut self,
        tree: &Tree,
        sets: &[XattrSetId],
        uses: &[u32],
        mut candidates: Vec<Candidate>,
    ) -> Vec<u32> {
        let pair = |c: &Candidate| {
            tree.xattrs(sets[c.set as usize])
                .iter()
                .nth(c.index as usize)
        };
        candidates.sort_unstable_by(|a, b| {
            // The hash only brings equal ones together: no order that reaches the image comes from it.
            a.hash
                .cmp(&b.hash)
                .then_with(|| pair(a).cmp(&pair(b)))
                .then((a.set, a.index).cmp(&(b.set, b.index)))
        });
        let mut leaders = vec![0; self.place.len()];
        for group in candidates.chunk_by(|a, b| a.hash == b.hash && pair(a) == pair(b)) {
            let number = |c: &Candidate| self.first[c.set as usize] + c.index;
            let leader = number(&group[0]);
            let inodes: u64 = group.iter().map(|c| u64::from(uses[c.set as usize])).sum();
            let length = pair(&group[0]).map_or(0, |(name, value)| encoded_len(name, value)) as u64;
            let worth = length + inodes * ID_LEN as u64 <= inodes * length && inodes > 1;
            for c in group {
                let number = (self.first[c.set as usize] + c.index) as usize;
                leaders[number] = leader;
                if worth {
                    self.place[number] = leader;
                }
            }
        }
        leaders
    }

    /// Keeps one set within the limits of an inode and computes its length.
    fn fit_set(&mut self, tree: &Tree, set: XattrSetId, leaders: &[u32]) -> Result<(), WriteError> {
        let range = self.first[set.index()] as usize..self.first[set.index() + 1] as usize;
        let (place, leaders) = (&mut self.place[range.clone()], &leaders[range]);
        let lengths: Vec<usize> = tree
            .xattrs(set)
            .iter()
            .map(|(name, value)| encoded_len(name, value))
            .collect();
        let mut by_length: Vec<usize> = (0..lengths.len()).collect();
        by_length.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));

        let mut shared = place.iter().filter(|p| **p != INLINE).count();
        for &i in by_length.iter().rev() {
            if shared <= SHARED_MAX {
                break;
            }
            if place[i] != INLINE {
                place[i] = INLINE;
                shared -= 1;
            }
        }
        let mut inline: usize = (0..lengths.len())
            .filter(|&i| place[i] == INLINE)
            .map(|i| lengths[i])
            .sum();
        for &i in &by_length {
            if inline <= INLINE_TARGET || shared == SHARED_MAX {
                break;
            }
            if place[i] == INLINE && lengths[i] > ID_LEN {
                place[i] = leaders[i];
                inline -= lengths[i];
                shared += 1;
            }
        }
        let body = HEADER_LEN + shared * ID_LEN + inline;
        if body > BODY_MAX {
            let path = layout::path_of_set(tree, set);
            return Err(WriteError::XattrCount {
                path,
                count: lengths.len(),
            });
        }
        // BODY_MAX fits 16 bits.
        self.body[set.index()] = body as u16;
        Ok(())
    }

    /// Replaces leaders' numbers by offsets in the shared area, in order of first use.
    fn assign_places(
        &mut self,
        tree: &Tree,
        sets: &[XattrSetId],
        leaders: &[u32],
    ) -> Result<(), WriteError> {
        const UNPLACED: u32 = u32::MAX;
        let mut offsets = vec![UNPLACED; leaders.len()];
        for &set in sets {
            let range = self.first[set.index()] as usize..self.first[set.index() + 1] as usize;
            for ((index, (name, value)), number) in tree.xattrs(set).iter().enumerate().zip(range) {
                if self.place[number] == INLINE {
                    continue;
                }
                let offset = &mut offsets[leaders[number] as usize];
                if *offset == UNPLACED {
                    *offset = self.shared_units;
                    self.shared.push((set, index as u32));
                    let units = (encoded_len(name, value) / ID_LEN) as u32;
                    // Ids count from the start of the block the area starts in.
                    self.shared_units = self
                        .shared_units
                        .checked_add(units)
                        .filter(|&u| u < u32::MAX - (BLOCK_SIZE / ID_LEN) as u32)
                        .ok_or(WriteError::TooMuchMetadata)?;
                }
                self.place[number] = *offset;
            }
        }
        Ok(())
    }

    /// Length of header, ids and entries of a set, in bytes; 0 for the empty one.
    pub(crate) fn body_len(&self, set: XattrSetId) -> usize {
        usize::from(self.body[set.index()])
    }

    /// Number of entries in the shared area.
    pub(crate) fn shared_count(&self) -> usize {
        self.shared.len()
    }

    /// Length of the shared area, in bytes.
    pub(crate) fn shared_len(&self) -> u64 {
        u64::from(self.shared_units) * ID_LEN as u64
    }

    /// Appends header, ids and entries of a set. `base` is the id at which the shared area starts.
    pub(crate) fn encode_body(&self, tree: &Tree, set: XattrSetId, base: u32, out: &mut Vec<u8>) {
        if self.body_len(set) == 0 {
            return;
        }
        let place =
            &self.place[self.first[set.index()] as usize..self.first[set.index() + 1] as usize];
        let shared = place.iter().filter(|p| **p != INLINE);
        encode_header(shared.clone().count() as u8, out);
        for &offset in shared {
            out.extend_from_slice(&(base + offset).to_le_bytes());
        }
        for ((name, value), _) in tree
            .xattrs(set)
            .iter()
            .zip(place)
            .filter(|(_, p)| **p == INLINE)
        {
            encode(name, value, out);
        }
    }

    /// The entries of the shared area, one after another.
    pub(crate) fn encode_shared(
        &self,
        tree: &Tree,
        mut sink: impl FnMut(&[u8]) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut entry = Vec::new();
        for &(set, index) in &self.shared {
            entry.clear();
            if let Some((name, value)) = tree.xattrs(set).iter().nth(index as usize) {
                encode(name, value, &mut entry);
            }
            sink(&entry)?;
        }
        Ok(())
    }
}

/// The names of a set's attributes that EROFS cannot hold: of a namespace it does not know, with a value that is too long, and
/// the last ones of more than fit behind one inode.
#[must_use]
pub fn unsupported_xattrs(xattrs: &Xattrs) -> Vec<&[u8]> {
    let (held, mut unsupported): (Vec<_>, Vec<_>) = xattrs
        .iter()
        .partition(|(name, value)| split_name(name).is_some() && value.len() <= VALUE_MAX);
    let mut count = held.len();
    // The longest are shared first.
    let fits = |count: usize| {
        let lengths = held[..count].iter().map(|(n, v)| encoded_len(n, v));
        let mut lengths: Vec<usize> = lengths.collect();
        lengths.sort_unstable();
        let inline: usize = lengths[..count.saturating_sub(SHARED_MAX)].iter().sum();
        HEADER_LEN + count.min(SHARED_MAX) * ID_LEN + inline <= BODY_MAX
    };
    while count > SHARED_MAX && !fits(count) {
        count -= 1;
    }
    unsupported.extend_from_slice(&held[count..]);
    unsupported.into_iter().map(|(name, _)| name).collect()
}

/// Refuses names and values EROFS cannot hold, and sets of absurd length before more is done with them.
fn check(tree: &Tree, set: XattrSetId) -> Result<(), WriteError> {
    let xattrs = tree.xattrs(set);
    if xattrs.len() > SHARED_MAX + BODY_MAX / ENTRY_LEN {
        return Err(WriteError::XattrCount {
            path: layout::path_of_set(tree, set),
            count: xattrs.len(),
        });
    }
    for (name, value) in xattrs.iter() {
        if split_name(name).is_none() {
            return Err(WriteError::XattrName {
                path: layout::path_of_set(tree, set),
                name: name.to_vec(),
            });
        }
        if value.len() > VALUE_MAX {
            let path = layout::path_of_set(tree, set);
            return Err(WriteError::XattrValue {
                path,
                name: name.to_vec(),
                length: value.len(),
            });
        }
    }
    Ok(())
}

/// Length of the entry for a name that has been checked.
fn encoded_len(name: &[u8], value: &[u8]) -> usize {
    split_name(name).map_or(0, |(_, rest)| entry_len(rest.len(), value.len()))
}

fn encode(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if let Some((index, rest)) = split_name(name) {
        encode_entry(index, rest, value, out);
    }
}
