//! The ways to mount.

use std::path::PathBuf;

use super::verity::FileVerity;

/// The way in which something is mounted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MountOptions {
    /// Keep changes in an overlay in this directory; without, the mount is read-only.
    pub writable: Option<PathBuf>,
    /// Let set-user-ID bits and file capabilities of the image take effect. Default false.
    pub setuid: bool,
    /// Let device nodes of the image be opened. Default false.
    pub devices: bool,
    /// Leave out extended attributes EROFS cannot hold; without, they are an error.
    pub drop_xattrs: bool,
    /// The use of fs-verity, where files of the image are objects of a composefs repository.
    pub verity: FileVerity,
}

impl MountOptions {
    /// Returns what the kernel is told.
    pub(super) fn of_kernel(&self) -> lithify_mount::MountOptions {
        lithify_mount::MountOptions {
            writable: self.writable.clone(),
            setuid: self.setuid,
            devices: self.devices,
        }
    }
}
