//! What is kept free for later: the journal, and blocks for descriptors of a larger filesystem.

use lithify_storage::Storage;

use super::blocks::Appender;
use super::extents;
use super::inodes::{sectors, set_extents};
use super::layout::{Layout, journal_extents};
use super::plan::Plan;
use crate::format::inode::{self, Inode, MODE_REGULAR};
use crate::format::{JOURNAL_INODE, journal, put32};
use crate::geometry::{DataBlocks, Geometry};
use crate::{Operation, WriteError};

/// Writes the journal: its first block, and the tree of its extents. Returns its inode.
pub(super) fn write_journal<S: Storage>(
    layout: &Layout,
    plan: &Plan,
    storage: &mut DataBlocks<S>,
) -> Result<Option<Inode>, WriteError> {
    let Some(start) = layout.journal.first() else {
        return Ok(None);
    };
    let blocks = layout.journal_blocks();
    let block_size = storage.geometry.block_size;
    let at = |block: u64| block * u64::from(block_size);
    let first = journal::superblock(block_size as usize, blocks, plan.uuid);
    let written = storage.write_all_at(&first, at(start.start));
    written.map_err(Operation::WriteMetadata.failed())?;
    let found = journal_extents(&storage.geometry, &layout.journal);
    let tree = layout.journal_tree;
    let mut appender = Appender::new(at(tree), block_size.into(), Operation::WriteMetadata);
    let seed = inode::inode_seed(plan.seed, JOURNAL_INODE);
    extents::write(&found, seed, &mut appender, storage)?;
    appender.flush(storage)?;
    let mut inode = Inode::new(MODE_REGULAR | 0o600);
    inode.size = at(blocks.into());
    inode.time = plan.time;
    set_extents(&mut inode, &storage.geometry, &found, tree);
    Ok(Some(inode))
}

/// Writes the numbers of blocks reserved for further descriptors: each reserved block of the first group has the numbers of its
/// copies, data block `block` has the numbers of these (`ext2fs_create_resize_inode`). Returns their inode.
pub(super) fn write_resize<S: Storage>(
    layout: &Layout,
    plan: &Plan,
    block: u32,
    storage: &mut DataBlocks<S>,
) -> Result<Inode, WriteError> {
    let geometry = storage.geometry.clone();
    let block_size = geometry.block_size as usize;
    let per_block = geometry.block_size / 4;
    let copies: Vec<u32> = (1..layout.groups)
        .filter(|group| crate::format::has_superblock(*group))
        .collect();
    let used = descriptor_blocks(layout, &geometry);
    let mut numbers = vec![0; block_size];
    let mut lists = Vec::new();
    for at in used..geometry.descriptor_blocks {
        // A filesystem has less than 2³² blocks.
        let own = (geometry.group_start(0) + 1 + u64::from(at)) as u32;
        put32(&mut numbers, 4 * (at % per_block) as usize, own);
        let list = lists.len();
        lists.resize(list + block_size, 0);
        for (slot, group) in copies.iter().enumerate() {
            let copy = u64::from(own) + u64::from(*group) * u64::from(geometry.blocks_per_group());
            put32(&mut lists[list..], 4 * slot, copy as u32);
        }
    }
    let first = geometry.group_start(0) + 1 + u64::from(used);
    let (number, _) = geometry.locate(block.into());
    for (bytes, at) in [(&lists, first), (&numbers, number)] {
        let written = storage.storage.write_all_at(bytes, at * block_size as u64);
        written.map_err(Operation::WriteMetadata.failed())?;
    }
    let mut inode = Inode::new(MODE_REGULAR | 0o600);
    inode.time = plan.time;
    let all = u64::from(per_block);
    inode.size = (all * all + all + 12) * u64::from(geometry.block_size);
    let reserved = u64::from(geometry.descriptor_blocks - used);
    inode.sectors = sectors(&geometry, 1 + reserved * (1 + copies.len() as u64));
    // The double indirect block.
    put32(&mut inode.block, 4 * 13, number as u32);
    Ok(inode)
}

/// Returns the blocks of descriptors that are used.
pub(super) fn descriptor_blocks(layout: &Layout, geometry: &Geometry) -> u32 {
    layout.groups.div_ceil(geometry.descriptors_per_block())
}
