//! Names found by their hash.

use super::directory::WHAT;
use super::map::Hint;
use super::{Image, Inode};
use crate::format::dirent::{Index, Tree};
use crate::format::hash::{Bytes, by_number};
use crate::format::superblock::parse::INCOMPAT_LARGE_DIRECTORIES;
use crate::{Damage, ReadAt, ReadError};

/// A tree of hashes of a directory that there is one of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashes {
    number: u8,
    bytes: Bytes,
    seed: [u32; 4],
    pub(super) levels: u8,
}

impl Hashes {
    /// The hash of a name.
    pub(super) fn of(&self, name: &[u8]) -> u32 {
        by_number(self.number, self.bytes, self.seed, name).unwrap_or_default()
    }
}

impl<R: ReadAt> Image<R> {
    /// The hash that a directory's tree has, if it has one and the hash is known: the keyed hash of names that are encrypted and
    /// of any case is not.
    pub(super) fn hashes(&self, directory: &Inode) -> Result<Option<Hashes>, ReadError> {
        if !directory.is_indexed() || directory.is_case_folded() {
            return Ok(None);
        }
        self.directory_blocks(directory)?;
        let s = &self.superblock;
        let (number, levels) =
            self.with_node(directory, 0, &mut None, |tree| (tree.hash, tree.levels))?;
        let bytes = match s.hashes_unsigned() {
            true => Bytes::Unsigned,
            false => Bytes::Signed,
        };
        let deepest = match s.has_incompat(INCOMPAT_LARGE_DIRECTORIES) {
            true => 2,
            false => 1,
        };
        if levels > deepest {
            return Err(directory.damaged(Damage::Field {
                field: "the levels of the tree of hashes",
                expected: "at most 1, or 2 in large directories",
                found: levels.into(),
            }));
        }
        let seed = s.hash_seed;
        Ok(by_number(number, bytes, seed, b"").map(|_| Hashes {
            number,
            bytes,
            seed,
            levels,
        }))
    }

    /// Checks what does not matter to who finds names: the numbers of entries there is room for, the hash and flags.
    pub(super) fn check_nodes(&self, directory: &Inode) -> Result<(), ReadError> {
        let has_checksums = self.superblock.has_checksums();
        let mut hint = None;
        for logical in 0..self.directory_blocks(directory)? {
            let block = self.block_of(directory, logical, &mut hint)?;
            let bytes = self.blocks.block(block)?;
            let tree = match logical {
                0 => Tree::root(&bytes),
                _ => Tree::node(&bytes),
            };
            let Some(tree) = tree else {
                continue;
            };
            let number = match directory.is_case_folded() {
                true => 0,
                false => tree.hash,
            };
            let wrong = [
                (
                    tree.limit == tree.room(has_checksums),
                    ("the room for hashes", "what there is", tree.limit as u64),
                ),
                (
                    number <= 2,
                    ("the kind of hash", "0, 1 or 2", number.into()),
                ),
                (
                    tree.flags & 1 == 0,
                    ("flags of the tree of hashes", "none", tree.flags.into()),
                ),
            ]
            .into_iter()
            .find(|(is_right, _)| !is_right);
            if let Some((_, (field, expected, found))) = wrong {
                return Err(ReadError::Block {
                    what: WHAT,
                    number: directory.number(),
                    block,
                    reason: Damage::Field {
                        field,
                        expected,
                        found,
                    },
                });
            }
        }
        Ok(())
    }

    /// The inode of a name, if there is a tree of hashes to find it by, and if there is one.
    pub(super) fn find_hashed(
        &self,
        directory: &Inode,
        name: &[u8],
    ) -> Result<Option<Option<u32>>, ReadError> {
        let Some(hashes) = self.hashes(directory)? else {
            return Ok(None);
        };
        let hash = hashes.of(name);
        let mut hint = None;
        // The entries on the way: from the first block's on.
        let mut way: Vec<(u64, usize)> = Vec::new();
        let mut block = 0;
        for _ in 0..=hashes.levels {
            let (index, below) = self.with_node(directory, block, &mut hint, |tree| {
                let index = last_at_most(&tree, hash);
                (index, tree.entry(index).block)
            })?;
            way.push((block, index));
            block = below.into();
        }
        let blocks = self.directory_blocks(directory)?;
        // Each step leads to another leaf.
        for _ in 0..blocks {
            if let Some(number) = self.find_in_leaf(directory, block, &mut hint, name)? {
                return Ok(Some(Some(number)));
            }
            match self.next_leaf(directory, &mut way, &mut hint)? {
                Some(Index {
                    hash: next,
                    block: b,
                }) if next & 1 == 1 && next & !1 == hash => {
                    block = b.into();
                }
                _ => break,
            }
        }
        Ok(Some(None))
    }

