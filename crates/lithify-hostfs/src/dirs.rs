//! A way down a directory tree with few open descriptors.
//!
//! Names may lie two thousand directories deep, descriptors may be limited to 256. So only the lowest levels stay
//! open; a closed one is reopened as `..` of the level below it, and must then be the very directory it was.

use std::io;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, Stat, fstat, openat};

/// Levels kept open.
const OPEN_MAX: usize = 32;

/// How directories are opened: never through a symbolic link.
pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What makes a file that file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    dev: u64,
    ino: u64,
}

impl FileId {
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "the fields' types differ between systems"
    )]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
        }
    }

    pub(crate) fn is_on(self, device: u64) -> bool {
        self.dev == device
    }

    pub(crate) fn device(self) -> u64 {
        self.dev
    }
}

/// The directories from a root to the current one.
#[derive(Debug)]
pub(crate) struct DirStack {
    /// Identities of the closed levels, a prefix of all levels.
    closed: Vec<FileId>,
    /// The levels below them.
    open: std::collections::VecDeque<OwnedFd>,
}

/// Why the level above could not be reopened.
#[derive(Debug)]
pub(crate) enum PopError {
    /// `..` is another directory than on the way down: it was moved.
    Moved,
    /// The kernel said no.
    Io(io::Error),
}

impl DirStack {
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self {
            closed: Vec::new(),
            open: [root].into(),
        }
    }

    /// Goes down into a directory that is open.
    pub(crate) fn push(&mut self, directory: OwnedFd) -> io::Result<()> {
        if self.open.len() == OPEN_MAX
            && let Some(top) = self.open.pop_front()
        {
            self.closed.push(FileId::of(&fstat(&top)?));
        }
        self.open.push_back(directory);
        Ok(())
    }

    /// The current directory.
    pub(crate) fn top(&self) -> BorrowedFd<'_> {
        self.open[self.open.len() - 1].as_fd()
    }

    /// Goes up one level and returns the directory left. The root cannot be left.
    pub(crate) fn pop(&mut self) -> Result<OwnedFd, PopError> {
        if self.open.len() == 1
            && let Some(expected) = self.closed.last().copied()
        {
            let flags = DIRECTORY;
            let parent = openat(self.top(), c"..", flags, Mode::empty())
                .map_err(|e| PopError::Io(e.into()))?;
            let stat = fstat(&parent).map_err(|e| PopError::Io(e.into()))?;
            if FileId::of(&stat) != expected {
                return Err(PopError::Moved);
            }
            self.closed.pop();
            self.open.push_front(parent);
        }
        match self.open.pop_back() {
            Some(left) if !self.open.is_empty() => Ok(left),
            _ => unreachable!("the root is never popped"),
        }
    }

    /// Levels, the root included.
    #[cfg(test)]
    fn depth(&self) -> usize {
        self.closed.len() + self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mkdirat};

    fn deep(levels: usize) -> (tempfile::TempDir, DirStack) {
        let temp = tempfile::tempdir().unwrap();
        let root = openat(CWD, temp.path(), DIRECTORY, Mode::empty()).unwrap();
        let mut stack = DirStack::new(root);
        for _ in 0..levels {
            mkdirat(stack.top(), "d", Mode::RWXU).unwrap();
            let next = openat(stack.top(), "d", DIRECTORY, Mode::empty()).unwrap();
            stack.push(next).unwrap();
        }
        (temp, stack)
    }

    #[test]
    fn goes_deeper_than_descriptors_and_comes_back() {
        let (temp, mut stack) = deep(300);
        assert_eq!(stack.depth(), 301);
        assert!(stack.open.len() <= OPEN_MAX);
        for _ in 0..300 {
            stack.pop().unwrap();
        }
        let here = fstat(stack.top()).unwrap();
        let there = rustix::fs::stat(temp.path()).unwrap();
        assert_eq!(FileId::of(&here), FileId::of(&there));
    }

    #[test]
    fn a_moved_directory_is_noticed() {
        let (temp, mut stack) = deep(40);
        // Level 20 moves away while 21 to 40 are open: `..` of some level is then a stranger or gone.
        let deep_path: std::path::PathBuf = std::iter::repeat_n("d", 9).collect();
        let from = temp.path().join(&deep_path);
        std::fs::create_dir(temp.path().join("other")).unwrap();
        std::fs::rename(&from, temp.path().join("other/d")).unwrap();
        let moved = (0..40).any(|_| matches!(stack.pop(), Err(PopError::Moved)));
        assert!(moved);
    }
}
