//! Finding an entry, and finding it good.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lithify_cancel::CancelToken;
use lithify_digest::Digest;
use lithify_escape::Escaped;

use crate::entry::{read_stamps, write_stamps};
use crate::error::{Context as _, Error};
use crate::quarantine::quarantine;
use crate::record::{self, EntryRecord, FileRecord};
use crate::seal::{self, RecordError};
use crate::stamp::{Stamp, Stamps, Verdict};
use crate::{Entry, EntryId, Key, Store, sys};
use lithify_storage::Locked;

/// What was found for a key.
#[derive(Debug)]
#[non_exhaustive]
pub enum Lookup {
    /// A good entry.
    Hit(Entry),
    /// None.
    Miss,
    /// One that is damaged, and out of the way where the store can be written.
    Damaged(Box<Damage>),
}

impl Lookup {
    /// The entry, if there is a good one.
    #[must_use]
    pub fn entry(self) -> Option<Entry> {
        match self {
            Self::Hit(entry) => Some(entry),
            Self::Miss | Self::Damaged(_) => None,
        }
    }
}

/// A damaged entry, as found when it was to be used.
#[derive(Debug)]
#[non_exhaustive]
pub struct Damage {
    /// The entry.
    pub entry: EntryId,
    /// What is wrong.
    pub defect: Defect,
    /// Where it was put, if the store can be written.
    pub quarantined: Option<PathBuf>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stored artifact {} is damaged: {}",
            self.entry, self.defect
        )
    }
}

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// There is no record.
    #[error("its record is missing")]
    NoRecord,
    /// The record is no good.
    #[error("its record is no good: {0}")]
    Record(RecordError),
    /// A file is not there.
    #[error("its file `{file}` is missing", file = Escaped::path(.file))]
    Missing {
        /// The file.
        file: String,
    },
    /// Something that is not a regular file has the file's name.
    #[error("its file `{file}` is not a regular file", file = Escaped::path(.file))]
    NotAFile {
        /// The file.
        file: String,
    },
    /// A file is too short or too long.
    #[error("its file `{file}` has {found} bytes, recorded are {expected}", file = Escaped::path(.file))]
    Size {
        /// The file.
        file: String,
        /// Its recorded length.
        expected: u64,
        /// The length found.
        found: u64,
    },
    /// The disk does not give a file's bytes.
    #[error("its file `{file}` cannot be read: {source}", file = Escaped::path(.file))]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file has other bytes.
    #[error("its file `{file}` has digest {found}, recorded is {expected}", file = Escaped::path(.file))]
    Content {
        /// The file.
        file: String,
        /// Its recorded digest.
        expected: Digest,
        /// The digest found.
        found: Digest,
    },
}

/// A file could not be checked, or is no good.
pub(crate) enum Failure {
    Defect(Box<Defect>),
    Error(Error),
}

