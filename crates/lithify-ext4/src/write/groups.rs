//! What every group has: bitmaps, descriptors, and in some a copy of them all behind a superblock.

use std::ops::Range;

use lithify_storage::Storage;

use super::layout::Layout;
use crate::format::group::{BLOCK_UNINIT, Descriptor, INODE_UNINIT, INODE_ZEROED};
use crate::format::superblock::Superblock;
use crate::format::{SUPERBLOCK_OFFSET, crc32c};
use crate::geometry::{DataBlocks, Geometry};
use crate::{Operation, WriteError};

/// Bytes of bitmaps collected before a write.
const BUFFER: usize = 1 << 20;

/// What is used of a filesystem.
#[derive(Debug)]
pub(super) struct Used<'a> {
    pub(super) layout: &'a Layout,
    /// Inodes, from the first on.
    pub(super) inodes: u32,
    /// Directories in each group.
    pub(super) directories: &'a [u32],
    /// The sum all checksums begin with.
    pub(super) seed: u32,
}

/// Sets bits of a bitmap.
fn set(bitmap: &mut [u8], bits: Range<u32>) {
    let (first, end) = (bits.start.next_multiple_of(8), bits.end - bits.end % 8);
    if first >= end {
        bits.for_each(|bit| bitmap[bit as usize / 8] |= 1 << (bit % 8));
        return;
    }
    bitmap[first as usize / 8..end as usize / 8].fill(0xff);
    for bit in (bits.start..first).chain(end..bits.end) {
        bitmap[bit as usize / 8] |= 1 << (bit % 8);
    }
}

impl Used<'_> {
    /// Returns the bits of blocks, with those behind the filesystem's end; `None` for a group in which only copies are used.
    fn blocks(&self, geometry: &Geometry, group: u32) -> Option<Vec<u8>> {
        let layout = self.layout;
        let start = geometry.group_start(group);
        let length = (layout.blocks - start).min(geometry.blocks_per_group().into());
        let data = geometry.data_before(start)..geometry.data_before(start + length);
        let is_last = group + 1 == layout.groups;
        let first = layout.used.partition_point(|part| part.end <= data.start);
        let inside = layout.used[first..]
            .iter()
            .take_while(|part| part.start < data.end);
        // The bits behind the end of the last group have to be written.
        if inside.clone().next().is_none() && !is_last {
            return None;
        }
        let copies = geometry.copies(group);
        let mut bitmap = vec![0; geometry.block_size as usize];
        // A group has less than 2³² blocks.
        let bit = |block: u64| copies + (block.clamp(data.start, data.end) - data.start) as u32;
        set(&mut bitmap, 0..copies);
        for part in inside {
            set(&mut bitmap, bit(part.start)..bit(part.end));
        }
        set(&mut bitmap, length as u32..geometry.blocks_per_group());
        Some(bitmap)
    }

    /// Returns the bits of inodes; `None` for a group in which none is used.
    fn inode_bits(&self, geometry: &Geometry, inodes: u32) -> Option<Vec<u8>> {
        let mut bitmap = vec![0; geometry.block_size as usize];
        set(&mut bitmap, 0..inodes);
        set(
            &mut bitmap,
            self.layout.inodes_per_group..8 * geometry.block_size,
        );
        (inodes > 0).then_some(bitmap)
    }
}

