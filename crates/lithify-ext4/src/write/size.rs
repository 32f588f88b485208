//! The size of the filesystem, and the places of what stands behind its contents: bitmaps, inode tables, the journal.

use std::ops::Range;

use super::extents;
use super::options::{DataOptions, ImageOptions, Journal};
use crate::WriteError;
use crate::format::INODE_LEN;
use crate::format::extent::Extent;
use crate::format::journal::default_blocks;
use crate::format::superblock::FLEXIBLE_GROUPS_LOG;
use crate::geometry::Geometry;

/// The smallest journal, in blocks (`JBD2_MIN_JOURNAL_BLOCKS`), and the largest `mke2fs` makes.
const JOURNAL: std::ops::RangeInclusive<u64> = 1024..=10_240_000;

/// Sizes are multiples of this, where none is asked for.
const STEP: u64 = 1 << 20;

/// The smallest filesystem that has a journal unasked, in blocks.
const JOURNALED_MIN: u64 = 2048;

/// The least blocks behind its copies that a last group is worth having for.
const LAST_GROUP_MIN: u64 = 50;

/// The groups of a flexible group.
const FLEXIBLE_GROUPS: u32 = 1 << FLEXIBLE_GROUPS_LOG;

/// What has to have room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// Data blocks of the contents: file data, directories and so on.
    pub(super) data: u64,
    /// Inodes.
    pub(super) inodes: u32,
}

/// The size of a filesystem, and the places of what is behind its contents, in data blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// All blocks of the filesystem.
    pub(super) blocks: u64,
    pub(super) groups: u32,
    pub(super) inodes_per_group: u32,
    /// Bitmaps and tables, in the order of groups.
    regions: Vec<Region>,
    /// The blocks of the tree over the journal's extents.
    pub(super) journal_tree: u64,
    /// The stretches of the journal.
    pub(super) journal: Vec<Range<u64>>,
    /// All blocks that are used, in order.
    pub(super) used: Vec<Range<u64>>,
    /// The block behind the last that is used.
    end: u64,
}

/// The bitmaps and tables of groups that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Region {
    first_group: u32,
    groups: u32,
    /// The bitmaps of blocks of all these groups, then those of inodes.
    bitmaps: u64,
    /// Tables of inodes that follow each other.
    tables: Vec<Tables>,
    end: u64,
}

/// Tables of inodes that follow each other: one does not go around a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tables {
    first_group: u32,
    groups: u32,
    data: u64,
}

impl Region {
    /// Places a region at a data block, with tables of `each` blocks.
    fn place(geometry: &Geometry, at: u64, first_group: u32, groups: u32, each: u64) -> Self {
        let mut tables = Vec::new();
        let mut end = at + 2 * u64::from(groups);
        let mut placed = 0;
        while placed < groups {
            let (_, run) = geometry.locate(end);
            // At most the groups that are left.
            let count = (run / each).min(u64::from(groups - placed)) as u32;
            if count > 0 {
                tables.push(Tables {
                    first_group: first_group + placed,
                    groups: count,
                    data: end,
                });
                end += u64::from(count) * each;
                placed += count;
            }
            if placed < groups {
                end += run - u64::from(count) * each;
            }
        }
        Self {
            first_group,
            groups,
            bitmaps: at,
            tables,
            end,
        }
    }

    /// Returns the blocks that are used.
    fn used(&self, each: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let bitmaps = self.bitmaps..self.bitmaps + 2 * u64::from(self.groups);
        let tables = self.tables.iter();
        let tables = tables.map(move |t| t.data..t.data + u64::from(t.groups) * each);
        std::iter::once(bitmaps).chain(tables)
    }
}

impl Layout {
    fn region(&self, group: u32) -> &Region {
        let behind = self.regions.partition_point(|r| r.first_group <= group);
        // The first begins with group 0.
        &self.regions[behind - 1]
    }

