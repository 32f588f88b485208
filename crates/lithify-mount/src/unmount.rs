//! Undoing a mount.

use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount as umount2};

use crate::{MountError, overlay, table, users};

pub(crate) fn unmount(directory: &Path) -> Result<(), MountError> {
    let failed = |source| MountError::Unmount {
        path: directory.to_path_buf(),
        source,
    };
    let path = directory.canonicalize().map_err(failed)?;
    let mounts = table::mounts()?;
    // The last one is on top.
    let Some(top) = mounts.iter().rfind(|m| m.point == path) else {
        return Err(MountError::NotMounted { path });
    };
    let ours = match top.filesystem.as_str() {
        "erofs" => true,
        "overlay" => top.source == overlay::SOURCE,
        _ => false,
    };
    if !ours {
        let filesystem = top.filesystem.clone();
        return Err(MountError::Foreign { path, filesystem });
    }
    match umount2(&path, UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => Err(MountError::Permission),
        Err(Errno::BUSY) => {
            let users = users::of(&path, &mounts);
            Err(MountError::Busy { path, users })
        }
        Err(e) => Err(failed(e.into())),
    }
}
