//! A filesystem on its way to being mounted: `fsopen(2)` and its companions.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lithify_escape::Printable;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::{MountError, MountOptions};

/// Longest value of an option, in bytes (`fsconfig(2)` of Linux copies 256 with the NUL).
pub(crate) const STRING_MAX: usize = 255;

/// A filesystem being configured.
#[derive(Debug)]
pub(crate) struct Context {
    fd: OwnedFd,
    /// For messages.
    what: String,
}

impl Context {
    /// Starts a filesystem of that type; `missing` is the error when the kernel has none.
    pub(crate) fn open(
        filesystem: &str,
        what: String,
        missing: MountError,
    ) -> Result<Self, MountError> {
        match fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Self { fd, what }),
            Err(Errno::PERM) => Err(MountError::Permission),
            Err(Errno::NODEV) => Err(missing),
            Err(e) => Err(MountError::Refused {
                what,
                reason: None,
                source: e.into(),
            }),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Result<(), MountError> {
        fsconfig_set_flag(&self.fd, name).map_err(|e| self.refused(e))
    }

    pub(crate) fn string(&self, name: &str, value: &[u8]) -> Result<(), MountError> {
        fsconfig_set_string(&self.fd, name, value).map_err(|e| self.refused(e))
    }

    /// Makes the filesystem. The caller may know better than we what an error means.
    pub(crate) fn create(&self) -> Result<(), Errno> {
        fsconfig_create(&self.fd)
    }

    /// The finished filesystem as a mount that is attached nowhere yet.
    pub(crate) fn into_mount(self, attributes: MountAttrFlags) -> Result<OwnedFd, MountError> {
        fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|e| self.refused(e))
    }

    pub(crate) fn refused(&self, e: Errno) -> MountError {
        if e == Errno::PERM {
            return MountError::Permission;
        }
        MountError::Refused {
            what: self.what.clone(),
            reason: self.log(),
            source: e.into(),
        }
    }

    /// What the filesystem wrote to its context: messages of the form `e erofs: text`, one per read.
    fn log(&self) -> Option<String> {
        let mut messages = Vec::new();
        let mut buffer = [0; 512];
        while let Ok(length) = rustix::io::read(&self.fd, &mut buffer) {
            let message = String::from_utf8_lossy(&buffer[..length]);
            let text = message.trim_end();
            let text = text.split_once(' ').map_or(text, |(_, t)| t);
            if length == 0 || messages.len() == 8 {
                break;
            }
            messages.push(Printable(text).to_string());
        }
        (!messages.is_empty()).then(|| messages.join("; "))
    }
}

/// Restrictions of the caller's choosing.
pub(crate) fn attributes(options: &MountOptions) -> MountAttrFlags {
    let mut attributes = MountAttrFlags::empty();
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, !options.setuid);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, !options.devices);
    attributes
}

/// A name for an open file that holds whatever its path has in it, and survives its renaming.
pub(crate) fn descriptor_path(fd: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// A directory to mount at.
#[derive(Debug)]
pub(crate) struct Target {
    fd: OwnedFd,
    path: PathBuf,
}

impl Target {
    pub(crate) fn open(path: &Path) -> Result<Self, MountError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fail = |source: io::Error| MountError::Target {
            path: path.to_path_buf(),
            source,
        };
        let fd = openat(CWD, path, flags, Mode::empty()).map_err(|e| fail(e.into()))?;
        let path = path.canonicalize().map_err(fail)?;
        Ok(Self { fd, path })
    }

    /// Makes a mount appear here.
    pub(crate) fn attach(&self, mount: &OwnedFd) -> Result<(), MountError> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(mount.as_fd(), c"", &self.fd, c"", flags).map_err(|e| match e {
            Errno::PERM => MountError::Permission,
            e => MountError::Target {
                path: self.path.clone(),
                source: e.into(),
            },
        })
    }
}
