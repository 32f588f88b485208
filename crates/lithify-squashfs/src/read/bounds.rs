//! Limits to what an image makes a walk do.

use std::collections::HashSet;

use lithify_fskit::read;

use super::{Image, Inode};
use crate::format::METADATA_LEN;
use crate::{ReadAt, ReadError};

/// What is left of the tables of an image for listings and inodes: each takes room, but nothing stops a hostile image from
/// leading to one any number of times.
#[derive(Debug)]
pub struct Bounds {
    /// Directories met, by reference: each has one name.
    directories: HashSet<u64>,
    listings: u64,
    inodes: u64,
}

impl Bounds {
    pub(super) fn of<R: ReadAt>(image: &Image<R>) -> Self {
        Self {
            directories: HashSet::new(),
            listings: image.metadata_limit(),
            inodes: image.metadata_limit(),
        }
    }
}

impl<R: ReadAt> read::Bounds<Image<R>> for Bounds {
    /// Names are counted with their directory's listing.
    fn name(&mut self, _: &Image<R>) -> Result<(), ReadError> {
        Ok(())
    }

    fn directory(&mut self, _: &Image<R>, directory: &Inode) -> Result<(), ReadError> {
        let left = self.listings.checked_sub(directory.size());
        self.listings = left.ok_or(ReadError::TooManyEntries)?;
        match self.directories.insert(directory.reference()) {
            true => Ok(()),
            false => Err(ReadError::TooManyEntries),
        }
    }

    fn inode(&mut self, image: &Image<R>, inode: &Inode) -> Result<(), ReadError> {
        let left = self.inodes.checked_sub(image.inode_len(inode)?);
        self.inodes = left.ok_or(ReadError::InodesOverlap)?;
        Ok(())
    }
}

impl<R: ReadAt> Image<R> {
    /// Bytes a table of metadata can have: each of its blocks takes three bytes or more of the image.
    pub(super) fn metadata_limit(&self) -> u64 {
        (self.size() / 3 + 1).saturating_mul(METADATA_LEN as u64)
    }
}
