//! `partial/ALGORITHM-HEX`: the beginning of a blob, to be gone on with.
//!
//! Whoever writes to one holds a shared lock of it, from before its first byte until after it became a blob, so that
//! no one takes it for abandoned. That only one writes is the matter of another lock, [`BlobLock`](crate::lock::BlobLock).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lithify_digest::Digest;

use super::make_dir_once;
use crate::error::{Context as _, Error};
use crate::lock::{flat_name, from_flat_name};
use crate::lookup::is_odd;
use crate::scan::Bytes;
use crate::store::PARTIAL;
use crate::{Store, sys};
use lithify_storage::Locked;

/// Whether the beginning of a blob may have this name.
pub(crate) fn is_partial_name(name: &str) -> bool {
    from_flat_name(name).is_some()
}

/// Opens or makes the file, with the shared lock. The caller holds the blob's lock.
pub(super) fn open(store: &Store, digest: &Digest) -> Result<(Locked, PathBuf), Error> {
    let directory = store.at(PARTIAL);
    let path = directory.join(flat_name(digest));
    loop {
        let file = match sys::open_or_create(&path) {
            Ok(file) => file,
            // A store made by a lithify that did not keep blobs.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make_dir_once(&directory)?;
                continue;
            }
            Err(e) if is_odd(&e) => {
                fs::remove_file(&path).context("remove", &path)?;
                continue;
            }
            // Killed between making it read-only and giving it its name.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && make_writable(&path) => {
                continue;
            }
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        let metadata = file.metadata().context("look at", &path)?;
        // Another name would be someone else's, whose file this is.
        if !metadata.is_file() || metadata.nlink() > 1 {
            fs::remove_file(&path).context("remove", &path)?;
            continue;
        }
        sys::set_mode(&file, 0o600).context("set the mode of", &path)?;
        if let Ok(file) = Locked::try_shared(file).context("lock", &path)?
            && sys::is_at(&file, &path).context("look at", &path)?
        {
            return Ok((file, path));
        }
        // A collection looks at it or removes it.
        store.cancel.wait(Duration::from_millis(1))?;
    }
}

/// Whether a file that could not be opened may be now.
fn make_writable(path: &Path) -> bool {
    let Ok(file) = sys::open(path) else {
        return false;
    };
    let read_only = |m: fs::Metadata| m.mode() & 0o600 != 0o600;
    file.metadata().is_ok_and(read_only) && sys::set_mode(&file, 0o600).is_ok()
}

impl Store {
    /// Removes beginnings of blobs that nobody writes to and that were not written to within this time; gives their number and bytes.
    pub(crate) fn collect_partials(
        &self,
        older_than: Option<Duration>,
        dry_run: bool,
    ) -> Result<(u64, Bytes), Error> {
        let directory = self.at(PARTIAL);
        let (mut removed, mut bytes) = (0, Bytes::default());
        let items = match fs::read_dir(&directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((removed, bytes)),
            items => items.context("list", &directory)?,
        };
        let now = SystemTime::now();
        for item in items {
            self.cancel.check()?;
            let item = item.context("list", &directory)?;
            let path = item.path();
            if !item.file_name().to_str().is_some_and(is_partial_name) {
                continue;
            }
            let file = match sys::open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound || is_odd(&e) => continue,
                Err(e) => return Err(Error::io("open", &path, e)),
            };
            let metadata = file.metadata().context("look at", &path)?;
            let written = metadata.modified().context("look at", &path)?;
            let age = now.duration_since(written).unwrap_or_default();
            if !metadata.is_file() || older_than.is_some_and(|limit| age < limit) {
                continue;
            }
            let Ok(file) = Locked::try_exclusive(file).context("lock", &path)? else {
                continue;
            };
            if !sys::is_at(&file, &path).context("look at", &path)? {
                continue;
            }
            removed += 1;
            bytes.add(Bytes::of(&metadata));
            if dry_run {
                continue;
            }
            match fs::remove_file(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other.context("remove", &path)?,
            }
        }
        Ok((removed, bytes))
    }
}
