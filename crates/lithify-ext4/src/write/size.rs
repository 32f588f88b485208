//! How large the filesystem becomes.

use super::options::{ImageOptions, Journal};
use crate::WriteError;
use crate::format::extent;
use crate::format::journal::default_blocks;
use crate::geometry::Geometry;

/// The smallest journal, in blocks (`JBD2_MIN_JOURNAL_BLOCKS`), and the largest `mke2fs` makes.
const JOURNAL: std::ops::RangeInclusive<u64> = 1024..=10_240_000;

/// Sizes are multiples of this, where none is asked for.
const STEP: u64 = 1 << 20;

/// The smallest filesystem that has a journal unasked, in blocks.
const JOURNALED_MIN: u64 = 2048;

/// The least blocks behind its metadata that a last group is worth having for.
const LAST_GROUP_MIN: u64 = 50;

/// The size of a filesystem, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) blocks: u64,
    pub(super) groups: u32,
    pub(super) journal: u32,
}

/// Decides the size for so many data blocks, without the journal, and inodes. `asked` is one in bytes.
pub(super) fn decide(
    geometry: Geometry,
    data: u64,
    inodes: u32,
    asked: Option<u64>,
    options: &ImageOptions,
) -> Result<Size, WriteError> {
    let block_size = u64::from(geometry.block_size);
    let blocks_of = |bytes: u64| bytes / block_size;
    if let Some(bytes) = asked {
        let blocks = blocks_of(bytes);
        let journal = journal(options.journal, blocks, block_size)?;
        let size = with_groups(geometry, blocks, journal);
        let fits = size.is_some_and(|size| is_enough(geometry, size, data, inodes));
        return match size.filter(|_| fits) {
            Some(size) => Ok(size),
            None => Err(WriteError::TooSmall {
                size: bytes,
                needed: least(geometry, data, inodes, options, 0)?.blocks * block_size,
            }),
        };
    }
    let free = match options.free {
        Some(bytes) => bytes.div_ceil(block_size),
        None => data / 10,
    };
    least(geometry, data, inodes, options, free)
}

/// Whether descriptors for a larger filesystem have room reserved.
pub(super) fn grows(geometry: Geometry, asked: Option<u64>) -> bool {
    let per_block = u64::from(geometry.block_size) / crate::format::DESCRIPTOR_LEN as u64;
    let group_bytes = u64::from(geometry.blocks_per_group()) * u64::from(geometry.block_size);
    let used = asked.map_or(1, |size| size.div_ceil(group_bytes).div_ceil(per_block));
    u64::from(geometry.descriptor_blocks) > used
}

/// Returns the smallest size with room for everything and so many free blocks.
fn least(
    geometry: Geometry,
    data: u64,
    inodes: u32,
    options: &ImageOptions,
    free: u64,
) -> Result<Size, WriteError> {
    let block_size = u64::from(geometry.block_size);
    let step = (STEP / block_size).max(1);
    let mut journal_blocks = 0;
    // The journal makes the filesystem larger, and that may make the journal larger.
    for _ in 0..8 {
        let wanted = data + with_nodes(geometry, journal_blocks) + free;
        let by_data = geometry.group_of(wanted.max(1) - 1) + 1;
        let by_inodes = inodes.div_ceil(geometry.inodes_per_group());
        let blocks = match by_inodes > by_data {
            // The last group is there for its inodes.
            true => {
                geometry.group_start(by_inodes - 1)
                    + u64::from(geometry.header(by_inodes - 1))
                    + LAST_GROUP_MIN
            }
            false => geometry.locate(wanted.max(1) - 1).0 + 1,
        };
        let least = match options.journal {
            Journal::Default => JOURNALED_MIN,
            _ => 64,
        };
        let blocks = blocks.max(least).next_multiple_of(step);
        let wanted_journal = journal(options.journal, blocks, block_size)?;
        let size = with_groups(geometry, blocks, wanted_journal);
        match size {
            Some(size) if wanted_journal == journal_blocks => {
                if is_enough(geometry, size, data, inodes) {
                    return Ok(size);
                }
                // A last group that is too small to be one was cut off: the next step has room for it.
                let blocks = (geometry.group_start(size.groups)
                    + u64::from(geometry.header(size.groups))
                    + LAST_GROUP_MIN)
                    .next_multiple_of(step);
                if let Some(size) = with_groups(geometry, blocks, wanted_journal)
                    && is_enough(geometry, size, data, inodes)
                {
                    return Ok(size);
                }
            }
            _ => {}
        }
        journal_blocks = wanted_journal;
    }
    Err(WriteError::TooLarge {
        block_size: geometry.block_size,
    })
}

/// Cuts off a last group that has no room behind its metadata.
fn with_groups(geometry: Geometry, blocks: u64, journal: u32) -> Option<Size> {
    let per_group = u64::from(geometry.blocks_per_group());
    let first = u64::from(geometry.first_block());
    let mut groups = (blocks.checked_sub(first)?).div_ceil(per_group);
    let mut blocks = blocks;
    let last = u32::try_from(groups.checked_sub(1)?).ok()?;
    let inside = blocks - geometry.group_start(last);
    if inside < u64::from(geometry.header(last)) + LAST_GROUP_MIN {
        if last == 0 {
            return None;
        }
        blocks = geometry.group_start(last);
        groups -= 1;
    }
    Some(Size {
        blocks,
        groups: groups as u32,
        journal,
    })
}

/// Returns the data blocks of a filesystem.
pub(super) fn data_blocks(geometry: Geometry, size: Size) -> u64 {
    let last = size.groups - 1;
    let inside = size.blocks - geometry.group_start(last) - u64::from(geometry.header(last));
    geometry.data_before(last) + inside
}

/// Returns the most blocks a journal takes, with those of its extents: every group may break it.
fn with_nodes(geometry: Geometry, journal: u32) -> u64 {
    let unbroken = geometry.blocks_per_group() - geometry.header(0);
    let extents = journal / unbroken + 2;
    let nodes = match extents as usize {
        0..=extent::IN_INODE => 0,
        extents => extents.div_ceil(extent::per_block(geometry.block_size as usize)) + 1,
    };
    u64::from(journal) + nodes as u64
}

fn is_enough(geometry: Geometry, size: Size, data: u64, inodes: u32) -> bool {
    let per_block = geometry.block_size / crate::format::DESCRIPTOR_LEN as u32;
    u64::from(size.groups) * u64::from(geometry.inodes_per_group()) >= u64::from(inodes)
        && data_blocks(geometry, size) >= data + with_nodes(geometry, size.journal)
        && size.groups.div_ceil(per_block) <= geometry.descriptor_blocks
        && size.blocks <= u64::from(u32::MAX)
}

fn journal(asked: Journal, blocks: u64, block_size: u64) -> Result<u32, WriteError> {
    match asked {
        Journal::None => Ok(0),
        Journal::Default => Ok(default_blocks(blocks)),
        Journal::Bytes(bytes) => {
            let found = bytes / block_size;
            match JOURNAL.contains(&found) {
                true => Ok(found as u32),
                false => Err(WriteError::Journal { blocks: found }),
            }
        }
    }
}
