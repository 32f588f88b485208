//! All names of an image, one after another.

use lithify_fskit::read;
use lithify_tree::overlay::Restored;
use lithify_tree::{DataSegment, Device, Timestamp, TreePath, Xattrs};

use super::bounds::Bounds;
use super::{DirEntry, Image, Inode, ReadDir};
use crate::{FileType, ReadAt, ReadError};

/// A name of an inode.
pub type WalkEntry = read::WalkEntry<Inode>;

/// All names of an image depth first, every directory before what is in it. After an error it ends. Memory grows with
/// the number of directories, and by the names of those on the way.
pub type Walk<'a, R> = read::Walk<'a, Image<R>>;

/// An image as the entries of a layer. After an error it ends.
pub type Entries<'a, R> = read::Entries<'a, Image<R>>;

/// A layer's image as the layer's entries. After an error it ends.
pub type OverlayEntries<'a, R> = read::OverlayEntries<'a, Image<R>>;

impl<R: ReadAt> Image<R> {
    /// All names of the image.
    #[must_use]
    pub fn walk(&self) -> Walk<'_, R> {
        Walk::new(self)
    }

    /// The image as a layer that makes it from nothing: every name with its metadata, second names as hard links.
    /// Memory grows with the number of directories and of files that have several names.
    #[must_use]
    pub fn entries(&self) -> Entries<'_, R> {
        Entries::new(self)
    }

    /// This image, made as a layer of an overlay, as the entries of that layer: what [`entries`](Self::entries) gives,
    /// with whiteouts and opaque markers for what overlayfs has in their place. The root directory's own entry is left
    /// out unless the layer describes it: an image always has one.
    ///
    /// # Errors
    /// The iterator's items: [`ReadError`] when something is damaged, [`ReadError::OverlayXattr`] when an attribute
    /// would have overlayfs look elsewhere (`trusted.overlay.redirect`, `metacopy` and the like).
    #[must_use]
    pub fn overlay_entries(&self, describes_root: bool) -> OverlayEntries<'_, R> {
        OverlayEntries::new(self, describes_root)
    }

    /// An inode of this image, made as a layer of an overlay, under a name: what
    /// [`overlay_entries`](Self::overlay_entries) says of it, without reading anything else. Never a hard link.
    ///
    /// # Errors
    /// As [`overlay_entries`](Self::overlay_entries).
    pub fn overlay_entry(&self, path: TreePath, inode: &Inode) -> Result<Restored, ReadError> {
        read::overlay_entry(self, path, inode)
    }
}

impl<R: ReadAt> read::Image for Image<R> {
    type Inode = Inode;
    type DirEntry = DirEntry;
    type ReadDir<'a>
        = Listing
    where
        R: 'a;
    type Bounds = Bounds;
    type Error = ReadError;

    fn root(&self) -> Result<Inode, ReadError> {
        Self::root(self)
    }

    fn inode(&self, place: u64) -> Result<Inode, ReadError> {
        // Places are numbers of inodes.
        Self::inode(self, u32::try_from(place).unwrap_or(u32::MAX))
    }

    fn read_dir(&self, directory: &Inode) -> Result<Listing, ReadError> {
        Ok(Listing(Self::read_dir(self, directory)?))
    }

    fn read_link(&self, inode: &Inode) -> Result<Vec<u8>, ReadError> {
        Self::read_link(self, inode)
    }

    fn xattrs(&self, inode: &Inode) -> Result<Xattrs, ReadError> {
        Self::xattrs(self, inode)
    }

    fn segments(&self, inode: &Inode) -> Result<Option<Vec<DataSegment>>, ReadError> {
        Self::segments(self, inode)
    }

    fn bounds(&self) -> Bounds {
        Bounds::of(self)
    }

    fn path_too_long(limit: usize) -> ReadError {
        ReadError::PathTooLong { limit }
    }

    fn overlay_xattr(inode: &Inode, name: Vec<u8>) -> ReadError {
        ReadError::OverlayXattr {
            number: inode.number(),
            name,
        }
    }
}

/// The names in a directory, which are all known to be right.
#[derive(Debug)]
pub struct Listing(ReadDir);

impl Iterator for Listing {
    type Item = Result<DirEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Ok)
    }
}

impl read::Inode for Inode {
    fn place(&self) -> u64 {
        self.number().into()
    }

    fn file_type(&self) -> FileType {
        self.file_type()
    }

    fn mode(&self) -> u16 {
        self.mode()
    }

    fn uid(&self) -> u32 {
        self.uid()
    }

    fn gid(&self) -> u32 {
        self.gid()
    }

    fn mtime(&self) -> Timestamp {
        self.mtime()
    }

    fn nlink(&self) -> u32 {
        self.nlink()
    }

    fn size(&self) -> u64 {
        self.size()
    }

    fn device(&self) -> Device {
        self.device()
    }
}

impl read::DirEntry for DirEntry {
    fn name(&self) -> &[u8] {
        &self.name
    }

    fn place(&self) -> u64 {
        self.inode.into()
    }
}
