//! The places of what stands behind the contents: bitmaps, inode tables, the journal.

use std::ops::Range;

use super::extents;
use crate::format::INODE_LEN;
use crate::format::extent::Extent;
use crate::format::superblock::FLEXIBLE_GROUPS_LOG;
use crate::geometry::Geometry;

/// The groups of a flexible group.
const FLEXIBLE_GROUPS: u32 = 1 << FLEXIBLE_GROUPS_LOG;

/// The numbers a layout is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    /// All blocks of the filesystem.
    pub(super) blocks: u64,
    pub(super) groups: u32,
    pub(super) inodes_per_group: u32,
    pub(super) journal_blocks: u32,
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
    /// Places everything behind so many data blocks of contents. It may reach past the filesystem's end.
    pub(super) fn place(geometry: &Geometry, contents: u64, totals: Totals) -> Self {
        let Totals {
            blocks,
            groups,
            inodes_per_group,
            journal_blocks,
        } = totals;
        let each = u64::from(inodes_per_group / inodes_per_block(geometry));
        let regions = place_regions(geometry, contents, blocks, groups, each);
        let regions_used = regions.iter().flat_map(|region| region.used(each));
        let mut used: Vec<Range<u64>> = std::iter::once(0..contents).chain(regions_used).collect();
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
        Self {
            blocks,
            groups,
            inodes_per_group,
            regions,
            journal_tree,
            journal,
            used,
            end,
        }
    }

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
    pub(super) fn fits(&self, geometry: &Geometry, free: u64) -> bool {
        self.end <= geometry.data_before(self.blocks) && self.free(geometry) >= free
    }
}

/// Returns the number of inodes in a block.
pub(super) fn inodes_per_block(geometry: &Geometry) -> u32 {
    geometry.block_size / INODE_LEN as u32
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
