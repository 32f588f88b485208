//! Locks between processes: one per key and per blob, so that one builds or fetches what others wait for, and one for the
//! whole store.
//!
//! A lock is the kernel's (`flock(2)`) and ends with its holder, however that ends. Lock files are removed by whoever
//! holds the lock; who gets the lock of a file that lost its name starts over, so that two never hold one key.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lithify_cancel::CancelToken;
use lithify_digest::Digest;
use lithify_escape::Escaped;

use crate::error::{Context as _, Error};
use crate::{EntryId, Key, sys};
use lithify_storage::Locked;

/// The lock of the whole store. Never removed.
pub(crate) const STORE_LOCK: &str = "store.lock";

/// What the names of the locks of blobs begin with.
const BLOB_PREFIX: &str = "blob-";
/// What the names of leases begin with.
pub(crate) const LEASE_PREFIX: &str = "lease-";

/// The longest pause between two attempts to get a lock.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How long a lock is waited for before that is said: most are held for moments.
const SAID_AFTER: Duration = Duration::from_secs(1);

/// Says that another process builds or fetches what this one needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiting {
    /// The process that holds the lock, where the system tells.
    pub process: Option<u32>,
    /// How long this one has waited.
    pub elapsed: Duration,
}

/// Called while another process builds or fetches what is needed; breaking gives up.
pub type OnWait<'a> = &'a mut dyn FnMut(&Waiting) -> ControlFlow<()>;

/// The right to build one entry. Ends when dropped, or with the process.
#[derive(Debug)]
pub struct KeyLock {
    key: Key,
    _lock: FileLock,
}

impl KeyLock {
    /// The key that is locked.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn acquire(
        locks: &Path,
        key: &Key,
        wait: Option<OnWait<'_>>,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let id = key.id();
        let abandoned = || Error::Abandoned { key: id };
        Ok(Self {
            key: key.clone(),
            _lock: FileLock::acquire(locks.join(file_name(id)), wait, &abandoned, cancel)?,
        })
    }
}

/// The right to write one blob. Ends when dropped, or with the process.
#[derive(Debug)]
pub(crate) struct BlobLock {
    _lock: FileLock,
}

impl BlobLock {
    pub(crate) fn acquire(
        locks: &Path,
        digest: &Digest,
        wait: Option<OnWait<'_>>,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let path = locks.join(format!("{BLOB_PREFIX}{}.lock", flat_name(digest)));
        let abandoned = || Error::AbandonedBlob {
            digest: Box::new(*digest),
        };
        Ok(Self {
            _lock: FileLock::acquire(path, wait, &abandoned, cancel)?,
        })
    }
}

/// The exclusive lock of a file that is there for nothing else, and goes with the lock.
#[derive(Debug)]
struct FileLock {
    path: PathBuf,
    /// Holds the lock.
    _file: Locked,
}

