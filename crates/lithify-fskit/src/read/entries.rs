//! An image as a layer.

use std::collections::HashMap;
use std::fmt;

use lithify_tree::{Entry, EntryKind, Metadata, PATH_MAX, TreePath};

use super::{Bounds, FileType, Image, Inode, Walk, WalkEntry};

/// An image as the layer that makes it from nothing: every name with its metadata, second names as hard links. After
/// an error it ends. Besides the memory of a [`Walk`] it takes that of the files that have several names.
pub struct Entries<'a, I: Image> {
    walk: Walk<'a, I>,
    /// First names of inodes that say they have several, by their place.
    first_names: HashMap<u64, TreePath>,
}

impl<I: Image> fmt::Debug for Entries<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries")
            .field("walk", &self.walk)
            .finish_non_exhaustive()
    }
}

impl<'a, I: Image> Entries<'a, I> {
    /// Starts at the root.
    pub fn new(image: &'a I) -> Self {
        Self {
            walk: Walk::new(image),
            first_names: HashMap::new(),
        }
    }

    fn entry(&mut self, found: &WalkEntry<I::Inode>) -> Result<Entry, I::Error> {
        let image = self.walk.image;
        let inode = &found.inode;
        // Names have been checked for slashes, NULs, dots and length, the path for its length.
        let path = TreePath::clean(&found.path).map_err(|_| I::path_too_long(PATH_MAX))?;
        if inode.nlink() > 1 && inode.file_type() != FileType::Directory {
            if let Some(target) = self.first_names.get(&inode.place()) {
                let kind = EntryKind::HardLink {
                    target: target.clone(),
                };
                return Ok(Entry {
                    path,
                    metadata: Metadata::default(),
                    kind,
                });
            }
            self.first_names.insert(inode.place(), path.clone());
        }
        // Reading what stands behind an inode takes time in proportion to its length.
        self.walk.bounds.inode(image, inode)?;
        entry(image, path, inode)
    }
}

impl<I: Image> Iterator for Entries<'_, I> {
    type Item = Result<(Entry, I::Inode), I::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = match self.walk.next()? {
            Ok(found) => found,
            Err(e) => return Some(Err(e)),
        };
        let result = self.entry(&found).map(|entry| (entry, found.inode));
        if result.is_err() {
            self.walk.end();
        }
        Some(result)
    }
}

/// Returns the entry that makes an inode under a name. Never a hard link.
///
/// # Errors
/// Its target, attributes or map are damaged.
pub fn entry<I: Image>(image: &I, path: TreePath, inode: &I::Inode) -> Result<Entry, I::Error> {
    let kind = match inode.file_type() {
        FileType::Directory => EntryKind::Directory,
        FileType::File => EntryKind::File {
            size: inode.size(),
            segments: image.segments(inode)?,
        },
        FileType::Symlink => EntryKind::Symlink {
            target: image.read_link(inode)?,
        },
        FileType::CharDevice => EntryKind::CharDevice(inode.device()),
        FileType::BlockDevice => EntryKind::BlockDevice(inode.device()),
        FileType::Fifo => EntryKind::Fifo,
        FileType::Socket => EntryKind::Socket,
    };
    let metadata = Metadata {
        mode: inode.mode(),
        uid: inode.uid(),
        gid: inode.gid(),
        mtime: inode.mtime(),
        xattrs: image.xattrs(inode)?,
    };
    Ok(Entry {
        path,
        metadata,
        kind,
    })
}
