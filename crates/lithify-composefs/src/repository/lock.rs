//! The lock of a repository's directory.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use lithify_cancel::{CancelToken, Cancelled};
use lithify_escape::Escaped;
use lithify_storage::{Beneath, Locked};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The time after which is said what is waited for: shorter collections are nothing to be told of.
const NOTICE: Duration = Duration::from_secs(1);

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

/// Takes a lock of the directory; waits for it, if asked to, and says so once in the log.
pub(super) fn take(
    root: &Beneath,
    kind: Kind,
    is_waiting: bool,
    cancel: &CancelToken,
) -> Result<Locked, Unlocked> {
    let handle = root.handle().try_clone_to_owned();
    let mut file = File::from(handle.map_err(Unlocked::Io)?);
    let started = Instant::now();
    let mut is_said = false;
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
        if !is_said && started.elapsed() >= NOTICE {
            is_said = true;
            let path = Escaped::path(root.path());
            match kind {
                Kind::Shared => log::warn!(
                    "waiting for another process, which removes things from the composefs repository `{path}`"
                ),
                Kind::Exclusive => log::warn!(
                    "waiting for others, which have the composefs repository `{path}` open"
                ),
            }
        }
        cancel.wait(PAUSE).map_err(Unlocked::Cancelled)?;
    }
}
