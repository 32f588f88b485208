//! Where an inode's blocks are: a tree of extents, or lists of blocks as ext2 and ext3 have them.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Image, Inode, compare};
use crate::format::extent::{self, ENTRY_LEN, Header, Node, index_entry, leaf_entry};
use crate::format::get32;
use crate::format::inode::BLOCK_LEN;
use crate::{Damage, ReadAt, ReadError};

/// Blocks of a file are numbered with 32 bits.
const BLOCKS_MAX: u64 = 1 << 32;
/// Levels of a tree of extents below its top.
const DEPTH_MAX: u16 = 5;
/// Blocks that an inode lists itself; behind them, one for each further level of lists.
const DIRECT: u64 = 12;

const EXTENTS: &str = "the tree of extents";
const LIST: &str = "a list of blocks";

/// Blocks of a file that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Where they are; `None` for zeros.
    pub(super) physical: Option<u64>,
    /// How many there are, at least one.
    pub(super) blocks: u64,
}

/// The part of a map that was used last: most often the next block is in it too.
#[derive(Clone, Debug)]
pub(super) struct Hint {
    bytes: Arc<Vec<u8>>,
    /// The blocks of the file it tells about.
    low: u64,
    high: u64,
}

/// A part of what belongs to an inode.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    /// A block of the map itself.
    Map { block: u64 },
    /// Blocks of data.
    Data {
        logical: u64,
        physical: u64,
        blocks: u64,
        is_written: bool,
    },
}

/// A part of a tree that is to be looked at: its level, and the blocks of the file it tells about.
#[derive(Clone, Copy, Debug)]
struct Place {
    block: u64,
    depth: u16,
    low: u64,
    high: u64,
}

impl<R: ReadAt> Image<R> {
    /// Finds a block of a file, and those that follow it in one piece.
    pub(super) fn find_block(
        &self,
        inode: &Inode,
        logical: u64,
        hint: &mut Option<Hint>,
    ) -> Result<Run, ReadError> {
        let known = hint.take().filter(|h| (h.low..h.high).contains(&logical));
        match inode.has_extents() {
            true => self.find_extent(inode, logical, known, hint),
            false => self.find_listed(inode, logical, known, hint),
        }
    }

    fn find_extent(
        &self,
        inode: &Inode,
        logical: u64,
        known: Option<Hint>,
        hint: &mut Option<Hint>,
    ) -> Result<Run, ReadError> {
        if let Some(known) = known {
            let run = in_leaf(&known.bytes, logical, known.high);
            *hint = Some(known);
            return Ok(run);
        }
        let top = &inode.stored.block;
        let mut header = self.check_top(inode)?;
        let (mut low, mut high) = (0, BLOCKS_MAX);
        let mut below: Option<Arc<Vec<u8>>> = None;
        loop {
            let bytes = below.as_ref().map_or(top.as_slice(), |b| b.as_slice());
            if header.depth == 0 {
                let run = in_leaf(bytes, logical, high);
                *hint = below.map(|bytes| Hint { bytes, low, high });
                return Ok(run);
            }
            // The last that does not begin behind it.
            let count = usize::from(header.entries);
            let (mut from, mut to) = (0, count);
            while from < to {
                let middle = (from + to) / 2;
                match u64::from(index_entry(bytes, middle).logical) <= logical {
                    true => from = middle + 1,
                    false => to = middle,
                }
            }
            let Some(index) = from.checked_sub(1) else {
                let blocks = u64::from(index_entry(bytes, 0).logical) - logical;
                return Ok(Run {
                    physical: None,
                    blocks,
                });
            };
            let node = index_entry(bytes, index);
            if from < count {
                high = index_entry(bytes, from).logical.into();
            }
            low = node.logical.into();
            let place = Place {
                block: node.block,
                depth: header.depth - 1,
                low,
                high,
            };
            let (found, bytes) = self.extent_block(inode, place)?;
            (header, below) = (found, Some(bytes));
        }
    }

    fn check_top(&self, inode: &Inode) -> Result<Header, ReadError> {
        let header = Header::parse(&inode.stored.block);
        let depth = header.depth;
        if depth > DEPTH_MAX {
            return Err(inode.damaged(Damage::Field {
                field: "the depth of the tree of extents",
                expected: "at most 5",
                found: depth.into(),
            }));
        }
        self.check_extents(&inode.stored.block, header, depth, (0, BLOCKS_MAX), true)
            .map_err(|reason| inode.damaged(reason))?;
        Ok(header)
    }

    /// Reads and checks a block of a tree of extents.
    fn extent_block(
        &self,
        inode: &Inode,
        place: Place,
    ) -> Result<(Header, Arc<Vec<u8>>), ReadError> {
        let damaged = |reason| ReadError::Block {
            what: EXTENTS,
            number: inode.number(),
            block: place.block,
            reason,
        };
        // Whoever leads here has checked that the block is there.
        let bytes = self.blocks.block(place.block)?;
        let header = Header::parse(&bytes);
        self.check_extents(&bytes, header, place.depth, (place.low, place.high), false)
            .map_err(damaged)?;
        if self.superblock.has_checksums() {
            compare(extent::checksum(&bytes, header.max, inode.seed)).map_err(damaged)?;
        }
        Ok((header, bytes))
    }

