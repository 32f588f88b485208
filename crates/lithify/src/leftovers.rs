//! Temporary names beside outputs, and what killed builds left under them.
//!
//! Whatever has such a name is locked (`flock`) as long as the process that made it lives; the kernel drops the lock
//! with the process, however it ends. So what is old and not locked was left.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use lithify_storage::{Beneath, Listed};
use rustix::fs::{AtFlags, FlockOperation, flock, unlinkat};
use rustix::io::Errno;

/// How old something must be to be taken for left: it is locked only after it is made, and a hard link of a stored file
/// is not locked at all while it waits for its name.
pub(crate) const LEFT_AFTER: Duration = Duration::from_secs(60);

const PREFIX: &str = ".lithify-";
const SUFFIX: &str = ".tmp";

/// A temporary name nobody else has: the process, and a number that counts up.
pub(crate) fn temporary_name() -> OsString {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    OsString::from(format!("{PREFIX}{}-{number}{SUFFIX}", std::process::id()))
}

/// Whether a name is one of [`temporary_name`], or of those the store makes beside an output.
fn is_temporary(name: &OsStr) -> bool {
    let numbers = name
        .to_str()
        .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    numbers.is_some_and(|numbers| {
        let parts: Vec<&str> = numbers.split('-').collect();
        let is_number =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
        matches!(parts.len(), 2 | 3) && parts.iter().all(is_number)
    })
}

/// Locks a file or directory under a temporary name, until it is closed.
pub(crate) fn claim(file: &File) {
    // Filesystems without locks only keep what killed processes leave.
    flock(file, FlockOperation::NonBlockingLockShared).ok();
}

/// Whether a process that lives has claimed a file or directory; if none has, nobody can until this one is closed.
pub(crate) fn is_claimed(file: &File) -> bool {
    // Where there are no locks, nothing is ever claimed.
    flock(file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
}

/// Removes what processes that are gone left in a directory. Nothing depends on it: what cannot be removed stays.
pub(crate) fn remove_left(directory: &Path) {
    let Ok(directory) = Beneath::open(directory) else {
        return;
    };
    for (name, listed) in directory.list().unwrap_or_default() {
        if is_temporary(&name) {
            // As above.
            remove(&directory, &name, listed).ok();
        }
    }
}

fn remove(directory: &Beneath, name: &OsStr, listed: Listed) -> io::Result<()> {
    let opened = match listed {
        Listed::Directory => directory.directory(name)?.into_handle().into(),
        Listed::File => directory.file(name)?,
        _ => return Ok(()),
    };
    let metadata = opened.metadata()?;
    let mut changed = metadata.modified()?;
    if metadata.is_file() && metadata.nlink() > 1 {
        // A link of a file of the store has that file's time; when it was made says the time of the last change.
        let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
        changed = changed.max(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    }
    if !changed.elapsed().is_ok_and(|age| age >= LEFT_AFTER)
        || flock(&opened, FlockOperation::NonBlockingLockExclusive).is_err()
    {
        return Ok(());
    }
    match metadata.is_dir() {
        true => fs::remove_dir_all(directory.path().join(name)),
        false => Ok(unlinkat(directory.handle(), name, AtFlags::empty())?),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes a file or directory look as if it had been made long ago.
    pub(crate) fn age(path: &Path) {
        let opened = File::open(path).unwrap();
        opened
            .set_modified(SystemTime::now() - 2 * LEFT_AFTER)
            .unwrap();
    }

    #[test]
    fn files_of_killed_builds_are_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let at = |name: &str| tmp.path().join(name);
        let names = [
            ".lithify-1-0.tmp",       // left
            ".lithify-1-0-18af3.tmp", // left by the store
            ".lithify-2-0.tmp",       // young
            ".lithify-3-0.tmp",       // of a process that lives
            ".lithify-notes.tmp",     // someone's
            ".lithify-1-0.tmp.keep",  // someone's
            "mine.tmp",               // someone's
        ];
        for name in names {
            fs::write(at(name), "x").unwrap();
            age(&at(name));
        }
        fs::write(at(names[2]), "y").unwrap();
        let alive = File::open(at(names[3])).unwrap();
        claim(&alive);
        // A link just made of a file that was stored long ago.
        fs::write(at("stored"), "x").unwrap();
        age(&at("stored"));
        fs::hard_link(at("stored"), at(".lithify-4-0-1.tmp")).unwrap();
        std::os::unix::fs::symlink("stored", at(".lithify-5-0.tmp")).unwrap();
        remove_left(tmp.path());
        for name in &names[..2] {
            assert!(!at(name).exists(), "{name}");
        }
        for name in &names[2..] {
            assert!(at(name).exists(), "{name}");
        }
        assert!(at(".lithify-4-0-1.tmp").exists());
        assert!(at(".lithify-5-0.tmp").is_symlink());
        drop(alive);
        remove_left(tmp.path());
        assert!(!at(names[3]).exists());
    }
}
