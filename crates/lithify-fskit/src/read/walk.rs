//! All names of an image.

use std::fmt;

use lithify_tree::PATH_MAX;

use super::{Bounds, DirEntry, FileType, Image, Inode};

/// A name of an inode.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WalkEntry<N> {
    /// The path: components separated by slashes, empty for the root.
    pub path: Vec<u8>,
    /// The inode it is a name of.
    pub inode: N,
}

/// All names of an image depth first, every directory before what is in it. After an error it ends. It takes the memory
/// of the directories on the way, and of what the format has to remember to be sure that it ends.
pub struct Walk<'a, I: Image> {
    pub(super) image: &'a I,
    /// Directories being read, and the length of their path.
    open: Vec<(I::ReadDir<'a>, usize)>,
    path: Vec<u8>,
    pub(super) bounds: I::Bounds,
    started: bool,
}

impl<I: Image> fmt::Debug for Walk<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("path", &lithify_tree::Escaped(&self.path))
            .field("depth", &self.open.len())
            .finish_non_exhaustive()
    }
}

impl<'a, I: Image> Walk<'a, I> {
    /// Starts at the root.
    pub fn new(image: &'a I) -> Self {
        Self {
            image,
            open: Vec::new(),
            path: Vec::new(),
            bounds: image.bounds(),
            started: false,
        }
    }

    /// Ends the walk.
    pub(super) fn end(&mut self) {
        self.started = true;
        self.open.clear();
    }

    fn enter(&mut self, directory: &I::Inode) -> Result<(), I::Error> {
        self.bounds.directory(self.image, directory)?;
        let names = self.image.read_dir(directory)?;
        self.open.push((names, self.path.len()));
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<WalkEntry<I::Inode>>, I::Error> {
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
            self.path.extend_from_slice(entry.name());
            if self.path.len() > PATH_MAX {
                return Err(I::path_too_long(PATH_MAX));
            }
            self.bounds.name(self.image)?;
            let inode = self.image.inode(entry.place())?;
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

impl<I: Image> Iterator for Walk<'_, I> {
    type Item = Result<WalkEntry<I::Inode>, I::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance();
        if result.is_err() {
            self.end();
        }
        result.transpose()
    }
}
