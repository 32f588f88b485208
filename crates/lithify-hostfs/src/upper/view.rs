//! The overlay as it is mounted.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lithify_tree::TreePath;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::dirs::DIRECTORY;

/// An overlay's mount point, held open.
#[derive(Debug)]
pub(super) struct View {
    pub(super) path: PathBuf,
    root: OwnedFd,
}

impl View {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            path: path.to_owned(),
            root: openat(CWD, path, flags, Mode::empty())?,
        })
    }

    /// Opens a directory, following no symbolic link on the way.
    pub(super) fn directory(&self, path: &TreePath) -> io::Result<OwnedFd> {
        let mut at = openat(&self.root, c".", DIRECTORY, Mode::empty())?;
        for component in path.components() {
            at = openat(&at, component, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(at)
    }

    /// Opens a regular file, following no symbolic link on the way.
    pub(super) fn file(&self, path: &TreePath) -> io::Result<OwnedFd> {
        let name = path.components().last().unwrap_or_default();
        let directory = self.directory(&path.parent())?;
        // A pipe someone put there must not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(openat(directory, name, flags, Mode::empty())?)
    }

    /// Where a path is on the host, for messages.
    pub(super) fn host_path(&self, path: &TreePath) -> PathBuf {
        self.path.join(OsStr::from_bytes(path.as_bytes()))
    }
}
