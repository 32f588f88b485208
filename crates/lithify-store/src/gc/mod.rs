//! Collection of what nobody needs.

mod blobs; // of images
mod report; // what came of it

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lithify_digest::Digest;

use crate::error::{Context as _, Error};
use crate::names::Entries;
use crate::record::RECORD;
use crate::scan::{Bytes, EntryInfo};
use crate::store::{LOCKS, QUARANTINE, TEMP};
use crate::temp::{leftovers, remove_leftover, unique_name};
use crate::{BlobInfo, EntryId, Store, lock, sys};
use lithify_storage::Locked;

use blobs::BlobTrash;
pub use report::{GcOptions, GcReport, Kept};

impl Store {
    /// Removes entries and blobs that no image needs and no process uses, and what dead processes left.
    ///
    /// Builds, pulls, exports and other collections may run at the same time.
    ///
    /// # Errors
    /// [`Error::Record`], [`Error::Index`], [`Error::Manifest`] when an image's record, the list of images or the manifest of
    /// one cannot be read: what it needs must not be removed, and nothing is. [`Error::Cancelled`] when the work was
    /// stopped: what was taken by then is gone or a leftover, and the store is whole. [`Error::ReadOnly`], or what else
    /// the system said.
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
        let judged = self.judge(options, &self.needed_blobs(false)?)?;
        let mut unlisted = Ok(());
        if !options.dry_run && !self.read_only() {
            unlisted = self.forget_referrers();
            if !matches!(unlisted, Ok(()) | Err(Error::Full { .. })) {
                return unlisted.map(|()| report);
            }
        }
        let taken = self.take_all(judged, options, &mut report)?;
        let is_full = unlisted.is_err();
        if !is_full {
            drop(lock);
            self.empty(taken)?;
            self.sweep(options, &mut report)?;
            return Ok(report);
        }
        // The list needs room that what is collected makes.
        self.empty(taken)?;
        self.forget_referrers()?;
        drop(lock);
        self.sweep(options, &mut report)?;
        Ok(report)
    }

    /// Removes what nobody needs once `entries` are the list of images, on a disk too full to write that list. For those
    /// who hold the lock of the store. Killed before it is written, an image is left that lacks parts, and can be removed again.
    pub(crate) fn make_room(&self, entries: &Entries) -> Result<(), Error> {
        let options = GcOptions::default();
        let judged = self.judge(&options, &self.needed_with(entries)?)?;
        let mut report = GcReport::default();
        let taken = self.take_all(judged, &options, &mut report)?;
        self.empty(taken)?;
        self.sweep(&options, &mut report)
    }

    /// Moves out of sight what is judged so and not in use. For those who hold the lock of the store.
    fn take_all(
        &self,
        (entries, blobs): (Judged<EntryInfo>, Judged<BlobInfo>),
        options: &GcOptions,
        report: &mut GcReport,
    ) -> Result<(Vec<Trash>, Vec<BlobTrash>), Error> {
        let blobs = self.take_blobs(blobs, options.dry_run, report)?;
        let mut taken = Vec::new();
        for (entry, verdict) in entries {
            self.cancel.check()?;
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
        Ok((taken, blobs))
    }

    /// Removes what is out of sight. It is locked: whether this process does or a later collection is the same.
    fn empty(&self, (entries, blobs): (Vec<Trash>, Vec<BlobTrash>)) -> Result<(), Error> {
        for Trash { path, held } in entries {
            self.cancel.check()?;
            match fs::remove_dir_all(&path) {
                // Another collection took it for a leftover, and was faster.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                removed => removed.context("remove", &path)?,
            }
            drop(held);
        }
        for blob in blobs {
            self.cancel.check()?;
            blob.remove()?;
        }
        Ok(())
    }

    /// Decides on every entry and blob, the least recently used first; `None` is to be removed.
    fn judge(
        &self,
        options: &GcOptions,
        needed: &BTreeSet<Digest>,
    ) -> Result<(Judged<EntryInfo>, Judged<BlobInfo>), Error> {
        let referenced = self.referenced()?;
        let entries = self.entries()?.into_iter().map(|entry| Candidate {
            referenced: referenced.contains(&entry.id),
            last_used: entry.last_used,
            bytes: entry.bytes.apparent,
            what: What::Entry(Box::new(entry)),
        });
        let blobs = self.blobs_needed(needed)?;
        let blobs = blobs.into_iter().map(|(blob, referenced)| Candidate {
            referenced,
            last_used: blob.last_used,
            bytes: blob.bytes.apparent,
            what: What::Blob(blob),
        });
        let mut all: Vec<_> = entries.chain(blobs).collect();
        all.sort_by_key(|c| (std::cmp::Reverse(c.last_used), c.what.name()));
        let (mut entries, mut blobs) = (Vec::new(), Vec::new());
        let mut judge = Judge::new(options);
        for candidate in all {
            let verdict = judge.verdict(&candidate);
            match candidate.what {
                What::Entry(entry) => entries.push((*entry, verdict)),
                What::Blob(blob) => blobs.push((blob, verdict)),
            }
        }
        entries.reverse();
        blobs.reverse();
        Ok((entries, blobs))
    }

    /// Moves an entry out of sight, unless someone uses it.
    fn take(&self, id: EntryId, dry_run: bool) -> Result<Taken, Error> {
        let path = self.entry_path(id);
        let held = match sys::open_dir(&path) {
            Ok(held) => held,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Taken::Gone),
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        let Ok(held) = Locked::try_exclusive(held).context("lock", &path)? else {
            return Ok(Taken::InUse);
        };
        if !sys::is_at(&held, &path).context("look at", &path)? {
            return Ok(Taken::Gone);
        }
        if dry_run {
            return Ok(Taken::Removed(None));
        }
        let trash = self.at(TEMP).join(unique_name());
        match fs::rename(&path, &trash).context("remove", &path) {
            Ok(()) => Ok(Taken::Removed(Some(Trash { path: trash, held }))),
            // A directory may have no room for one more name; where it is, it can be removed as well: without its record first,
            // it is no entry.
            Err(Error::Full { .. }) => {
                let record = path.join(RECORD);
                match fs::remove_file(&record) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.context("remove", &record)?,
                }
                Ok(Taken::Removed(Some(Trash { path, held })))
            }
            Err(e) => Err(e),
        }
    }

    /// Removes what is no entry.
    fn sweep(&self, options: &GcOptions, report: &mut GcReport) -> Result<(), Error> {
        if self.read_only() {
            return Ok(());
        }
        (report.partials, report.partial_bytes) =
            self.collect_partials(options.older_than, options.dry_run)?;
        for path in leftovers(&self.at(TEMP))? {
            self.cancel.check()?;
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
                self.cancel.check()?;
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

/// Things, and why each is kept.
type Judged<T> = Vec<(T, Option<Kept>)>;

/// Something that may be collected.
struct Candidate {
    referenced: bool,
    last_used: SystemTime,
    bytes: u64,
    what: What,
}

enum What {
    Entry(Box<EntryInfo>),
    Blob(BlobInfo),
}

impl What {
    /// Orders what was used at the same time.
    fn name(&self) -> String {
        match self {
            Self::Entry(entry) => entry.id.hex(),
            Self::Blob(blob) => blob.digest.hex(),
        }
    }
}

/// Decides what is kept, asked in order of last use.
struct Judge<'a> {
    options: &'a GcOptions,
    now: SystemTime,
    /// Bytes that may still be kept for nobody.
    budget: u64,
}

impl<'a> Judge<'a> {
    fn new(options: &'a GcOptions) -> Self {
        Self {
            options,
            now: SystemTime::now(),
            budget: options.keep_bytes.unwrap_or(0),
        }
    }

    fn verdict(&mut self, candidate: &Candidate) -> Option<Kept> {
        // A time in the future is recent.
        let age = self.now.duration_since(candidate.last_used);
        let age = age.unwrap_or_default();
        if candidate.referenced {
            Some(Kept::Referenced)
        } else if self.options.older_than.is_some_and(|limit| age < limit) {
            Some(Kept::Recent)
        } else if let Some(rest) = self.budget.checked_sub(candidate.bytes)
            && self.options.keep_bytes.is_some()
        {
            self.budget = rest;
            Some(Kept::Recent)
        } else {
            // Nothing older is kept in place of this one.
            self.budget = 0;
            None
        }
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
    held: Locked,
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
