//! Limits to what an image makes a walk do.

use lithify_fskit::read;

use super::{Image, Inode};
use crate::{ReadAt, ReadError};

/// What is left of an image for names and inodes: each takes room, but nothing stops a hostile image from leading to one
/// any number of times.
#[derive(Debug)]
pub struct Bounds {
    names: u64,
    bytes: u64,
}

impl Bounds {
    pub(super) fn of<R: ReadAt>(image: &Image<R>) -> Self {
        Self {
            names: image.entry_limit(),
            bytes: image.size(),
        }
    }
}

impl<R: ReadAt> read::Bounds<Image<R>> for Bounds {
    fn name(&mut self, image: &Image<R>) -> Result<(), ReadError> {
        let limit = image.entry_limit();
        let left = self.names.checked_sub(1);
        self.names = left.ok_or(ReadError::TooManyEntries { limit })?;
        Ok(())
    }

    /// A directory in itself is found by its names, of which there is no end.
    fn directory(&mut self, _: &Image<R>, _: &Inode) -> Result<(), ReadError> {
        Ok(())
    }

    fn inode(&mut self, image: &Image<R>, inode: &Inode) -> Result<(), ReadError> {
        let left = self.bytes.checked_sub(image.record_len(inode)?);
        self.bytes = left.ok_or(ReadError::MetadataOverlaps)?;
        Ok(())
    }
}

impl<R: ReadAt> Image<R> {
    /// Bytes of an inode with its attributes and the map behind it: reading these takes time in proportion. Records do not
    /// overlap, so those of all inodes together are not longer than the image.
    ///
    /// # Errors
    /// [`ReadError`] when the map is not inside the image.
    pub fn record_len(&self, inode: &Inode) -> Result<u64, ReadError> {
        let end = if inode.layout() == crate::DataLayout::Chunked {
            self.check_map(inode)?.end
        } else {
            inode.behind()
        };
        Ok(end.saturating_sub(inode.address))
    }

    /// Most directory entries an image of this size has room for, each taking at least twelve bytes and a name.
    pub(super) fn entry_limit(&self) -> u64 {
        self.size / (crate::format::dirent::DIRENT_LEN as u64 + 1)
    }
}
