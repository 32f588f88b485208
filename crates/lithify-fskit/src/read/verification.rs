//! The result of checking a whole image.

use std::error::Error;
use std::fmt;

use lithify_tree::Escaped;

use super::FileType;

/// Problems kept; more are only counted.
const PROBLEMS_MAX: usize = 1000;

/// Longest path shown with a problem, in bytes.
const SHOWN_PATH_MAX: usize = 4096;

/// What a check of a whole image found: problems of kinds `K`, and what only this format counts.
#[derive(Debug)]
#[non_exhaustive]
pub struct Verification<K, C = ()> {
    /// Inodes reached from the root.
    pub inodes: u64,
    /// Of these, directories.
    pub directories: u64,
    /// Of these, regular files.
    pub files: u64,
    /// Of these, symbolic links.
    pub symlinks: u64,
    /// Names, `.` and `..` not counted.
    pub names: u64,
    /// Bytes of the image with data of regular files, those several files share counted once.
    pub data_bytes: u64,
    /// Counts of this format's own.
    pub own: C,
    /// Everything that is wrong, at most the first thousand.
    pub problems: Vec<Problem<K>>,
    /// Further problems.
    pub more_problems: u64,
}

impl<K, C: Default> Default for Verification<K, C> {
    fn default() -> Self {
        Self {
            inodes: 0,
            directories: 0,
            files: 0,
            symlinks: 0,
            names: 0,
            data_bytes: 0,
            own: C::default(),
            problems: Vec::new(),
            more_problems: 0,
        }
    }
}

impl<K, C> Verification<K, C> {
    /// Tells whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// Counts an inode that is reached for the first time.
    pub fn count(&mut self, file_type: FileType) {
        self.inodes += 1;
        match file_type {
            FileType::Directory => self.directories += 1,
            FileType::File => self.files += 1,
            FileType::Symlink => self.symlinks += 1,
            FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {}
        }
    }

    /// Notes a problem with what is at a path.
    pub fn problem(&mut self, path: &[u8], kind: K) {
        if self.problems.len() == PROBLEMS_MAX {
            self.more_problems += 1;
            return;
        }
        let path = path[..path.len().min(SHOWN_PATH_MAX)].to_vec();
        self.problems.push(Problem { path, kind });
    }
}

/// Something wrong with an image.
#[derive(Debug)]
#[non_exhaustive]
pub struct Problem<K> {
    /// The place, relative to the root: empty for the root, or for problems that have no path.
    pub path: Vec<u8>,
    /// The kind of problem.
    pub kind: K,
}

impl<K: Error> fmt::Display for Problem<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}: {}", Escaped(&self.path), self.kind)?;
        let mut source = self.kind.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
