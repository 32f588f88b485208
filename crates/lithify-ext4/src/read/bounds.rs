//! Limits to what an image makes a walk do.

use std::collections::HashSet;

use lithify_fskit::read;

use super::map::Piece;
use super::{Image, Inode};
use crate::format::superblock::parse::RO_SHARED_BLOCKS;
use crate::{ReadAt, ReadError};

/// What is left of the blocks and inodes of an image: nothing stops a hostile image from leading to one any number of times.
#[derive(Debug)]
pub struct Bounds {
    /// Directories met, by number: each has one name.
    directories: HashSet<u64>,
    /// Blocks of directories.
    listings: u64,
    /// Blocks of maps.
    maps: u64,
    /// Blocks of data.
    data: u64,
    inodes: u32,
}

impl Bounds {
    pub(super) fn of<R: ReadAt>(image: &Image<R>) -> Self {
        let s = &image.superblock;
        Self {
            directories: HashSet::new(),
            listings: s.blocks,
            maps: s.blocks,
            data: match s.has_read_only_compat(RO_SHARED_BLOCKS) {
                true => u64::MAX,
                false => s.blocks,
            },
            inodes: s.inodes,
        }
    }
}

fn spend(left: &mut u64, blocks: u64) -> Result<(), ReadError> {
    *left = left.checked_sub(blocks).ok_or(ReadError::BlocksOverlap)?;
    Ok(())
}

impl<R: ReadAt> read::Bounds<Image<R>> for Bounds {
    /// Names are counted with their directory's blocks.
    fn name(&mut self, _: &Image<R>) -> Result<(), ReadError> {
        Ok(())
    }

    fn directory(&mut self, image: &Image<R>, directory: &Inode) -> Result<(), ReadError> {
        let blocks = directory.size() / image.block_size();
        let left = self.listings.checked_sub(blocks);
        self.listings = left.ok_or(ReadError::TooManyEntries)?;
        match self.directories.insert(directory.number().into()) {
            true => Ok(()),
            false => Err(ReadError::TooManyEntries),
        }
    }

    fn inode(&mut self, image: &Image<R>, inode: &Inode) -> Result<(), ReadError> {
        self.inodes = self
            .inodes
            .checked_sub(1)
            .ok_or(ReadError::TooManyEntries)?;
        let (maps, data) = (&mut self.maps, &mut self.data);
        image.traverse(inode, &mut |piece| match piece {
            Piece::Map { .. } => spend(maps, 1),
            Piece::Data { blocks, .. } => spend(data, blocks),
        })
    }
}