    /// Returns the data block of a group's bitmap of blocks.
    pub(super) fn block_bitmap(&self, group: u32) -> u64 {
        let region = self.region(group);
        region.bitmaps + u64::from(group - region.first_group)
    }

    /// Returns the data block of a group's bitmap of inodes.
    pub(super) fn inode_bitmap(&self, group: u32) -> u64 {
        self.block_bitmap(group) + u64::from(self.region(group).groups)
    }

    /// Returns the blocks of a group's table.
    pub(super) fn table_blocks(&self, geometry: &Geometry) -> u32 {
        self.inodes_per_group / inodes_per_block(geometry)
    }

    /// Returns the first data block of a group's table.
    pub(super) fn table(&self, geometry: &Geometry, group: u32) -> u64 {
        let tables = &self.region(group).tables;
        let behind = tables.partition_point(|t| t.first_group <= group);
        let tables = tables[behind - 1];
        let blocks = u64::from(self.table_blocks(geometry));
        tables.data + u64::from(group - tables.first_group) * blocks
    }

    /// Returns the blocks of the journal.
    pub(super) fn journal_blocks(&self) -> u32 {
        let blocks: u64 = self.journal.iter().map(|part| part.end - part.start).sum();
        // What is asked for has 32 bits.
        blocks as u32
    }

    /// Returns the blocks no file can have, as the kernel counts them: copies, bitmaps, tables and the journal.
    pub(super) fn overhead(&self, geometry: &Geometry) -> u64 {
        let groups = u64::from(self.groups);
        let tables = groups * u64::from(self.table_blocks(geometry));
        let copies = self.blocks - geometry.data_before(self.blocks);
        copies + 2 * groups + tables + u64::from(self.journal_blocks())
    }

    /// Returns the number of data blocks that are used.
    pub(super) fn used_blocks(&self) -> u64 {
        self.used.iter().map(|part| part.end - part.start).sum()
    }

    /// Returns the number of data blocks that are free.
    pub(super) fn free(&self, geometry: &Geometry) -> u64 {
        geometry
            .data_before(self.blocks)
            .saturating_sub(self.used_blocks())
    }

    /// Whether all of it is inside of the filesystem, with so many blocks left.
    fn fits(&self, geometry: &Geometry, free: u64) -> bool {
        self.end <= geometry.data_before(self.blocks) && self.free(geometry) >= free
    }
}

fn inodes_per_block(geometry: &Geometry) -> u32 {
    geometry.block_size / INODE_LEN as u32
}

/// Decides the size. `measure` returns the data blocks of the contents in another arrangement: trees of extents may be larger.
pub(super) fn decide(
    geometry: &Geometry,
    needs: Needs,
    data: &DataOptions,
    options: &ImageOptions,
    measure: impl Fn(&Geometry) -> Result<u64, WriteError>,
) -> Result<Layout, WriteError> {
    if let Some(asked) = data.inodes
        && asked < needs.inodes
    {
        return Err(WriteError::TooFewInodes {
            asked,
            needed: needs.inodes,
        });
    }
    let sizing = Sizing {
        geometry,
        needs,
        data,
        options,
    };
    let block_size = u64::from(geometry.block_size);
    let Some(size) = data.size else {
        let free = match options.free {
            Some(bytes) => bytes.div_ceil(block_size),
            None => needs.data / 10,
        };
        let least = match options.journal {
            Journal::Default => JOURNALED_MIN,
            _ => 1,
        };
        let found = sizing.least(least, free, STEP / block_size)?;
        return found.ok_or(WriteError::SizeNeeded {
            most: sizing.most() * block_size,
        });
    };
    let blocks = (size / block_size).min(u32::MAX.into());
    if let Some(layout) = sizing.layout(blocks)?
        && layout.fits(geometry, 0)
    {
        return Ok(layout);
    }
    Err(WriteError::TooSmall {
        size,
        needed: needed(sizing, measure)?,
    })
}

