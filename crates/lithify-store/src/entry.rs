//! An entry in use.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Context as _, Error};
use crate::record::{EntryRecord, FileRecord};
use crate::stamp::{Stamp, Stamps, Verdict};
use crate::temp::publish;
use crate::{EntryId, Facts, Key, Store, record, sys};
use lithify_storage::Locked;

/// A complete entry that was found good or has just been made.
///
/// While the value (or a clone) lives, no collection removes the entry: the directory is locked, shared, until then
/// or until the process ends.
#[derive(Clone, Debug)]
pub struct Entry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    id: EntryId,
    record: EntryRecord,
    /// The entry's directory. Holds the shared lock.
    directory: Locked,
}

impl Entry {
    pub(crate) fn new(store: &Store, id: EntryId, record: EntryRecord, directory: Locked) -> Self {
        Self(Arc::new(Inner {
            store: store.clone(),
            id,
            record,
            directory,
        }))
    }

    /// The entry's name.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.0.id
    }

    /// What it is found by.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.0.record.key
    }

    /// All that is recorded of it.
    #[must_use]
    pub fn record(&self) -> &EntryRecord {
        &self.0.record
    }

    /// What the builder wanted to know again.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.0.record.facts
    }

    /// Its files, sorted by name.
    #[must_use]
    pub fn files(&self) -> &[FileRecord] {
        &self.0.record.files
    }

    /// What is recorded of one file.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`].
    pub fn file(&self, name: &str) -> Result<&FileRecord, Error> {
        let found = self.files().iter().find(|f| f.name == name);
        found.ok_or_else(|| Error::NoSuchFile {
            entry: self.id(),
            name: name.to_owned(),
            available: match self.files() {
                [] => "facts".to_owned(),
                files => files
                    .iter()
                    .map(|f| f.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            },
        })
    }

    /// Where a file is, for a mount or another program. Whoever uses it must not write to it.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`].
    pub fn path(&self, name: &str) -> Result<PathBuf, Error> {
        self.file(name)?;
        Ok(self.0.store.entry_path(self.id()).join(name))
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], or what the system said.
    pub fn open(&self, name: &str) -> Result<File, Error> {
        let path = self.path(name)?;
        sys::open_at(&self.0.directory, name).context("open", &path)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn directory(&self) -> &File {
        &self.0.directory
    }

    /// Records that a file was linked by this process, if nothing else happened to it.
    pub(crate) fn renew_stamp(&self, name: &str) -> Result<(), Error> {
        if self.0.store.read_only() {
            return Ok(());
        }
        let path = self.0.store.entry_path(self.id()).join(name);
        let Some(mut stamps) = read_stamps(&self.0.directory) else {
            return Ok(());
        };
        let metadata = self.open(name)?.metadata().context("look at", &path)?;
        let now = Stamp::of(&metadata);
        match stamps.files.get(name).map(|old| old.compare(&now)) {
            Some(Verdict::Linked) => {
                stamps.files.insert(name.to_owned(), now);
                write_stamps(&self.0.store, self.id(), &stamps, false)
            }
            _ => Ok(()),
        }
    }
}

/// The stamps of an entry, if there are any that can be believed.
pub(crate) fn read_stamps(directory: &File) -> Option<Stamps> {
    let file = sys::open_at(directory, record::STAMP).ok()?;
    let bytes = sys::read_limited(file, crate::stamp::MAX_STAMP).ok()??;
    Stamps::parse(&bytes).ok()
}

pub(crate) fn write_stamps(
    store: &Store,
    id: EntryId,
    stamps: &Stamps,
    durable: bool,
) -> Result<(), Error> {
    let bytes = stamps.to_bytes().map_err(|source| Error::Unrecordable {
        what: format!("entry {id}"),
        source,
    })?;
    let path = store.entry_path(id).join(record::STAMP);
    publish(&store.at(crate::store::TEMP), &path, &bytes, durable)
}
