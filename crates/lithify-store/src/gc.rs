//! Collection of what nobody needs.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{Context as _, Error};
use crate::scan::{Bytes, EntryInfo};
use crate::store::{LOCKS, QUARANTINE, TEMP};
use crate::temp::{leftovers, remove_leftover, unique_name};
use crate::{EntryId, Store, lock, sys};

/// What is collected.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct GcOptions {
    /// Only say what would be removed.
    pub dry_run: bool,
    /// Keep entries no image needs, the most recently used first, as long as all of them together have at most this
    /// many bytes.
    pub keep_bytes: Option<u64>,
    /// Keep entries that were used within this time.
    pub older_than: Option<Duration>,
    /// Remove what was quarantined too.
    pub quarantine: bool,
}

impl GcOptions {
    /// Everything no image needs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to only say what would be removed.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// How many bytes of entries no image needs to keep.
    #[must_use]
    pub fn keep_bytes(mut self, bytes: Option<u64>) -> Self {
        self.keep_bytes = bytes;
        self
    }

    /// How long entries are kept after their last use.
    #[must_use]
    pub fn older_than(mut self, age: Option<Duration>) -> Self {
        self.older_than = age;
        self
    }

    /// Whether to remove what was quarantined.
    #[must_use]
    pub fn quarantine(mut self, remove: bool) -> Self {
        self.quarantine = remove;
        self
    }
}

/// Why an entry was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kept {
    /// An image needs it.
    Referenced,
    /// A process uses it at the moment.
    InUse,
    /// [`GcOptions::keep_bytes`] or [`GcOptions::older_than`] say so.
    Recent,
}

/// What collection did, or would do.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct GcReport {
    /// Entries removed, least recently used first.
    pub removed: Vec<EntryInfo>,
    /// Bytes of those. Outputs that are links to them keep the disk's space.
    pub removed_bytes: Bytes,
    /// Entries kept, and why.
    pub kept: Vec<(EntryInfo, Kept)>,
    /// Files and directories dead processes left under construction, removed.
    pub leftovers: u64,
    /// Bytes of those.
    pub leftover_bytes: Bytes,
    /// Lock files of dead processes, removed.
    pub locks: u64,
    /// Quarantined things removed.
    pub quarantined: u64,
}

impl Store {
    /// Removes entries that no image needs and no process uses, and what dead processes left.
    ///
    /// Builds, exports and other collections may run at the same time.
    ///
    /// # Errors
    /// [`Error::Record`] when an image's record cannot be read: what it needs must not be removed.
    /// [`Error::ReadOnly`], or what else the system said.
    pub fn gc(&self, options: &GcOptions) -> Result<GcReport, Error> {
        if !options.dry_run {
            self.writable()?;
        }
        let mut report = GcReport::default();
        // Who records an image holds its entries meanwhile: either the record is read here, or they are in use.
        let lock = match self.read_only() {
            true => None,
            false => Some(self.lock_store()?),
        };
        let mut taken = Vec::new();
        for (entry, verdict) in self.judge(options)? {
            if let Some(kept) = verdict {
                report.kept.push((entry, kept));
                continue;
            }
            match self.take(entry.id, options.dry_run)? {
                Taken::InUse => report.kept.push((entry, Kept::InUse)),
                Taken::Gone => {}
                Taken::Removed(trash) => {
                    taken.extend(trash);
                    report.removed_bytes.add(entry.bytes);
                    report.removed.push(entry);
                }
            }
        }
        drop(lock);
        // Out of sight and locked: whether this process removes them or a later collection does is the same.
        for Trash { path, held } in taken {
            match fs::remove_dir_all(&path) {
                // Another collection took it for a leftover, and was faster.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                removed => removed.context("remove", &path)?,
            }
            drop(held);
        }
        self.sweep(options, &mut report)?;
        Ok(report)
    }