/// Returns the smallest size that would do. With another size other descriptors are reserved, so that it is looked for from
/// below.
fn needed(
    sizing: Sizing<'_>,
    measure: impl Fn(&Geometry) -> Result<u64, WriteError>,
) -> Result<u64, WriteError> {
    let block_size = sizing.block_size();
    let too_large = || WriteError::TooLarge {
        block_size: sizing.geometry.block_size,
    };
    let mut needed = sizing.needs.data.max(super::options::BLOCKS_MIN) * block_size;
    let mut known = (sizing.geometry.descriptor_blocks, sizing.needs.data);
    loop {
        let with_size = DataOptions {
            size: Some(needed),
            ..sizing.data.clone()
        };
        let geometry = with_size.geometry().map_err(|_| too_large())?;
        if known.0 != geometry.descriptor_blocks {
            known = (geometry.descriptor_blocks, measure(&geometry)?);
        }
        let sizing = Sizing {
            geometry: &geometry,
            needs: Needs {
                data: known.1,
                ..sizing.needs
            },
            ..sizing
        };
        let next = match sizing.least(1, 0, 1)? {
            Some(layout) => layout.blocks,
            None => sizing.most() + 1,
        };
        if next * block_size <= needed {
            return Ok(needed);
        }
        needed = next * block_size;
    }
}

/// What sizes depend on.
#[derive(Clone, Copy)]
struct Sizing<'a> {
    geometry: &'a Geometry,
    needs: Needs,
    data: &'a DataOptions,
    options: &'a ImageOptions,
}