    fn find_in_leaf(
        &self,
        directory: &Inode,
        logical: u64,
        hint: &mut Option<Hint>,
        name: &[u8],
    ) -> Result<Option<u32>, ReadError> {
        let place = (logical, self.block_of(directory, logical, hint)?);
        match self.directory_block(directory, place)? {
            Some(part) if logical != 0 => self.find_in(directory, &part, name),
            _ => Err(directory.damaged(Damage::HashTree)),
        }
    }

    /// The leaf behind the one that a way leads to: the hash it begins with is the first that differs on the two ways.
    fn next_leaf(
        &self,
        directory: &Inode,
        way: &mut [(u64, usize)],
        hint: &mut Option<Hint>,
    ) -> Result<Option<Index>, ReadError> {
        for level in (0..way.len()).rev() {
            let (block, index) = way[level];
            let next = self.with_node(directory, block, hint, |tree| {
                (index + 1 < tree.count).then(|| tree.entry(index + 1))
            })?;
            let Some(mut next) = next else {
                continue;
            };
            way[level].1 += 1;
            for below in &mut way[level + 1..] {
                let block = u64::from(next.block);
                *below = (block, 0);
                next.block = self.with_node(directory, block, hint, |tree| tree.entry(0).block)?;
            }
            return Ok(Some(next));
        }
        Ok(None)
    }

    /// Gives all leaves of a tree to `visit`, with the hash each begins with. No more than the directory has blocks.
    pub(super) fn each_leaf(
        &self,
        directory: &Inode,
        hashes: &Hashes,
        mut visit: impl FnMut(Index) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let blocks = self.directory_blocks(directory)?;
        let mut hint = None;
        let mut way: Vec<(u64, usize)> = Vec::new();
        let mut block = 0;
        for _ in 0..=hashes.levels {
            way.push((block, 0));
            let below = self.with_node(directory, block, &mut hint, |tree| tree.entry(0).block)?;
            block = below.into();
        }
        let mut leaf = Some(Index {
            hash: 0,
            block: block as u32,
        });
        let mut count = 0;
        while let Some(found) = leaf {
            count += 1;
            if count > blocks {
                return Err(directory.damaged(Damage::HashTree));
            }
            visit(found)?;
            leaf = self.next_leaf(directory, &mut way, &mut hint)?;
        }
        Ok(())
    }

    /// The block of the image that is a block of a directory.
    pub(super) fn block_of(
        &self,
        directory: &Inode,
        logical: u64,
        hint: &mut Option<Hint>,
    ) -> Result<u64, ReadError> {
        let is_inside = logical < self.directory_blocks(directory)?;
        let block = match is_inside {
            true => self.find_block(directory, logical, hint)?.physical,
            false => None,
        };
        block.ok_or_else(|| directory.damaged(Damage::Hole { logical }))
    }

    fn with_node<T>(
        &self,
        directory: &Inode,
        logical: u64,
        hint: &mut Option<Hint>,
        look: impl FnOnce(Tree<'_>) -> T,
    ) -> Result<T, ReadError> {
        let block = self.block_of(directory, logical, hint)?;
        // Checks its checksum.
        self.directory_block(directory, (logical, block))?;
        let bytes = self.blocks.block(block)?;
        let tree = match logical {
            0 => Tree::root(&bytes),
            _ => Tree::node(&bytes),
        };
        let tree = tree.ok_or(ReadError::Block {
            what: WHAT,
            number: directory.number(),
            block,
            reason: Damage::HashTree,
        })?;
        Ok(look(tree))
    }
}

/// The last entry whose hash is not above one.
fn last_at_most(tree: &Tree<'_>, hash: u32) -> usize {
    let (mut from, mut to) = (1, tree.count);
    while from < to {
        let middle = (from + to) / 2;
        match tree.entry(middle).hash <= hash {
            true => from = middle + 1,
            false => to = middle,
        }
    }
    from - 1
}