    /// Decides on every entry, the least recently used first; `None` is to be removed.
    fn judge(&self, options: &GcOptions) -> Result<Vec<(EntryInfo, Option<Kept>)>, Error> {
        let referenced = self.referenced()?;
        let mut entries = self.entries()?;
        entries.sort_by_key(|e| (std::cmp::Reverse(e.last_used), e.id));
        let now = SystemTime::now();
        let mut budget = options.keep_bytes.unwrap_or(0);
        let mut judged: Vec<_> = entries
            .into_iter()
            .map(|entry| {
                // A time in the future is recent.
                let age = now.duration_since(entry.last_used).unwrap_or_default();
                let verdict = if referenced.contains(&entry.id) {
                    Some(Kept::Referenced)
                } else if options.older_than.is_some_and(|limit| age < limit) {
                    Some(Kept::Recent)
                } else if let Some(rest) = budget.checked_sub(entry.bytes.apparent)
                    && options.keep_bytes.is_some()
                {
                    budget = rest;
                    Some(Kept::Recent)
                } else {
                    // Nothing older is kept in place of this one.
                    budget = 0;
                    None
                };
                (entry, verdict)
            })
            .collect();
        judged.reverse();
        Ok(judged)
    }

    /// Moves an entry out of sight, unless someone uses it.
    fn take(&self, id: EntryId, dry_run: bool) -> Result<Taken, Error> {
        let path = self.entry_path(id);
        let held = match sys::open_dir(&path) {
            Ok(held) => held,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Taken::Gone),
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        if !sys::try_lock(&held).context("lock", &path)? {
            return Ok(Taken::InUse);
        }
        if !sys::is_at(&held, &path).context("look at", &path)? {
            return Ok(Taken::Gone);
        }
        if dry_run {
            return Ok(Taken::Removed(None));
        }
        let trash = self.at(TEMP).join(unique_name());
        fs::rename(&path, &trash).context("remove", &path)?;
        Ok(Taken::Removed(Some(Trash { path: trash, held })))
    }

    /// Removes what is no entry.
    fn sweep(&self, options: &GcOptions, report: &mut GcReport) -> Result<(), Error> {
        if self.read_only() {
            return Ok(());
        }
        for path in leftovers(&self.at(TEMP))? {
            let bytes = tree_bytes(&path)?;
            if options.dry_run || remove_leftover(&path)? {
                report.leftovers += 1;
                report.leftover_bytes.add(bytes);
            }
        }
        report.locks = lock::collect(&self.at(LOCKS), options.dry_run)?;
        if options.quarantine {
            // Nobody puts anything there meanwhile.
            let _lock = self.lock_store()?;
            let quarantine = self.at(QUARANTINE);
            for item in fs::read_dir(&quarantine).context("list", &quarantine)? {
                let item = item.context("list", &quarantine)?;
                report.quarantined += 1;
                if options.dry_run {
                    continue;
                }
                let path = item.path();
                let removed = match item.file_type().context("look at", &path)?.is_dir() {
                    true => fs::remove_dir_all(&path),
                    false => fs::remove_file(&path),
                };
                match removed {
                    // Another collection was faster.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    other => other.context("remove", &path)?,
                }
            }
        }
        Ok(())
    }
}

enum Taken {
    InUse,
    Gone,
    Removed(Option<Trash>),
}

/// An entry moved to `tmp/`.
struct Trash {
    path: PathBuf,
    /// The exclusive lock: to others it is not a leftover yet.
    held: File,
}

/// Bytes of all files below a path; what vanishes meanwhile does not count.
pub(crate) fn tree_bytes(path: &Path) -> Result<Bytes, Error> {
    let mut bytes = Bytes::default();
    let mut open = vec![path.to_path_buf()];
    while let Some(path) = open.pop() {
        let metadata = match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other.context("look at", &path)?,
        };
        if !metadata.is_dir() {
            bytes.add(Bytes::of(&metadata));
            continue;
        }
        let items = match fs::read_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other.context("list", &path)?,
        };
        for item in items {
            open.push(item.context("list", &path)?.path());
        }
    }
    Ok(bytes)
}
