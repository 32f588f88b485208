//! All entries, as collection and accounting see them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

use crate::error::{Context as _, Error};
use crate::record::{self, EntryRecord};
use crate::store::ARTIFACTS;
use crate::{EntryId, Store, seal, sys};

/// Bytes of files, counted in two ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bytes {
    /// Their lengths.
    pub apparent: u64,
    /// What they take on the disk. Outputs that are links or clones take no more.
    pub on_disk: u64,
}

impl Bytes {
    pub(crate) fn add(&mut self, other: Self) {
        self.apparent = self.apparent.saturating_add(other.apparent);
        self.on_disk = self.on_disk.saturating_add(other.on_disk);
    }

    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            apparent: metadata.len(),
            // st_blocks counts units of 512 bytes (stat(3type)).
            on_disk: metadata.blocks().saturating_mul(512),
        }
    }
}

/// An entry as it stands in the store; its bytes were not looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EntryInfo {
    /// Its name.
    pub id: EntryId,
    /// What is recorded of it, unless the record is no good.
    pub record: Option<EntryRecord>,
    /// What its files take, records included.
    pub bytes: Bytes,
    /// When it was last found by a build, or made.
    pub last_used: SystemTime,
}

impl Store {
    /// All entries, sorted by name. Reads every record but no artifact.
    ///
    /// # Errors
    /// What the system said.
    pub fn entries(&self) -> Result<Vec<EntryInfo>, Error> {
        let artifacts = self.at(ARTIFACTS);
        let mut entries = Vec::new();
        for item in fs::read_dir(&artifacts).context("list", &artifacts)? {
            let name = item.context("list", &artifacts)?.file_name();
            let Some(id) = name.to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            if let Some(info) = self.entry_info(id)? {
                entries.push(info);
            }
        }
        entries.sort_by_key(|e| e.id);
        Ok(entries)
    }

    fn entry_info(&self, id: EntryId) -> Result<Option<EntryInfo>, Error> {
        let path = self.entry_path(id);
        // Entries come and go while they are listed.
        let gone = |e: &io::Error| {
            matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
        };
        let directory = match sys::open_dir(&path) {
            Ok(directory) => directory,
            Err(e) if gone(&e) || crate::lookup::is_odd(&e) => return Ok(None),
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        let metadata = directory.metadata().context("look at", &path)?;
        let record = sys::open_at(&directory, record::RECORD)
            .ok()
            .and_then(|file| sys::read_limited(file, seal::MAX_RECORD).ok().flatten())
            .and_then(|bytes| EntryRecord::parse(&bytes, id).ok());
        let mut bytes = Bytes::default();
        let items = match fs::read_dir(&path) {
            Ok(items) => items,
            Err(e) if gone(&e) => return Ok(None),
            Err(e) => return Err(Error::io("list", &path, e)),
        };
        for item in items {
            match item.context("list", &path)?.metadata() {
                Ok(metadata) if metadata.is_file() => bytes.add(Bytes::of(&metadata)),
                Ok(_) => {}
                Err(e) if gone(&e) => {}
                Err(e) => return Err(Error::io("look at", &path, e)),
            }
        }
        Ok(Some(EntryInfo {
            id,
            record,
            bytes,
            last_used: metadata.modified().context("look at", &path)?,
        }))
    }
}
