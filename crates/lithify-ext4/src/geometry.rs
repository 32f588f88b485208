//! The places of blocks: block groups, the copies at the start of some, and the blocks in between, which are for everything
//! else.
//!
//! Some groups begin with a copy of the superblock and of all descriptors, and room for more descriptors. All other blocks
//! are numbered through, group after group: *data blocks*. Bitmaps and inode tables are in data blocks too, which `flex_bg`
//! allows. So data can be placed before anyone knows how large the filesystem becomes, and how many inodes it has.

use std::io;
use std::sync::Arc;

use lithify_storage::{ReadAt, Storage};

use crate::format::{DESCRIPTOR_LEN, has_superblock};

/// The arrangement of a filesystem, without its size.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    pub(crate) block_size: u32,
    /// Blocks for descriptors, used and reserved, behind each copy of the superblock.
    pub(crate) descriptor_blocks: u32,
    /// Stretches of data blocks between copies.
    stretches: Arc<[Stretch]>,
}

/// Data blocks that follow each other, up to the next copy.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// The number of the first data block.
    data: u64,
    /// The number of that block in the filesystem.
    block: u64,
}

impl Geometry {
    /// Returns the arrangement for so many blocks of descriptors behind each superblock.
    pub(crate) fn new(block_size: u32, descriptor_blocks: u32) -> Self {
        let mut geometry = Self {
            block_size,
            descriptor_blocks,
            stretches: Arc::new([]),
        };
        let mut stretches: Vec<Stretch> = Vec::new();
        let groups = geometry.groups(u32::MAX.into()) as u32;
        for group in copies_up_to(groups) {
            let start = geometry.group_start(group);
            let data = stretches
                .last()
                .map_or(0, |last| last.data + (start - last.block));
            let block = start + 1 + u64::from(descriptor_blocks);
            match stretches.last_mut() {
                // Nothing is between two copies that fill their groups.
                Some(last) if last.data == data => last.block = block,
                _ => stretches.push(Stretch { data, block }),
            }
        }
        geometry.stretches = stretches.into();
        geometry
    }

    /// Returns the number of the first block of a group: with blocks of 1 KiB, block 0 is in front of all.
    pub(crate) const fn first_block(&self) -> u32 {
        (self.block_size == 1024) as u32
    }

    pub(crate) const fn blocks_per_group(&self) -> u32 {
        8 * self.block_size
    }

    /// Returns the number of groups of a filesystem of so many blocks.
    pub(crate) fn groups(&self, blocks: u64) -> u64 {
        blocks
            .saturating_sub(self.first_block().into())
            .div_ceil(self.blocks_per_group().into())
    }

    /// Returns the number of descriptors in a block.
    pub(crate) const fn descriptors_per_block(&self) -> u32 {
        self.block_size / DESCRIPTOR_LEN as u32
    }

    /// Returns the first block of a group.
    pub(crate) fn group_start(&self, group: u32) -> u64 {
        u64::from(self.first_block()) + u64::from(group) * u64::from(self.blocks_per_group())
    }

    /// Returns the blocks of a group's copies.
    pub(crate) const fn copies(&self, group: u32) -> u32 {
        if has_superblock(group) {
            1 + self.descriptor_blocks
        } else {
            0
        }
    }

    /// Returns the number of data blocks among the first blocks of the filesystem.
    pub(crate) fn data_before(&self, block: u64) -> u64 {
        let behind = self.stretches.partition_point(|s| s.block <= block);
        let Some(stretch) = behind.checked_sub(1).map(|last| self.stretches[last]) else {
            return 0;
        };
        let data = stretch.data + (block - stretch.block);
        match self.stretches.get(behind) {
            Some(next) => data.min(next.data),
            None => data,
        }
    }

