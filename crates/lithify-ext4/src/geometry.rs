//! Where things stand: block groups, the metadata at the start of each, and the blocks in between, which are for everything else.
//!
//! A group begins with a copy of the superblock and of all descriptors, if it has them, room for more descriptors, its two
//! bitmaps and its part of the inode table. The blocks behind that are numbered through, group after group: *data blocks*.
//! So data can be placed before anyone knows how large the filesystem becomes.

use std::io;

use lithify_storage::{ReadAt, Storage};

use crate::format::INODE_LEN;

/// The arrangement of a filesystem, without its size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) block_size: u32,
    /// Blocks for descriptors, used and reserved, behind each copy of the superblock.
    pub(crate) descriptor_blocks: u32,
    /// Blocks of each group's part of the inode table.
    pub(crate) table_blocks: u32,
}

impl Geometry {
    /// Returns the number of the first block of a group: with blocks of 1 KiB, block 0 is in front of all.
    pub(crate) const fn first_block(&self) -> u32 {
        (self.block_size == 1024) as u32
    }

    pub(crate) const fn blocks_per_group(&self) -> u32 {
        8 * self.block_size
    }

    pub(crate) const fn inodes_per_group(&self) -> u32 {
        self.table_blocks * (self.block_size / INODE_LEN as u32)
    }

    /// Whether a group has a copy of the superblock: the first two, and those whose number is a power of 3, 5 or 7.
    pub(crate) const fn has_superblock(group: u32) -> bool {
        const fn is_power(mut number: u32, of: u32) -> bool {
            while number > 1 && number.is_multiple_of(of) {
                number /= of;
            }
            number == 1
        }
        group <= 1 || is_power(group, 3) || is_power(group, 5) || is_power(group, 7)
    }

    /// Returns the first block of a group.
    pub(crate) fn group_start(&self, group: u32) -> u64 {
        u64::from(self.first_block()) + u64::from(group) * u64::from(self.blocks_per_group())
    }

    /// Returns the blocks before a group's bitmaps.
    const fn copies(&self, group: u32) -> u32 {
        if Self::has_superblock(group) {
            1 + self.descriptor_blocks
        } else {
            0
        }
    }

    pub(crate) fn block_bitmap(&self, group: u32) -> u64 {
        self.group_start(group) + u64::from(self.copies(group))
    }

    pub(crate) fn inode_bitmap(&self, group: u32) -> u64 {
        self.block_bitmap(group) + 1
    }

    pub(crate) fn inode_table(&self, group: u32) -> u64 {
        self.block_bitmap(group) + 2
    }

    /// Returns the blocks of a group's metadata.
    pub(crate) const fn header(&self, group: u32) -> u32 {
        self.copies(group) + 2 + self.table_blocks
    }

    /// Returns the number of data blocks before a group.
    pub(crate) fn data_before(&self, group: u32) -> u64 {
        let each = u64::from(self.blocks_per_group() - 2 - self.table_blocks);
        let copies = u64::from(superblocks_before(group)) * u64::from(1 + self.descriptor_blocks);
        u64::from(group) * each - copies
    }

    /// Returns the group a data block is in.
    pub(crate) fn group_of(&self, data: u64) -> u32 {
        let each = u64::from(self.blocks_per_group() - 2 - self.table_blocks);
        let mut group = (data / each) as u32;
        while self.data_before(group + 1) <= data {
            group += 1;
        }
        group
    }

    /// Returns the block a data block is, and how many follow each other from there on.
    pub(crate) fn locate(&self, data: u64) -> (u64, u64) {
        let group = self.group_of(data);
        let inside = data - self.data_before(group);
        let block = self.group_start(group) + u64::from(self.header(group)) + inside;
        (block, self.data_before(group + 1) - data)
    }
}

/// Returns the number of groups before this one that have a copy of the superblock.
fn superblocks_before(group: u32) -> u32 {
    let powers = |of: u32| {
        let mut count = 0;
        let mut power = of;
        while power < group {
            count += 1;
            match power.checked_mul(of) {
                Some(next) => power = next,
                None => break,
            }
        }
        count
    };
    group.min(2) + powers(3) + powers(5) + powers(7)
}

/// A storage in which only data blocks are seen, one behind the other.
#[derive(Debug)]
pub(crate) struct DataBlocks<S> {
    pub(crate) storage: S,
    pub(crate) geometry: Geometry,
}

impl<S> DataBlocks<S> {
    /// Returns where `offset` is, and how many bytes follow each other from there on.
    fn locate(&self, offset: u64) -> (u64, u64) {
        let size = u64::from(self.geometry.block_size);
        let (block, run) = self.geometry.locate(offset / size);
        let inside = offset % size;
        (block * size + inside, run * size - inside)
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
    fn data_blocks_are_all_that_is_no_metadata() {
        for block_size in [1024, 4096] {
            let geometry = Geometry {
                block_size,
                descriptor_blocks: 5,
                table_blocks: 64,
            };
            let mut data = 0;
            for group in 0..130 {
                assert_eq!(geometry.data_before(group), data, "{group}");
                assert_eq!(geometry.group_of(data), group);
                let first = geometry.group_start(group) + u64::from(geometry.header(group));
                let inside = u64::from(geometry.blocks_per_group() - geometry.header(group));
                assert_eq!(geometry.locate(data), (first, inside));
                assert_eq!(geometry.locate(data + inside - 1), (first + inside - 1, 1));
                data += inside;
            }
        }
        let with: Vec<u32> = (0..100).filter(|g| Geometry::has_superblock(*g)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81]);
        for group in 0..100 {
            let before = with.iter().filter(|g| **g < group).count();
            assert_eq!(superblocks_before(group), before as u32);
        }
    }
}