impl From<Defect> for Failure {
    fn from(defect: Defect) -> Self {
        Self::Defect(Box::new(defect))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Store {
    /// The entry of this key, if there is a good one: [`Store::look_up`] for those who do not ask further.
    ///
    /// # Errors
    /// As [`Store::look_up`].
    pub fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        Ok(self.look_up(key)?.entry())
    }

    /// Looks for the entry of this key.
    ///
    /// A file that looks as it did when it was last known to be good is good; any other is read and compared with its
    /// digest, and so is every file that was not read for [`OpenOptions::recheck_after`](crate::OpenOptions::recheck_after). What is damaged is moved to `quarantine/`, so that it can be built anew.
    ///
    /// # Errors
    /// What the system said. A damaged entry is not an error.
    pub fn look_up(&self, key: &Key) -> Result<Lookup, Error> {
        self.look_up_id(key.id())
    }

    /// As [`Store::look_up`], for an entry an image's record names.
    ///
    /// # Errors
    /// As [`Store::look_up`].
    pub fn look_up_id(&self, id: EntryId) -> Result<Lookup, Error> {
        let directory = match self.lease_entry(id) {
            Ok(Some(directory)) => directory,
            Ok(None) => return Ok(Lookup::Miss),
            // A file or link where a directory should be.
            Err(Error::Io { source, .. })
                if is_odd(&source) || source.kind() == io::ErrorKind::NotADirectory =>
            {
                return self.set_aside(id, Defect::NoRecord, None);
            }
            Err(e) => return Err(e),
        };
        match self.check(id, &directory, Depth::Changed) {
            Ok(record) => {
                // When the entry was last used; nobody depends on it.
                let now = rustix::fs::Timestamps {
                    last_access: rustix::fs::Timespec {
                        tv_sec: 0,
                        tv_nsec: rustix::fs::UTIME_OMIT,
                    },
                    last_modification: rustix::fs::Timespec {
                        tv_sec: 0,
                        tv_nsec: rustix::fs::UTIME_NOW,
                    },
                };
                if !self.read_only() {
                    rustix::fs::futimens(&*directory, &now).ok();
                }
                Ok(Lookup::Hit(Entry::new(self, id, record, directory)))
            }
            Err(Failure::Error(e)) => Err(e),
            Err(Failure::Defect(defect)) => self.set_aside(id, *defect, Some(&directory)),
        }
    }

    /// Moves a damaged entry out of the way, if that can be done.
    fn set_aside(
        &self,
        entry: EntryId,
        defect: Defect,
        open: Option<&File>,
    ) -> Result<Lookup, Error> {
        let quarantined = match self.read_only() {
            true => None,
            false => match quarantine(self, &self.entry_path(entry), open) {
                // It is not handed out, which is what matters.
                Err(Error::Full { .. } | Error::ReadOnly { .. } | Error::Permission { .. }) => None,
                other => other?,
            },
        };
        Ok(Lookup::Damaged(Box::new(Damage {
            entry,
            defect,
            quarantined,
        })))
    }

    /// Opens an entry's directory and takes a shared lock of it, which keeps it from being collected.
    pub(crate) fn lease_entry(&self, id: EntryId) -> Result<Option<Locked>, Error> {
        let path = self.entry_path(id);
        loop {
            let directory = match sys::open_dir(&path) {
                Ok(directory) => directory,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(Error::io("open", &path, e)),
            };
            let locked = Locked::try_shared(directory).context("lock", &path)?;
            let directory: &File = match &locked {
                Ok(locked) => locked,
                Err(file) => file,
            };
            if sys::is_at(directory, &path).context("look at", &path)? {
                if let Ok(locked) = locked {
                    return Ok(Some(locked));
                }
                // Whoever has it exclusively is about to move it away, or only looks whether it could.
                self.cancel.wait(Duration::from_millis(1))?;
            }
        }
    }

    /// Checks a leased entry.
    pub(crate) fn check(
        &self,
        id: EntryId,
        directory: &File,
        depth: Depth,
    ) -> Result<EntryRecord, Failure> {
        let path = self.entry_path(id);
        let record = read_record(directory, id, &path)?;
        let stamps = read_stamps(directory);
        let mut depth = depth;
        // Where nothing can be noted, everything would be read each time; that store is for its owner to check.
        if let Some(after) = self.recheck_after
            && depth == Depth::Changed
            && !self.read_only()
            && stamps
                .as_ref()
                .is_some_and(|s| s.is_due(record.created, sys::now(), after))
        {
            log::debug!("{id}: it is read again, to be sure of it");
            depth = Depth::All { renew: true };
        }
        let mut current = Stamps {
            checked: match (depth, &stamps) {
                (Depth::Changed, Some(stamps)) => stamps.checked,
                // Then everything is read.
                (Depth::Changed, None) | (Depth::All { .. }, _) => Some(sys::now()),
            },
            ..Stamps::default()
        };
        for file in &record.files {
            let old = stamps.as_ref().and_then(|s| s.files.get(&file.name));
            let stamp = check_file(directory, file, old, depth, &path, &self.cancel)?;
            current.files.insert(file.name.clone(), stamp);
        }
        let stale = stamps.as_ref() != Some(&current);
        if stale && depth.renews() && !self.read_only() {
            match write_stamps(self, id, &current, false) {
                // The next look costs as much as this one did; that is all.
                Ok(())
                | Err(Error::Full { .. } | Error::ReadOnly { .. } | Error::Permission { .. }) => {}
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(record)
    }
}

/// How closely an entry is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Files that may have changed are read; stamps are renewed.
    Changed,
    /// All files are read; stamps are renewed if told so.
    All { renew: bool },
}

impl Depth {
    fn renews(self) -> bool {
        matches!(self, Self::Changed | Self::All { renew: true })
    }
}

fn read_record(directory: &File, id: EntryId, path: &Path) -> Result<EntryRecord, Failure> {
    let path = path.join(record::RECORD);
    let file = match sys::open_at(directory, record::RECORD) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::from(Defect::NoRecord));
        }
        Err(e) if is_odd(&e) => return Err(Failure::from(Defect::Record(RecordError::Form))),
        Err(e) => return Err(Error::io("open", &path, e).into()),
    };
    if !file.metadata().context("look at", &path)?.is_file() {
        return Err(Failure::from(Defect::Record(RecordError::Form)));
    }
    let bytes = sys::read_limited(file, seal::MAX_RECORD).context("read", &path)?;
    let bytes = bytes.ok_or(Failure::from(Defect::Record(RecordError::TooLarge)))?;
    EntryRecord::parse(&bytes, id).map_err(|e| Failure::from(Defect::Record(e)))
}