    /// Checks that entries ascend, do not overlap and are where they may be.
    fn check_extents(
        &self,
        bytes: &[u8],
        header: Header,
        depth: u16,
        (low, high): (u64, u64),
        is_top: bool,
    ) -> Result<(), Damage> {
        let must = |is_right: bool, field, expected, found: u16| match is_right {
            true => Ok(()),
            false => Err(Damage::Field {
                field,
                expected,
                found: found.into(),
            }),
        };
        let is_magic = header.magic == extent::magic();
        must(
            is_magic,
            "the magic number of extents",
            "0xf30a",
            header.magic,
        )?;
        must(
            header.depth == depth,
            "the depth of a part of the tree of extents",
            "one less than that above",
            header.depth,
        )?;
        let sum = if !is_top && self.superblock.has_checksums() {
            4
        } else {
            0
        };
        let room = bytes.len() / ENTRY_LEN - 1;
        must(
            ENTRY_LEN * (1 + usize::from(header.max)) + sum <= bytes.len()
                && usize::from(header.max) + 2 >= room,
            "the room for extents",
            "what there is room for, or two less",
            header.max,
        )?;
        must(
            header.entries <= header.max,
            "the number of extents",
            "what there is room for",
            header.entries,
        )?;
        if header.entries == 0 && !(is_top && depth == 0) {
            return Err(Damage::NoExtents);
        }
        let mut first = low;
        for index in 0..usize::from(header.entries) {
            let (logical, end) = if depth > 0 {
                let Node { logical, block } = index_entry(bytes, index);
                self.blocks.check(block, 1)?;
                (logical, u64::from(logical) + 1)
            } else {
                let (extent, _) = leaf_entry(bytes, index);
                self.blocks.check(extent.physical, extent.blocks.into())?;
                must(
                    extent.blocks != 0,
                    "the length of an extent",
                    "a block or more",
                    0,
                )?;
                let end = u64::from(extent.logical) + u64::from(extent.blocks);
                (extent.logical, end)
            };
            if u64::from(logical) < first || end > high {
                let last = high;
                return Err(Damage::ExtentOrder {
                    logical,
                    first,
                    last,
                });
            }
            first = end;
        }
        Ok(())
    }

    fn find_listed(
        &self,
        inode: &Inode,
        logical: u64,
        known: Option<Hint>,
        hint: &mut Option<Hint>,
    ) -> Result<Run, ReadError> {
        if let Some(known) = known {
            let run = self.in_list(inode, &known.bytes, logical - known.low)?;
            *hint = Some(known);
            return Ok(run);
        }
        let top = &inode.stored.block;
        if logical < DIRECT {
            return self.in_list(inode, &top[..4 * DIRECT as usize], logical);
        }
        let per_block = self.block_size() / 4;
        let (mut low, mut span) = (DIRECT, per_block);
        let mut slot = DIRECT as usize;
        while slot < BLOCK_LEN / 4 && logical >= low + span {
            low += span;
            span *= per_block;
            slot += 1;
        }
        if slot == BLOCK_LEN / 4 {
            let blocks = BLOCKS_MAX.saturating_sub(logical).max(1);
            return Ok(Run {
                physical: None,
                blocks,
            });
        }
        let mut block = get32(top, 4 * slot);
        loop {
            if block == 0 {
                return Ok(Run {
                    physical: None,
                    blocks: low + span - logical,
                });
            }
            let bytes = self.list_block(inode, block)?;
            if span == per_block {
                let run = self.in_list(inode, &bytes, logical - low)?;
                let high = low + span;
                *hint = Some(Hint { bytes, low, high });
                return Ok(run);
            }
            span /= per_block;
            let index = (logical - low) / span;
            low += index * span;
            // Less than there are in a block.
            block = get32(&bytes, 4 * index as usize);
        }
    }

    fn list_block(&self, inode: &Inode, block: u32) -> Result<Arc<Vec<u8>>, ReadError> {
        let block = u64::from(block);
        self.blocks
            .check(block, 1)
            .map_err(|reason| ReadError::Block {
                what: LIST,
                number: inode.number(),
                block,
                reason,
            })?;
        self.blocks.block(block)
    }

    /// Returns the blocks from `index` of a list on that follow each other.
    fn in_list(&self, inode: &Inode, list: &[u8], index: u64) -> Result<Run, ReadError> {
        let at = |n: u64| get32(list, 4 * n as usize);
        let (count, first) = (list.len() as u64 / 4, at(index));
        let mut blocks = 1;
        while index + blocks < count {
            let expected = match first {
                0 => 0,
                _ => u64::from(first) + blocks,
            };
            if u64::from(at(index + blocks)) != expected {
                break;
            }
            blocks += 1;
        }
        let physical = (first != 0).then_some(u64::from(first));
        if let Some(block) = physical {
            let checked = self.blocks.check(block, blocks);
            checked.map_err(|reason| inode.damaged(reason))?;
        }
        Ok(Run { physical, blocks })
    }