impl Sizing<'_> {
    fn block_size(&self) -> u64 {
        self.geometry.block_size.into()
    }

    /// Returns the most blocks the descriptors there are room for lead to.
    fn most(&self) -> u64 {
        let geometry = self.geometry;
        let groups =
            u64::from(geometry.descriptor_blocks) * u64::from(geometry.descriptors_per_block());
        let blocks = groups * u64::from(geometry.blocks_per_group());
        (u64::from(geometry.first_block()) + blocks).min(u32::MAX.into())
    }

    /// Returns the smallest layout of at least `from` blocks with so many free ones, of a multiple of `step`; `None` where
    /// there is none the descriptors lead to.
    fn least(&self, from: u64, free: u64, step: u64) -> Result<Option<Layout>, WriteError> {
        let most = self.most();
        // As many groups as the inodes take.
        let inodes = self.data.inodes.unwrap_or(self.needs.inodes);
        let last = inodes.div_ceil(8 * self.geometry.block_size) - 1;
        let from = from
            .max(self.geometry.group_start(last))
            .max(super::options::BLOCKS_MIN);
        let mut blocks = from.next_multiple_of(step);
        while blocks <= most {
            if let Some(layout) = self.layout(blocks)?
                && layout.fits(self.geometry, free)
            {
                return Ok(Some(layout));
            }
            // What is needed never gets less with the size, so that none before has room.
            let needed = self.needed_at_least(blocks)? + free;
            let missing = needed.saturating_sub(self.geometry.data_before(blocks));
            blocks += missing.next_multiple_of(step).max(step);
        }
        Ok(None)
    }

    /// Returns data blocks without which nothing of that size has room: tables are rounded up.
    fn needed_at_least(&self, blocks: u64) -> Result<u64, WriteError> {
        // The last group may be cut off.
        let groups = self.geometry.groups(blocks).saturating_sub(1);
        let inodes = self
            .inodes(blocks)
            .min(groups.max(1) * self.inodes_per_group_max(groups + 1));
        let tables = inodes / u64::from(inodes_per_block(self.geometry));
        Ok(self.needs.data + tables + 2 * groups + u64::from(self.journal(blocks)?))
    }

    /// Returns the number of inodes a filesystem of so many blocks should have.
    fn inodes(&self, blocks: u64) -> u64 {
        let needed = u64::from(self.needs.inodes);
        match self.data.inodes {
            Some(asked) => asked.into(),
            None => {
                (blocks * self.block_size() / self.data.bytes_per_inode).max(needed + needed / 10)
            }
        }
    }

    /// Returns the layout of a filesystem of so many blocks, less a last group too small to be one; `None` where there are not
    /// enough groups for the inodes. It may reach past the filesystem's end.
    fn layout(&self, blocks: u64) -> Result<Option<Layout>, WriteError> {
        let geometry = self.geometry;
        let journal_blocks = self.journal(blocks)?;
        let Some((blocks, groups)) = cut(geometry, blocks) else {
            return Ok(None);
        };
        let Some(inodes_per_group) = self.inodes_per_group(blocks, groups) else {
            return Ok(None);
        };
        let each = u64::from(inodes_per_group / inodes_per_block(geometry));
        let regions = place_regions(geometry, self.needs.data, blocks, groups, each);
        let regions_used = regions.iter().flat_map(|region| region.used(each));
        let mut used: Vec<Range<u64>> = std::iter::once(0..self.needs.data)
            .chain(regions_used)
            .collect();
        let mut journal_tree = regions[0].end;
        let mut journal = Vec::new();
        if journal_blocks > 0 {
            used.sort_unstable_by_key(|part| part.start);
            (journal_tree, journal) =
                place_journal(geometry, &used, regions[0].end, journal_blocks);
            let tree = journal_tree..journal_tree + u64::from(tree_blocks(geometry, &journal));
            used.push(tree);
            used.extend(journal.iter().cloned());
        }
        used.retain(|part| !part.is_empty());
        used.sort_unstable_by_key(|part| part.start);
        let end = used.last().map_or(0, |last| last.end);
        Ok(Some(Layout {
            blocks,
            groups,
            inodes_per_group,
            regions,
            journal_tree,
            journal,
            used,
            end,
        }))
    }

    /// Returns the least steps in which inodes of a group are counted: whole blocks of the table, and whole bytes of the bitmap.
    fn inodes_step(&self) -> u64 {
        inodes_per_block(self.geometry).max(8).into()
    }

    /// Returns the most inodes a group can have: a bit each in a block, and numbers of 32 bits.
    fn inodes_per_group_max(&self, groups: u64) -> u64 {
        let by_number = u64::from(u32::MAX) / groups.max(1);
        let most = by_number.min(u64::from(8 * self.geometry.block_size));
        most - most % self.inodes_step()
    }

    fn inodes_per_group(&self, blocks: u64, groups: u32) -> Option<u32> {
        let groups = u64::from(groups);
        let most = self.inodes_per_group_max(groups);
        let wanted = self.inodes(blocks).div_ceil(groups);
        let wanted = wanted.next_multiple_of(self.inodes_step());
        let found = match self.data.inodes {
            // There can be less than one for so many bytes.
            None => wanted.min(most),
            Some(_) => wanted,
        };
        // That is at most 8 bits for each byte of a block.
        (found <= most && found * groups >= u64::from(self.needs.inodes)).then_some(found as u32)
    }

    fn journal(&self, blocks: u64) -> Result<u32, WriteError> {
        match self.options.journal {
            Journal::None => Ok(0),
            Journal::Default => Ok(default_blocks(blocks)),
            Journal::Bytes(bytes) => {
                let found = bytes / self.block_size();
                match JOURNAL.contains(&found) {
                    true => Ok(found as u32),
                    false => Err(WriteError::Journal { blocks: found }),
                }
            }
        }
    }
}

/// Cuts off a last group that has no room behind its copies. Returns the blocks and the groups.
fn cut(geometry: &Geometry, blocks: u64) -> Option<(u64, u32)> {
    let groups = u32::try_from(geometry.groups(blocks)).ok()?;
    let last = groups.checked_sub(1)?;
    let start = geometry.group_start(last);
    if blocks - start >= u64::from(geometry.copies(last)) + LAST_GROUP_MIN {
        Some((blocks, groups))
    } else {
        (last > 0).then_some((start, last))
    }
}

