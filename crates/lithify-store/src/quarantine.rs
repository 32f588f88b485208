//! What is damaged or does not belong is set aside, not deleted: someone may want to know what happened to it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Error};
use crate::store::QUARANTINE;
use crate::temp::unique_name;
use crate::{Store, sys};

/// Moves something of the store to `quarantine/ID/`, under the path it had. `None` when it is gone already, or another
/// than the one that was `open`.
pub(crate) fn quarantine(
    store: &Store,
    path: &Path,
    open: Option<&File>,
) -> Result<Option<PathBuf>, Error> {
    // Nothing else that takes entries away runs meanwhile, and nothing can be published over one.
    let _lock = store.lock_store()?;
    quarantine_locked(store, path, open)
}

/// As [`quarantine`], for those who hold the lock of the store.
pub(crate) fn quarantine_locked(
    store: &Store,
    path: &Path,
    open: Option<&File>,
) -> Result<Option<PathBuf>, Error> {
    if let Some(open) = open
        && !sys::is_at(open, path).context("look at", path)?
    {
        return Ok(None);
    }
    let relative = path.strip_prefix(store.path()).unwrap_or(path);
    let id = store.at(QUARANTINE).join(unique_name());
    let to = id.join(relative);
    let mut directory = id.clone();
    sys::make_dir(&directory).context("create", &directory)?;
    for part in relative.parent().into_iter().flat_map(Path::components) {
        directory.push(part);
        sys::make_dir(&directory).context("create", &directory)?;
    }
    match fs::rename(path, &to) {
        Ok(()) => Ok(Some(to)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::remove_dir_all(&id).ok();
            Ok(None)
        }
        Err(e) => {
            fs::remove_dir_all(&id).ok();
            Err(Error::io("set aside", path, e))
        }
    }
}
