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
    let outcome = patiently(|| umount2(&path, UnmountFlags::NOFOLLOW), thread::sleep);
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

/// Tries again, after each wait, while the answer is "busy".
fn patiently(
    mut attempt: impl FnMut() -> Result<(), Errno>,
    mut pause: impl FnMut(Duration),
) -> Result<(), Errno> {
    let mut outcome = attempt();
    for wait in PATIENCE {
        if outcome != Err(Errno::BUSY) {
            break;
        }
        pause(Duration::from_millis(wait));
        outcome = attempt();
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often something busy is asked that becomes free after so many waits, the outcome, and the time waited.
    fn asked(waits: usize, then: Result<(), Errno>) -> (usize, Result<(), Errno>, Duration) {
        let (mut attempts, mut waited) = (0, Duration::ZERO);
        let attempt = || {
            attempts += 1;
            if attempts <= waits {
                Err(Errno::BUSY)
            } else {
                then
            }
        };
        let outcome = patiently(attempt, |wait| waited += wait);
        (attempts, outcome, waited)
    }

    #[test]
    fn a_mount_that_is_busy_for_a_moment_goes_away() {
        assert_eq!(asked(0, Ok(())), (1, Ok(()), Duration::ZERO));
        assert_eq!(asked(3, Ok(())), (4, Ok(()), Duration::from_millis(20)));
        let (attempts, outcome, waited) = asked(100, Ok(()));
        assert_eq!((attempts, outcome), (9, Err(Errno::BUSY)));
        assert_eq!(waited, Duration::from_millis(500));
        // Any other answer is one.
        assert_eq!(asked(1, Err(Errno::PERM)).0, 2);
    }
}
