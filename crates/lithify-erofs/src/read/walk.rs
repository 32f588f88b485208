//! All names of an image.

use std::collections::HashMap;

use lithify_tree::{DataSegment, Entry, EntryKind, Metadata, PATH_MAX, TreePath};

use super::{Image, Inode, ReadDir};
use crate::{DataLayout, FileType, ReadAt, ReadError};

/// A name of an inode.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WalkEntry {
    /// The path: components separated by slashes, empty for the root.
    pub path: Vec<u8>,
    /// What it is a name of.
    pub inode: Inode,
}

/// All names of an image depth first, every directory before what is in it. After an error it ends.
#[derive(Debug)]
pub struct Walk<'a, R> {
    image: &'a Image<R>,
    /// Directories being read, and the length of their path.
    open: Vec<(ReadDir<'a, R>, usize)>,
    path: Vec<u8>,
    entries_left: u64,
    started: bool,
}

impl<R: ReadAt> Image<R> {
    /// All names of the image.
    #[must_use]
    pub fn walk(&self) -> Walk<'_, R> {
        Walk {
            image: self,
            open: Vec::new(),
            path: Vec::new(),
            entries_left: self.entry_limit(),
            started: false,
        }
    }

    /// The image as a layer that makes it from nothing: every name with its metadata, second names as hard links.
    /// Memory grows with the number of files that have several.
    #[must_use]
    pub fn entries(&self) -> Entries<'_, R> {
        Entries {
            walk: self.walk(),
            first_names: HashMap::new(),
            bytes_left: self.size(),
        }
    }
}

impl<R: ReadAt> Walk<'_, R> {
    fn advance(&mut self) -> Result<Option<WalkEntry>, ReadError> {
        if !self.started {
            self.started = true;
            let root = self.image.root()?;
            self.open.push((self.image.read_dir(&root)?, 0));
            return Ok(Some(WalkEntry {
                path: Vec::new(),
                inode: root,
            }));
        }
        while let Some((directory, path_len)) = self.open.last_mut() {
            let Some(entry) = directory.next().transpose()? else {
                self.open.pop();
                continue;
            };
            self.path.truncate(*path_len);
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&entry.name);
            if self.path.len() > PATH_MAX {
                return Err(ReadError::PathTooLong { limit: PATH_MAX });
            }
            self.entries_left =
                self.entries_left
                    .checked_sub(1)
                    .ok_or_else(|| ReadError::TooManyEntries {
                        limit: self.image.entry_limit(),
                    })?;
            let inode = self.image.inode(entry.nid)?;
            if inode.file_type() == FileType::Directory {
                self.open
                    .push((self.image.read_dir(&inode)?, self.path.len()));
            }
            return Ok(Some(WalkEntry {
                path: self.path.clone(),
                inode,
            }));
        }
        Ok(None)
    }
}

impl<R: ReadAt> Iterator for Walk<'_, R> {
    type Item = Result<WalkEntry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance();
        if result.is_err() {
            self.open.clear();
        }
        result.transpose()
    }
}

/// An image as the entries of a layer. After an error it ends.
#[derive(Debug)]
pub struct Entries<'a, R> {
    walk: Walk<'a, R>,
    /// First names of inodes that say they have several.
    first_names: HashMap<u64, TreePath>,
    /// What is left of the image for inodes and what stands behind them.
    bytes_left: u64,
}

impl<R: ReadAt> Entries<'_, R> {
    fn entry(&mut self, found: &WalkEntry) -> Result<Entry, ReadError> {
        let image = self.walk.image;
        let inode = &found.inode;
        let nid = inode.nid();
        // Names have been checked for slashes, NULs and length, the path for its length; `..` is skipped.
        let path =
            TreePath::clean(&found.path).map_err(|_| ReadError::PathTooLong { limit: PATH_MAX })?;
        if inode.nlink() > 1 && inode.file_type() != FileType::Directory {
            if let Some(target) = self.first_names.get(&nid) {
                let kind = EntryKind::HardLink {
                    target: target.clone(),
                };
                return Ok(Entry {
                    path,
                    metadata: Metadata::default(),
                    kind,
                });
            }
            self.first_names.insert(nid, path.clone());
        }
        // Reading attributes and maps takes time in proportion to their length.
        self.bytes_left = self
            .bytes_left
            .checked_sub(image.record_len(inode)?)
            .ok_or(ReadError::MetadataOverlaps)?;
        image.entry(path, inode)
    }
}

impl<R: ReadAt> Iterator for Entries<'_, R> {
    type Item = Result<(Entry, Inode), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = match self.walk.next()? {
            Ok(found) => found,
            Err(e) => return Some(Err(e)),
        };
        let result = self.entry(&found).map(|entry| (entry, found.inode));
        if result.is_err() {
            self.walk.open.clear();
        }
        Some(result)
    }
}

impl<R: ReadAt> Image<R> {
    /// Bytes of an inode with its attributes and the map behind it: reading these takes time in proportion. Records do not
    /// overlap, so those of all inodes together are not longer than the image.
    ///
    /// # Errors
    /// [`ReadError`] when the map is not inside the image.
    pub fn record_len(&self, inode: &Inode) -> Result<u64, ReadError> {
        let end = if inode.layout() == DataLayout::Chunked {
            self.check_map(inode)?.end
        } else {
            inode.behind()
        };
        Ok(end.saturating_sub(inode.address))
    }

    /// What an inode is, under a name.
    pub(super) fn entry(&self, path: TreePath, inode: &Inode) -> Result<Entry, ReadError> {
        let kind = match inode.file_type() {
            FileType::Directory => EntryKind::Directory,
            FileType::File => EntryKind::File {
                size: inode.size(),
                segments: self.segments(inode)?,
            },
            FileType::Symlink => EntryKind::Symlink {
                target: self.read_link(inode)?,
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
            xattrs: self.xattrs(inode)?,
        };
        Ok(Entry {
            path,
            metadata,
            kind,
        })
    }

    /// Where a file's data is, if it is stored with holes; adjacent extents make one segment.
    ///
    /// # Errors
    /// [`ReadError`] when its map is damaged.
    pub fn segments(&self, inode: &Inode) -> Result<Option<Vec<DataSegment>>, ReadError> {
        if inode.layout() != DataLayout::Chunked {
            return Ok(None);
        }
        self.check_map(inode)?;
        let mut segments: Vec<DataSegment> = Vec::new();
        let mut holes = false;
        for extent in self.extents(inode) {
            let extent = extent?;
            let offset = extent.offset;
            if extent.address.is_none() {
                holes = true;
            } else {
                match segments.last_mut() {
                    Some(last) if last.offset + last.length == offset => {
                        last.length += extent.length
                    }
                    _ => segments.push(DataSegment {
                        offset,
                        length: extent.length,
                    }),
                }
            }
        }
        Ok(holes.then_some(segments))
    }
}
