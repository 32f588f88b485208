//! What is under construction: files and directories in `tmp/`, each locked by the process that made it.
//!
//! The kernel drops the lock with the process, however it ends. So what is in `tmp/` and not locked is a leftover,
//! whichever machine state, process number or container it came from.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Context as _, Error};
use crate::sys;
use lithify_storage::Locked;

/// A name nothing has: the process, a number that counts up, the time.
pub(crate) fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let nanoseconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    format!("{}-{number}-{nanoseconds:x}", std::process::id())
}

/// A directory under construction. Dropping it removes it with all in it, unless it was moved away.
#[derive(Debug)]
pub(crate) struct TempDir {
    // Goes first: what is removed is locked until it is gone.
    removal: Removal,
    handle: Locked,
}

/// Removes a directory when dropped.
#[derive(Debug)]
struct Removal {
    path: PathBuf,
    /// Whether `path` is still ours to remove.
    armed: bool,
}

impl TempDir {
    pub(crate) fn new(parent: &Path) -> Result<Self, Error> {
        loop {
            let path = parent.join(unique_name());
            match sys::make_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                // Taken for a leftover while it was made.
                Err(e) if e.kind() == io::ErrorKind::NotFound && parent.is_dir() => continue,
                other => other.context("create", &path)?,
            }
            let handle = match sys::open_dir(&path) {
                // As above.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.context("open", &path)?,
            };
            if let Ok(handle) = Locked::try_shared(handle).context("lock", &path)?
                && sys::is_at(&handle, &path).context("look at", &path)?
            {
                let removal = Removal { path, armed: true };
                return Ok(Self { removal, handle });
            }
            // Someone who looks for leftovers has it; it is empty.
            fs::remove_dir(&path).ok();
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.removal.path
    }

    pub(crate) fn handle(&self) -> &File {
        &self.handle
    }

    /// Moves the directory, lock and all, to its place. On failure it stays, to be tried again or dropped.
    pub(crate) fn rename(&mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.removal.path, to)?;
        self.removal.armed = false;
        Ok(())
    }

    /// The open directory, with its lock.
    pub(crate) fn into_handle(mut self) -> Locked {
        self.removal.armed = false;
        self.handle
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        if self.armed {
            // What cannot be removed here is found as a leftover.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}

/// Puts a file of these bytes in place of `destination`, at once.
pub(crate) fn publish(
    temp: &Path,
    destination: &Path,
    bytes: &[u8],
    durable: bool,
) -> Result<(), Error> {
    publish_as(temp, destination, bytes, 0o444, durable)
}

/// As [`publish`], with these permissions.
pub(crate) fn publish_as(
    temp: &Path,
    destination: &Path,
    bytes: &[u8],
    mode: u32,
    durable: bool,
) -> Result<(), Error> {
    let (path, file) = loop {
        let path = temp.join(unique_name());
        let file = match File::options().write(true).create_new(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
            other => other.context("create", &path)?,
        };
        if let Ok(file) = Locked::try_shared(file).context("lock", &path)?
            && sys::is_at(&file, &path).context("look at", &path)?
        {
            break (path, file);
        }
        fs::remove_file(&path).ok();
    };
    let write = || -> io::Result<()> {
        (&*file).write_all(bytes)?;
        sys::set_mode(&file, mode)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&path, destination)
    };
    if let Err(e) = { write }() {
        fs::remove_file(&path).ok();
        return Err(Error::io("write", destination, e));
    }
    match destination.parent() {
        Some(directory) if durable => sys::sync_dir(directory).context("sync", directory),
        _ => Ok(()),
    }
}

/// Locks a leftover, so that nobody else takes it; `None` when its maker lives or it is gone.
pub(crate) fn claim(path: &Path) -> io::Result<Option<Locked>> {
    let file = match sys::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let locked = Locked::try_exclusive(file)?.ok();
    match locked {
        Some(file) if sys::is_at(&file, path)? => Ok(Some(file)),
        _ => Ok(None),
    }
}

/// The leftovers of processes that are gone.
pub(crate) fn leftovers(temp: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for item in fs::read_dir(temp).context("list", temp)? {
        let item = item.context("list", temp)?;
        let path = item.path();
        let kind = match item.file_type() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other.context("look at", &path)?,
        };
        // Only files and directories are ever made here.
        let regular = kind.is_file() || kind.is_dir();
        if !regular || claim(&path).context("lock", &path)?.is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Removes a leftover; says whether it was one still.
pub(crate) fn remove_leftover(path: &Path) -> Result<bool, Error> {
    let metadata = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.context("look at", path)?,
    };
    let removed = if metadata.is_dir() {
        match claim(path).context("lock", path)? {
            // Held until the directory is gone: nobody else begins to remove it.
            Some(_held) => fs::remove_dir_all(path),
            None => return Ok(false),
        }
    } else if metadata.is_file() {
        match claim(path).context("lock", path)? {
            Some(_held) => fs::remove_file(path),
            None => return Ok(false),
        }
    } else {
        fs::remove_file(path)
    };
    match removed {
        // Its maker, or another collection, removed it at the same time.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.context("remove", path).map(|()| true),
    }
}