/// Writes the bitmaps. Returns the descriptors.
pub(super) fn bitmaps<S: Storage>(
    storage: &mut DataBlocks<S>,
    used: &Used<'_>,
) -> Result<Vec<u8>, WriteError> {
    let geometry = storage.geometry.clone();
    let layout = used.layout;
    let per_group = layout.inodes_per_group;
    let mut descriptors = Vec::new();
    let mut of_blocks = Bitmaps::new(&geometry);
    let mut of_inodes = Bitmaps::new(&geometry);
    for group in 0..layout.groups {
        let (blocks_at, inodes_at) = (layout.block_bitmap(group), layout.inode_bitmap(group));
        let start = geometry.group_start(group);
        let length = (layout.blocks - start).min(geometry.blocks_per_group().into()) as u32;
        let before = u64::from(group) * u64::from(per_group);
        let inodes = u64::from(used.inodes)
            .saturating_sub(before)
            .min(per_group.into()) as u32;
        let mut descriptor = Descriptor {
            block_bitmap: geometry.locate(blocks_at).0,
            inode_bitmap: geometry.locate(inodes_at).0,
            inode_table: geometry.locate(layout.table(&geometry, group)).0,
            free_blocks: length - geometry.copies(group),
            free_inodes: per_group - inodes,
            used_directories: used.directories.get(group as usize).copied().unwrap_or(0),
            unused_inodes: per_group - inodes,
            flags: INODE_ZEROED,
            ..Descriptor::default()
        };
        match used.blocks(&geometry, group) {
            None => descriptor.flags |= BLOCK_UNINIT,
            Some(bitmap) => {
                descriptor.free_blocks = bitmap.iter().map(|byte| byte.count_zeros()).sum();
                descriptor.block_bitmap_sum = crc32c::update(used.seed, &bitmap);
                of_blocks.push(blocks_at, &bitmap, storage)?;
            }
        }
        match used.inode_bits(&geometry, inodes) {
            None => descriptor.flags |= INODE_UNINIT,
            Some(bitmap) => {
                let summed = &bitmap[..per_group as usize / 8];
                descriptor.inode_bitmap_sum = crc32c::update(used.seed, summed);
                of_inodes.push(inodes_at, &bitmap, storage)?;
            }
        }
        descriptors.extend_from_slice(&descriptor.to_bytes(group, used.seed));
    }
    of_blocks.flush(storage)?;
    of_inodes.flush(storage)?;
    Ok(descriptors)
}

/// Bitmaps that follow each other, written together.
struct Bitmaps {
    block_size: u64,
    /// The data block of the first.
    first: u64,
    buffer: Vec<u8>,
}

impl Bitmaps {
    fn new(geometry: &Geometry) -> Self {
        Self {
            block_size: geometry.block_size.into(),
            first: 0,
            buffer: Vec::new(),
        }
    }

    fn push<S: Storage>(
        &mut self,
        at: u64,
        bitmap: &[u8],
        storage: &mut DataBlocks<S>,
    ) -> Result<(), WriteError> {
        let next = self.first + self.buffer.len() as u64 / self.block_size;
        if next != at || self.buffer.len() >= BUFFER {
            self.flush(storage)?;
            self.first = at;
        }
        self.buffer.extend_from_slice(bitmap);
        Ok(())
    }

    fn flush<S: Storage>(&mut self, storage: &mut DataBlocks<S>) -> Result<(), WriteError> {
        let written = storage.write_all_at(&self.buffer, self.first * self.block_size);
        self.buffer.clear();
        written.map_err(Operation::WriteMetadata.failed())
    }
}

/// Writes the descriptors and the superblock into every group that has copies; the first group's superblock comes last of all.
pub(super) fn copies<S: Storage>(
    blocks: &mut DataBlocks<S>,
    groups: u32,
    superblock: &Superblock,
    descriptors: &[u8],
) -> Result<(), WriteError> {
    let geometry = blocks.geometry.clone();
    let block_size = u64::from(geometry.block_size);
    for group in (0..groups)
        .rev()
        .filter(|g| crate::format::has_superblock(*g))
    {
        let start = geometry.group_start(group) * block_size;
        let at = match group {
            0 => SUPERBLOCK_OFFSET,
            _ => start,
        };
        let descriptors_at = start + block_size;
        for (bytes, at) in [
            (descriptors, descriptors_at),
            (&superblock.to_bytes(group), at),
        ] {
            let written = blocks.storage.write_all_at(bytes, at);
            written.map_err(Operation::WriteMetadata.failed())?;
        }
    }
    Ok(())
}