/// Places the bitmaps and tables of all groups: those of a flexible group in itself, where it is free, and all others
/// behind the contents.
///
/// `resize2fs` needs that to make a filesystem smaller: blocks of groups that go, it does not give to others before it is done.
fn place_regions(
    geometry: &Geometry,
    contents: u64,
    blocks: u64,
    groups: u32,
    each: u64,
) -> Vec<Region> {
    let flexible = groups.div_ceil(FLEXIBLE_GROUPS);
    let members = |number: u32| {
        let first = number * FLEXIBLE_GROUPS;
        (first, (groups - first).min(FLEXIBLE_GROUPS))
    };
    let start = |number: u32| geometry.data_before(geometry.group_start(number * FLEXIBLE_GROUPS));
    let in_itself = |number: u32| {
        let (first, count) = members(number);
        Region::place(geometry, start(number), first, count, each)
    };
    // The last may be too small for its own.
    let last = flexible - 1;
    let last_is_small = last > 0 && in_itself(last).end > geometry.data_before(blocks);
    let block = geometry.locate(contents).0 - u64::from(geometry.first_block());
    let group = block / u64::from(geometry.blocks_per_group());
    // What does not fit is found out later.
    let mut busy = group.min(u64::from(groups - 1)) as u32 / FLEXIBLE_GROUPS + 1;
    loop {
        let count = (busy * FLEXIBLE_GROUPS).min(groups);
        let mut found = vec![Region::place(geometry, contents, 0, count, each)];
        if last_is_small && busy <= last {
            let (first, count) = members(last);
            found.push(Region::place(geometry, found[0].end, first, count, each));
        }
        let end = found.last().map_or(0, |region| region.end);
        if busy < flexible && end > start(busy) {
            busy += 1;
            continue;
        }
        let rest = busy..flexible - u32::from(last_is_small && busy < flexible);
        let behind = found.split_off(1);
        found.extend(rest.map(in_itself));
        found.extend(behind);
        return found;
    }
}

/// Places the journal from a data block on where nothing else is, and the tree over its extents in front of it.
fn place_journal(
    geometry: &Geometry,
    used: &[Range<u64>],
    from: u64,
    blocks: u32,
) -> (u64, Vec<Range<u64>>) {
    let mut tree = 0;
    loop {
        let at = free_from(used, from, tree).start;
        let mut journal = Vec::new();
        let mut left = u64::from(blocks);
        let mut next = at + tree;
        while left > 0 {
            let free = free_from(used, next, 1);
            let end = free.end.min(free.start.saturating_add(left));
            left -= end - free.start;
            journal.push(free.start..end);
            next = end;
        }
        let needed = u64::from(tree_blocks(geometry, &journal));
        if needed <= tree {
            return (at, journal);
        }
        tree = needed;
    }
}

/// Returns the first free stretch from a block on that has so many.
fn free_from(used: &[Range<u64>], mut at: u64, blocks: u64) -> Range<u64> {
    let first = used.partition_point(|part| part.end <= at);
    for part in &used[first..] {
        if part.start >= at + blocks.max(1) {
            return at..part.start;
        }
        at = at.max(part.end);
    }
    at..u64::MAX
}

/// Returns the extents of the journal.
pub(super) fn journal_extents(geometry: &Geometry, journal: &[Range<u64>]) -> Vec<Extent> {
    let mut found = Vec::new();
    let mut logical = 0;
    for part in journal {
        // Of a filesystem that has block numbers of 32 bits.
        let blocks = (part.end - part.start) as u32;
        if let Ok(first) = u32::try_from(part.start) {
            extents::push(&mut found, geometry, logical, first, blocks);
        }
        logical += blocks;
    }
    found
}

fn tree_blocks(geometry: &Geometry, journal: &[Range<u64>]) -> u32 {
    let found = journal_extents(geometry, journal);
    extents::tree_blocks(found.len(), geometry.block_size)
}