impl FileLock {
    fn acquire(
        path: PathBuf,
        mut wait: Option<OnWait<'_>>,
        abandoned: &dyn Fn() -> Error,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let start = Instant::now();
        loop {
            let file = open_lock(&path)?;
            let file = match &mut wait {
                None => lock_until(file, &path, Kind::Exclusive, cancel)?,
                Some(wait) => lock_polling(file, &path, abandoned, start, *wait, cancel)?,
            };
            if sys::is_at(&file, &path).context("look at", &path)? {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Still locked: no one else has this name's lock. A file that stays is collected later.
        fs::remove_file(&self.path).ok();
    }
}

/// Asks for the lock again and again, so that the caller can give up in between.
fn lock_polling(
    mut file: File,
    path: &Path,
    abandoned: &dyn Fn() -> Error,
    start: Instant,
    wait: OnWait<'_>,
    cancel: &CancelToken,
) -> Result<Locked, Error> {
    let mut attempts = Attempts::since(start);
    loop {
        file = match Locked::try_exclusive(file).context("lock", path)? {
            Ok(locked) => return Ok(locked),
            Err(file) => file,
        };
        let waiting = Waiting {
            process: holder(&file),
            elapsed: start.elapsed(),
        };
        if wait(&waiting).is_break() {
            return Err(abandoned());
        }
        attempts.pause(&file, path, cancel)?;
    }
}

/// The pauses between attempts to get a lock, and whether it was said that it is waited for.
struct Attempts {
    start: Instant,
    pause: Duration,
    said: bool,
}

impl Attempts {
    fn since(start: Instant) -> Self {
        Self {
            start,
            pause: Duration::from_millis(1),
            said: false,
        }
    }

    fn pause(&mut self, file: &File, path: &Path, cancel: &CancelToken) -> Result<(), Error> {
        if !self.said && self.start.elapsed() >= SAID_AFTER {
            self.said = true;
            let path = Escaped::path(path);
            match holder(file) {
                // Another thread of this one.
                Some(own) if own == std::process::id() => {}
                Some(other) => log::warn!("waiting for process {other}, which has locked {path}"),
                None => log::warn!("waiting for another process, which has locked {path}"),
            }
        }
        cancel.wait(self.pause)?;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// How a file is locked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Exclusive,
    Shared,
}

/// Waits for the lock of an open file or directory as long as the work goes on: asks again and again, since nothing wakes
/// who waits for the system.
pub(crate) fn lock_until(
    mut file: File,
    path: &Path,
    kind: Kind,
    cancel: &CancelToken,
) -> Result<Locked, Error> {
    let mut attempts = Attempts::since(Instant::now());
    loop {
        let locked = match kind {
            Kind::Exclusive => Locked::try_exclusive(file),
            Kind::Shared => Locked::try_shared(file),
        };
        file = match locked.context("lock", path)? {
            Ok(locked) => return Ok(locked),
            Err(file) => file,
        };
        attempts.pause(&file, path, cancel)?;
    }
}

fn open_lock(path: &Path) -> Result<File, Error> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .context("open", path)?;
    // An odd umask must not lock out the owner's next process.
    sys::ensure_mode(&file, 0o600).context("set the mode of", path)?;
    Ok(file)
}

/// The name of a key's lock file.
fn file_name(id: EntryId) -> String {
    format!("{id}.lock")
}

/// Whether a lock file may have this name.
pub(crate) fn is_lock_name(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".lock") else {
        return false;
    };
    name == STORE_LOCK
        || stem.parse::<EntryId>().is_ok()
        || is_lease_name(name)
        || stem
            .strip_prefix(BLOB_PREFIX)
            .is_some_and(|blob| from_flat_name(blob).is_some())
}

/// Whether a lease may have this name.
pub(crate) fn is_lease_name(name: &str) -> bool {
    let unique = name
        .strip_prefix(LEASE_PREFIX)
        .and_then(|rest| rest.strip_suffix(".lock"));
    unique.is_some_and(|u| !u.is_empty() && u.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
}

/// A digest as a file name of one directory: `ALGORITHM-HEX`.
pub(crate) fn flat_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

/// The digest whose [`flat_name`] this is.
pub(crate) fn from_flat_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.split_once('-')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// The process that holds the lock of a file, from `/proc/locks` (`proc(5)`).
fn holder(file: &File) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let (major, minor) = (
        rustix::fs::major(metadata.dev()),
        rustix::fs::minor(metadata.dev()),
    );
    let wanted = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // `1: FLOCK ADVISORY WRITE 4711 08:01:123 0 EOF`; one that waits has `->` in second place.
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, process, file, ..] if file == wanted => {
                process.parse().ok().filter(|p| *p != 0)
            }
            _ => None,
        }
    })
}

/// The lock of everything that removes or renames what is published, and of image records.
#[derive(Debug)]
pub(crate) struct StoreLock {
    _file: Locked,
}

impl StoreLock {
    pub(crate) fn acquire(locks: &Path, cancel: &CancelToken) -> Result<Self, Error> {
        let path = locks.join(STORE_LOCK);
        let file = lock_until(open_lock(&path)?, &path, Kind::Exclusive, cancel)?;
        Ok(Self { _file: file })
    }
}

/// The lock of which blobs there are, that of the directory itself: shared by who enters in a lease what it needs, exclusive
/// for who takes blobs away. Held for moments only.
#[derive(Debug)]
pub(crate) struct BlobsLock {
    _file: Locked,
}

impl BlobsLock {
    pub(crate) fn shared(blobs: &Path, cancel: &CancelToken) -> Result<Self, Error> {
        let file = sys::open_dir(blobs).context("open", blobs)?;
        let file = lock_until(file, blobs, Kind::Shared, cancel)?;
        Ok(Self { _file: file })
    }

    pub(crate) fn exclusive(blobs: &Path, cancel: &CancelToken) -> Result<Self, Error> {
        let file = sys::open_dir(blobs).context("open", blobs)?;
        let file = lock_until(file, blobs, Kind::Exclusive, cancel)?;
        Ok(Self { _file: file })
    }
}

/// Removes lock files of keys and blobs, and leases, that nobody holds, left by processes that were killed; counts them.
pub(crate) fn collect(locks: &Path, dry_run: bool) -> Result<u64, Error> {
    let mut removed = 0;
    for item in fs::read_dir(locks).context("list", locks)? {
        let item = item.context("list", locks)?;
        let name = item.file_name();
        let removable = |n: &str| n != STORE_LOCK && is_lock_name(n);
        if !name.to_str().is_some_and(removable) {
            continue;
        }
        let path = item.path();
        let file = match sys::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other.context("open", &path)?,
        };
        if let Ok(file) = Locked::try_exclusive(file).context("lock", &path)?
            && sys::is_at(&file, &path).context("look at", &path)?
        {
            removed += 1;
            if dry_run {
                continue;
            }
            match fs::remove_file(&path) {
                // Who made it could not lock it, because of this one, and tries with another.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other.context("remove", &path)?,
            }
        }
    }
    Ok(removed)
}
