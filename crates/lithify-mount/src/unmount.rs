//! Undoing a mount.

use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount as umount2};

use crate::{MountError, list, table, users};

/// Waits before the next attempts while the mount is busy, in milliseconds, half a second in all. A process that was just
/// forked has its parent's files open until it starts its program, and whoever looks at new mounts (udev, indexers) is
/// gone in a moment.
const PATIENCE: [u64; 8] = [1, 4, 15, 40, 80, 120, 120, 120];

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
    if list::recognise(top).is_none() {
        let filesystem = top.filesystem.clone();
        return Err(MountError::Foreign { path, filesystem });
    }
    let mut outcome = umount2(&path, UnmountFlags::NOFOLLOW);
    for wait in PATIENCE {
        if outcome != Err(Errno::BUSY) {
            break;
        }
        thread::sleep(Duration::from_millis(wait));
        outcome = umount2(&path, UnmountFlags::NOFOLLOW);
    }
    match outcome {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => Err(MountError::Permission),
        Err(Errno::BUSY) => {
            let users = users::of(&path, &mounts);
            Err(MountError::Busy { path, users })
        }
        Err(e) => Err(failed(e.into())),
    }
}