    /// Returns the block a data block is, and the number of data blocks that follow each other from there on.
    pub(crate) fn locate(&self, data: u64) -> (u64, u64) {
        let behind = self.stretches.partition_point(|s| s.data <= data);
        // The first begins with data block 0.
        let stretch = self.stretches[behind - 1];
        let end = self
            .stretches
            .get(behind)
            .map_or(u64::MAX, |next| next.data);
        (stretch.block + (data - stretch.data), end - data)
    }
}

/// Returns the groups below `groups` that have a copy of the superblock, in order.
fn copies_up_to(groups: u32) -> Vec<u32> {
    let mut found = vec![0, 1];
    for of in [3_u32, 5, 7] {
        found.extend(std::iter::successors(Some(of), |power| {
            power.checked_mul(of)
        }));
    }
    found.retain(|group| *group < groups);
    found.sort_unstable();
    found
}

/// A storage in which only data blocks are seen, one behind the other.
#[derive(Debug)]
pub(crate) struct DataBlocks<S> {
    pub(crate) storage: S,
    pub(crate) geometry: Geometry,
}

impl<S> DataBlocks<S> {
    /// Returns where `offset` is, and how many bytes follow each other from there on.
    pub(crate) fn locate(&self, offset: u64) -> (u64, u64) {
        let size = u64::from(self.geometry.block_size);
        let (block, run) = self.geometry.locate(offset / size);
        let inside = offset % size;
        (
            block * size + inside,
            run.saturating_mul(size).saturating_sub(inside),
        )
    }
}

impl<S: Storage> ReadAt for DataBlocks<S> {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let (at, run) = self.locate(offset);
            let length = run.min(buffer.len() as u64) as usize;
            let (piece, rest) = buffer.split_at_mut(length);
            self.storage.read_exact_at(piece, at)?;
            offset += length as u64;
            buffer = rest;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.storage.size()
    }
}

impl<S: Storage> Storage for DataBlocks<S> {
    fn write_all_at(&mut self, mut data: &[u8], mut offset: u64) -> io::Result<()> {
        while !data.is_empty() {
            let (at, run) = self.locate(offset);
            let (piece, rest) = data.split_at(run.min(data.len() as u64) as usize);
            self.storage.write_all_at(piece, at)?;
            offset += piece.len() as u64;
            data = rest;
        }
        Ok(())
    }

    fn set_size(&mut self, length: u64) -> io::Result<()> {
        self.storage.set_size(length)
    }

    fn go_on(&self) -> io::Result<()> {
        self.storage.go_on()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_blocks_are_all_but_copies() {
        for block_size in [1024, 4096] {
            let geometry = Geometry::new(block_size, 5);
            let mut data = 0;
            for group in 0..130 {
                let copies = geometry.copies(group);
                assert_eq!(copies, if has_superblock(group) { 6 } else { 0 });
                let start = geometry.group_start(group);
                let first = start + u64::from(copies);
                for block in [start, start + u64::from(copies) / 2, first] {
                    assert_eq!(geometry.data_before(block), data, "{group}");
                }
                let inside = u64::from(geometry.blocks_per_group() - copies);
                assert_eq!(geometry.data_before(first + 7), data + 7);
                assert_eq!(geometry.locate(data).0, first);
                let (last, run) = geometry.locate(data + inside - 1);
                assert_eq!(last, first + inside - 1);
                assert_eq!(run == 1, has_superblock(group + 1));
                data += inside;
            }
        }
        let with: Vec<u32> = (0..100).filter(|g| has_superblock(*g)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81]);
        assert_eq!(copies_up_to(100), with);
    }

    #[test]
    fn copies_may_fill_groups() {
        // Groups 0 and 1 are full of copies.
        let geometry = Geometry::new(1024, 8191);
        assert_eq!(geometry.locate(0), (1 + 2 * 8192, 8192));
        assert_eq!(geometry.data_before(1 + 2 * 8192), 0);
        assert_eq!(geometry.data_before(1 + 3 * 8192), 8192);
    }
}
