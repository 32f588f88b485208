//! The lock of a repository's directory.

use std::fs::File;
use std::io;
use std::time::Duration;

use lithify_cancel::{CancelToken, Cancelled};
use lithify_storage::{Beneath, Locked};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The kind of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of those who read and write.
    Shared,
    /// Of those who remove.
    Exclusive,
}

/// Reasons for not having a lock.
#[derive(Debug)]
pub(super) enum Unlocked {
    /// Others have it, and it was not to be waited for.
    InUse,
    Cancelled(Cancelled),
    Io(io::Error),
}

/// Takes a lock of the directory; waits for it, if asked to.
pub(super) fn take(
    root: &Beneath,
    kind: Kind,
    is_waiting: bool,
    cancel: &CancelToken,
) -> Result<Locked, Unlocked> {
    let handle = root.handle().try_clone_to_owned();
    let mut file = File::from(handle.map_err(Unlocked::Io)?);
    loop {
        let tried = match kind {
            Kind::Shared => Locked::try_shared(file),
            Kind::Exclusive => Locked::try_exclusive(file),
        };
        match tried.map_err(Unlocked::Io)? {
            Ok(locked) => return Ok(locked),
            Err(_) if !is_waiting => return Err(Unlocked::InUse),
            Err(back) => file = back,
        }
        cancel.wait(PAUSE).map_err(Unlocked::Cancelled)?;
    }
}