    /// Gives all blocks of an inode to `visit`, in the order of the file; also those behind the file's end. An error of `visit`
    /// ends it.
    pub(super) fn traverse(
        &self,
        inode: &Inode,
        visit: &mut dyn FnMut(Piece) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        if !inode.has_blocks() {
            return Ok(());
        }
        if inode.has_extents() {
            let header = self.check_top(inode)?;
            let place = Place {
                block: 0,
                depth: header.depth,
                low: 0,
                high: BLOCKS_MAX,
            };
            return self.traverse_extents(inode, &inode.stored.block, header, place, visit);
        }
        let top = &inode.stored.block;
        self.traverse_list(inode, &top[..4 * DIRECT as usize], 0, 0, visit, &mut None)?;
        let mut seen = Some(HashSet::new());
        let per_block = self.block_size() / 4;
        let (mut low, mut span) = (DIRECT, per_block);
        for (slot, level) in (DIRECT as usize..BLOCK_LEN / 4).zip(1..) {
            let list = &top[4 * slot..4 * slot + 4];
            self.traverse_list(inode, list, low, level, visit, &mut seen)?;
            low += span;
            span *= per_block;
        }
        Ok(())
    }

    fn traverse_extents(
        &self,
        inode: &Inode,
        bytes: &[u8],
        header: Header,
        place: Place,
        visit: &mut dyn FnMut(Piece) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let count = usize::from(header.entries);
        for index in 0..count {
            if header.depth == 0 {
                let (extent, is_written) = leaf_entry(bytes, index);
                visit(Piece::Data {
                    logical: extent.logical.into(),
                    physical: extent.physical,
                    blocks: extent.blocks.into(),
                    is_written,
                })?;
                continue;
            }
            let node = index_entry(bytes, index);
            visit(Piece::Map { block: node.block })?;
            let below = Place {
                block: node.block,
                depth: header.depth - 1,
                low: node.logical.into(),
                high: match index + 1 < count {
                    true => index_entry(bytes, index + 1).logical.into(),
                    false => place.high,
                },
            };
            let (header, bytes) = self.extent_block(inode, below)?;
            self.traverse_extents(inode, &bytes, header, below, visit)?;
        }
        Ok(())
    }

    /// Goes through a list of blocks, `level` levels above data. Each list is looked at once: no more of them are than the
    /// image has blocks.
    fn traverse_list(
        &self,
        inode: &Inode,
        list: &[u8],
        low: u64,
        level: u32,
        visit: &mut dyn FnMut(Piece) -> Result<(), ReadError>,
        seen: &mut Option<HashSet<u32>>,
    ) -> Result<(), ReadError> {
        let count = list.len() as u64 / 4;
        if level == 0 {
            let mut index = 0;
            while index < count {
                let run = self.in_list(inode, list, index)?;
                if let Some(physical) = run.physical {
                    visit(Piece::Data {
                        logical: low + index,
                        physical,
                        blocks: run.blocks,
                        is_written: true,
                    })?;
                }
                index += run.blocks;
            }
            return Ok(());
        }
        let span = (self.block_size() / 4).pow(level);
        for index in 0..count {
            let block = get32(list, 4 * index as usize);
            if block == 0 {
                continue;
            }
            if seen.as_mut().is_some_and(|seen| !seen.insert(block)) {
                return Err(inode.damaged(Damage::Repeated {
                    block: block.into(),
                }));
            }
            let bytes = self.list_block(inode, block)?;
            visit(Piece::Map {
                block: block.into(),
            })?;
            let below = low + index * span;
            self.traverse_list(inode, &bytes, below, level - 1, visit, seen)?;
        }
        Ok(())
    }
}

/// Finds a block in a leaf that tells about blocks up to `high`.
fn in_leaf(bytes: &[u8], logical: u64, high: u64) -> Run {
    let count = usize::from(Header::parse(bytes).entries);
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = (from + to) / 2;
        match u64::from(leaf_entry(bytes, middle).0.logical) <= logical {
            true => from = middle + 1,
            false => to = middle,
        }
    }
    if let Some(index) = from.checked_sub(1) {
        let (extent, is_written) = leaf_entry(bytes, index);
        let inside = logical - u64::from(extent.logical);
        if inside < extent.blocks.into() {
            return Run {
                physical: is_written.then_some(extent.physical + inside),
                blocks: u64::from(extent.blocks) - inside,
            };
        }
    }
    let next = match from < count {
        true => leaf_entry(bytes, from).0.logical.into(),
        false => high,
    };
    Run {
        physical: None,
        blocks: next.saturating_sub(logical).max(1),
    }
}