/// A symbolic link, or a socket: nothing the store ever made.
pub(crate) fn is_odd(error: &io::Error) -> bool {
    let odd = [rustix::io::Errno::LOOP, rustix::io::Errno::NXIO];
    odd.iter()
        .any(|e| Some(e.raw_os_error()) == error.raw_os_error())
}

fn check_file(
    directory: &File,
    recorded: &FileRecord,
    old: Option<&Stamp>,
    depth: Depth,
    path: &Path,
    cancel: &CancelToken,
) -> Result<Stamp, Failure> {
    let name = || recorded.name.clone();
    let path = path.join(&recorded.name);
    let file = match sys::open_at(directory, &recorded.name) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::from(Defect::Missing { file: name() }));
        }
        Err(e) if is_odd(&e) => return Err(Failure::from(Defect::NotAFile { file: name() })),
        Err(e) => return Err(Error::io("open", &path, e).into()),
    };
    let metadata = file.metadata().context("look at", &path)?;
    if !metadata.is_file() {
        return Err(Failure::from(Defect::NotAFile { file: name() }));
    }
    let wrong_size = |found| {
        Failure::from(Defect::Size {
            file: name(),
            expected: recorded.size,
            found,
        })
    };
    if metadata.len() != recorded.size {
        return Err(wrong_size(metadata.len()));
    }
    let stamp = Stamp::of(&metadata);
    let cheap =
        depth == Depth::Changed && old.is_some_and(|old| old.compare(&stamp) != Verdict::Unknown);
    if !cheap {
        if matches!(depth, Depth::All { .. }) {
            // What memory holds was right when it was read; the question is what the disk holds. Where it cannot be forgotten,
            // it is read as it is.
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).ok();
        }
        let (size, found) = match sys::sha256(&file, cancel) {
            Ok(both) => both,
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                return Err(Failure::from(Defect::Unreadable {
                    file: name(),
                    source: e,
                }));
            }
            Err(e) => return Err(Error::io("read", &path, e).into()),
        };
        if found != recorded.sha256 {
            return Err(Failure::from(Defect::Content {
                file: name(),
                expected: recorded.sha256,
                found,
            }));
        }
        if size != recorded.size {
            return Err(wrong_size(size));
        }
        // The stamp is from before the bytes were read: a write meanwhile makes it differ from the file's next one.
    }
    Ok(stamp)
}

/// Whether an entry of this name is there.
pub(crate) fn exists(store: &Store, id: EntryId) -> bool {
    fs::symlink_metadata(store.entry_path(id)).is_ok_and(|m| m.is_dir())
}
