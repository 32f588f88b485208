//! All names of an image.

use std::collections::{HashMap, HashSet};

use lithify_tree::{Entry, EntryKind, Metadata, PATH_MAX, TreePath};

use super::{Image, Inode, ReadDir};
use crate::format::METADATA_LEN;
use crate::{FileType, ReadAt, ReadError};

/// A name of an inode.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WalkEntry {
    /// The path: components separated by slashes, empty for the root.
    pub path: Vec<u8>,
    /// What it is a name of.
    pub inode: Inode,
}

/// All names of an image depth first, every directory before what is in it. After an error it ends. Memory grows with
/// the number of directories.
#[derive(Debug)]
pub struct Walk<'a, R> {
    image: &'a Image<R>,
    /// Directories being read, and the length of their path.
    pub(super) open: Vec<(ReadDir<'a, R>, usize)>,
    path: Vec<u8>,
    /// Directories met: each has one name.
    directories: HashSet<u64>,
    listing_left: u64,
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
            directories: HashSet::new(),
            listing_left: self.metadata_limit(),
            started: false,
        }
    }

    /// The image as a layer that makes it from nothing: every name with its metadata, second names as hard links.
    /// Memory grows with the number of directories and of files that have several names.
    #[must_use]
    pub fn entries(&self) -> Entries<'_, R> {
        Entries {
            walk: self.walk(),
            first_names: HashMap::new(),
            inodes_left: self.metadata_limit(),
        }
    }

    /// Bytes a table of metadata can have: each of its blocks takes three bytes or more of the image.
    pub(super) fn metadata_limit(&self) -> u64 {
        (self.size() / 3 + 1).saturating_mul(METADATA_LEN as u64)
    }
}

impl<'a, R: ReadAt> Walk<'a, R> {
    fn enter(&mut self, directory: &Inode) -> Result<(), ReadError> {
        let left = self.listing_left.checked_sub(directory.size());
        self.listing_left = left.ok_or(ReadError::TooManyEntries)?;
        if !self.directories.insert(directory.reference()) {
            return Err(ReadError::TooManyEntries);
        }
        self.open
            .push((self.image.read_dir(directory)?, self.path.len()));
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<WalkEntry>, ReadError> {
        if !self.started {
            self.started = true;
            let root = self.image.root()?;
            self.enter(&root)?;
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
            let inode = self.image.inode(entry.reference)?;
            if inode.file_type() == FileType::Directory {
                self.enter(&inode)?;
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
    /// What is left for inodes and what stands behind them.
    inodes_left: u64,
}

impl<R: ReadAt> Entries<'_, R> {
    fn entry(&mut self, found: &WalkEntry) -> Result<Entry, ReadError> {
        let image = self.walk.image;
        let inode = &found.inode;
        // Names have been checked for slashes, NULs, dots and length, the path for its length.
        let path =
            TreePath::clean(&found.path).map_err(|_| ReadError::PathTooLong { limit: PATH_MAX })?;
        if inode.nlink() > 1 && inode.file_type() != FileType::Directory {
            if let Some(target) = self.first_names.get(&inode.reference()) {
                let kind = EntryKind::HardLink {
                    target: target.clone(),
                };
                return Ok(Entry {
                    path,
                    metadata: Metadata::default(),
                    kind,
                });
            }
            self.first_names.insert(inode.reference(), path.clone());
        }
        // Reading what stands behind an inode takes time in proportion to its length.
        self.inodes_left = self
            .inodes_left
            .checked_sub(image.inode_len(inode)?)
            .ok_or(ReadError::InodesOverlap)?;
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
