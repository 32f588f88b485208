//! What every group has: bitmaps, descriptors, and in some a copy of them all behind a superblock.

use lithify_storage::Storage;

use super::size::Size;
use crate::format::group::{BLOCK_UNINIT, Descriptor, INODE_UNINIT, INODE_ZEROED};
use crate::format::superblock::Superblock;
use crate::format::{SUPERBLOCK_OFFSET, crc32c};
use crate::geometry::{DataBlocks, Geometry};
use crate::{Operation, WriteError};

/// What is used of a filesystem.
#[derive(Debug)]
pub(super) struct Used<'a> {
    pub(super) size: Size,
    /// Data blocks, from the first on.
    pub(super) data: u64,
    /// Inodes, from the first on.
    pub(super) inodes: u32,
    /// Directories in each group.
    pub(super) directories: &'a [u32],
    /// The sum all checksums begin with.
    pub(super) seed: u32,
}

/// Sets the first `count` bits of a bitmap, and those from `end` on, which stand for nothing.
fn fill(bitmap: &mut [u8], count: u32, end: u32) {
    let bits = bitmap.len() as u32 * 8;
    for bit in (0..count).chain(end.min(bits)..bits) {
        bitmap[bit as usize / 8] |= 1 << (bit % 8);
    }
}

/// Writes the bitmaps. Returns the descriptors and the number of free blocks.
pub(super) fn bitmaps<S: Storage>(
    blocks: &mut DataBlocks<S>,
    used: &Used<'_>,
) -> Result<(Vec<u8>, u64), WriteError> {
    let geometry = blocks.geometry;
    let block_size = geometry.block_size as usize;
    let per_group = geometry.inodes_per_group();
    let mut descriptors = Vec::new();
    let mut free = 0;
    let put = |storage: &mut S, block: u64, bytes: &[u8]| {
        let written = storage.write_all_at(bytes, block * block_size as u64);
        written.map_err(Operation::WriteMetadata.failed())
    };
    for group in 0..used.size.groups {
        let is_last = group + 1 == used.size.groups;
        let end = (used.size.blocks - geometry.group_start(group))
            .min(geometry.blocks_per_group().into()) as u32;
        let header = geometry.header(group);
        let data = used.data.saturating_sub(geometry.data_before(group));
        let taken = header + data.min(u64::from(end - header)) as u32;
        let before = u64::from(group) * u64::from(per_group);
        let inodes = u64::from(used.inodes)
            .saturating_sub(before)
            .min(per_group.into()) as u32;
        let mut descriptor = Descriptor {
            block_bitmap: geometry.block_bitmap(group),
            inode_bitmap: geometry.inode_bitmap(group),
            inode_table: geometry.inode_table(group),
            free_blocks: end - taken,
            free_inodes: per_group - inodes,
            used_directories: used.directories.get(group as usize).copied().unwrap_or(0),
            unused_inodes: per_group - inodes,
            flags: INODE_ZEROED,
            ..Descriptor::default()
        };
        free += u64::from(end - taken);
        // The bits behind the end of the last group have to be written.
        if data == 0 && !is_last {
            descriptor.flags |= BLOCK_UNINIT;
        } else {
            let mut bitmap = vec![0; block_size];
            fill(&mut bitmap, taken, end);
            descriptor.block_bitmap_sum = crc32c::update(used.seed, &bitmap);
            put(&mut blocks.storage, descriptor.block_bitmap, &bitmap)?;
        }
        if inodes == 0 {
            descriptor.flags |= INODE_UNINIT;
        } else {
            let mut bitmap = vec![0; block_size];
            fill(&mut bitmap, inodes, per_group);
            let summed = &bitmap[..per_group as usize / 8];
            descriptor.inode_bitmap_sum = crc32c::update(used.seed, summed);
            put(&mut blocks.storage, descriptor.inode_bitmap, &bitmap)?;
        }
        descriptors.extend_from_slice(&descriptor.to_bytes(group, used.seed));
    }
    Ok((descriptors, free))
}

/// Writes the descriptors and the superblock into every group that has copies; the first group's superblock comes last of all.
pub(super) fn copies<S: Storage>(
    blocks: &mut DataBlocks<S>,
    groups: u32,
    superblock: &Superblock,
    descriptors: &[u8],
) -> Result<(), WriteError> {
    let geometry = blocks.geometry;
    let block_size = u64::from(geometry.block_size);
    for group in (0..groups).rev().filter(|g| Geometry::has_superblock(*g)) {
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
