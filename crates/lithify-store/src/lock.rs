//! Locks between processes: one per key, so that one builds what others wait for, and one for the whole store.
//!
//! A lock is the kernel's (`flock(2)`) and ends with its holder, however that ends. Lock files are removed by whoever
//! holds the lock; who gets the lock of a file that lost its name starts over, so that two never hold one key.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Context as _, Error};
use crate::{EntryId, Key, sys};

/// The lock of the whole store. Never removed.
pub(crate) const STORE_LOCK: &str = "store.lock";

/// Says that another process builds what this one needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiting {
    /// The process that holds the lock, where the system tells.
    pub process: Option<u32>,
    /// How long this one has waited.
    pub elapsed: Duration,
}

/// Called while another process builds what is needed; breaking gives up.
pub type OnWait<'a> = &'a mut dyn FnMut(&Waiting) -> ControlFlow<()>;

/// The right to build one entry. Ends when dropped, or with the process.
#[derive(Debug)]
pub struct KeyLock {
    key: Key,
    path: PathBuf,
    /// Holds the lock.
    _file: File,
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
        mut wait: Option<OnWait<'_>>,
    ) -> Result<Self, Error> {
        let id = key.id();
        let path = locks.join(file_name(id));
        let start = Instant::now();
        loop {
            let file = open_lock(&path)?;
            match &mut wait {
                None => sys::lock(&file).context("lock", &path)?,
                Some(wait) => lock_polling(&file, &path, id, start, *wait)?,
            }
            if sys::is_at(&file, &path).context("look at", &path)? {
                return Ok(Self {
                    key: key.clone(),
                    path,
                    _file: file,
                });
            }
        }
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // Still locked: no one else has this name's lock. A file that stays is collected later.
        fs::remove_file(&self.path).ok();
    }
}

/// Asks for the lock again and again, so that the caller can give up in between.
fn lock_polling(
    file: &File,
    path: &Path,
    id: EntryId,
    start: Instant,
    wait: OnWait<'_>,
) -> Result<(), Error> {
    let mut pause = Duration::from_millis(1);
    while !sys::try_lock(file).context("lock", path)? {
        let waiting = Waiting {
            process: holder(file),
            elapsed: start.elapsed(),
        };
        if wait(&waiting).is_break() {
            return Err(Error::Abandoned { key: id });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(())
}

fn open_lock(path: &Path) -> Result<File, Error> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .context("open", path)?;
    let mode = file.metadata().context("look at", path)?.mode();
    if mode & 0o600 != 0o600 {
        // An odd umask must not lock out the owner's next process.
        sys::set_mode(&file, mode | 0o600).context("set the mode of", path)?;
    }
    Ok(file)
}

/// The name of a key's lock file.
fn file_name(id: EntryId) -> String {
    format!("{id}.lock")
}

/// Whether a lock file may have this name.
pub(crate) fn is_lock_name(name: &str) -> bool {
    name == STORE_LOCK
        || name
            .strip_suffix(".lock")
            .is_some_and(|id| id.parse::<EntryId>().is_ok())
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
    _file: File,
}

impl StoreLock {
    pub(crate) fn acquire(locks: &Path) -> Result<Self, Error> {
        let path = locks.join(STORE_LOCK);
        let file = open_lock(&path)?;
        sys::lock(&file).context("lock", &path)?;
        Ok(Self { _file: file })
    }
}

/// Removes lock files of keys nobody holds, left by processes that were killed; counts them.
pub(crate) fn collect(locks: &Path, dry_run: bool) -> Result<u64, Error> {
    let mut removed = 0;
    for item in fs::read_dir(locks).context("list", locks)? {
        let item = item.context("list", locks)?;
        let name = item.file_name();
        let key_lock = |n: &str| n != STORE_LOCK && is_lock_name(n);
        if !name.to_str().is_some_and(key_lock) {
            continue;
        }
        let path = item.path();
        let file = match sys::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other.context("open", &path)?,
        };
        if sys::try_lock(&file).context("lock", &path)?
            && sys::is_at(&file, &path).context("look at", &path)?
        {
            removed += 1;
            if !dry_run {
                fs::remove_file(&path).context("remove", &path)?;
            }
        }
    }
    Ok(removed)
}
