//! Bringing objects to the disk before links lead to them.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lithify_cancel::Cancelled;
use lithify_verity::file::FileDigest;
use rustix::fs::{fsync, syncfs};
use rustix::io::retry_on_intr;

use super::error::ObjectError;
use super::handle::Repository;
use super::names::{OBJECTS, of_object};

/// Objects that are brought to the disk one by one. For more, one call for the whole filesystem is faster, although it waits for
/// what others wrote too.
const EACH_MAX: usize = 16;

/// The objects that this process wrote, or found and does not know to be on the disk.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    objects: Mutex<Objects>,
    /// Had while objects are brought to the disk: who publishes meanwhile waits, since they may be theirs.
    working: Mutex<()>,
}

#[derive(Debug)]
enum Objects {
    Few(BTreeSet<FileDigest>),
    Many,
}

impl Default for Objects {
    fn default() -> Self {
        Self::Few(BTreeSet::new())
    }
}

impl Unsynced {
    /// Notes an object.
    pub(super) fn note(&self, id: FileDigest) {
        let mut objects = self.objects();
        if let Objects::Few(few) = &mut *objects {
            few.insert(id);
            if few.len() > EACH_MAX {
                *objects = Objects::Many;
            }
        }
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    /// Brings all objects that were noted to the disk.
    pub(super) fn sync_objects(&self) -> Result<(), ObjectError> {
        if !self.is_synced() {
            return Ok(());
        }
        let working = self.unsynced.working.lock();
        let working = working.unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *self.unsynced.objects());
        let done = match &taken {
            Objects::Few(few) if few.is_empty() => Ok(()),
            Objects::Few(few) => self.sync_each(few),
            Objects::Many => sync_all(self),
        };
        if done.is_err() {
            *self.unsynced.objects() = Objects::Many;
        }
        drop(working);
        done
    }

    fn sync_each(&self, ids: &BTreeSet<FileDigest>) -> Result<(), ObjectError> {
        let mut directories = BTreeSet::new();
        for id in ids {
            self.cancel().check()?;
            let file = self.object_file(id)?;
            retry_on_intr(|| fsync(&file)).map_err(io::Error::from)?;
            directories.insert(of_object(id).0);
        }
        for number in directories {
            let Some(directory) = self.objects.existing(self.root(), number)? else {
                continue;
            };
            retry_on_intr(|| fsync(directory.handle())).map_err(io::Error::from)?;
        }
        let objects = self.root().directory(OBJECTS)?;
        retry_on_intr(|| fsync(objects.handle())).map_err(io::Error::from)?;
        retry_on_intr(|| fsync(self.root().handle())).map_err(io::Error::from)?;
        Ok(())
    }
}

/// Brings all of the filesystem to the disk.
fn sync_all(repository: &Repository) -> Result<(), ObjectError> {
    let handle = repository.root().handle().try_clone_to_owned()?;
    let synced = repository
        .cancel()
        .detached("syncfs", None, move || retry_on_intr(|| syncfs(&handle)))?;
    match synced {
        Ok(synced) => Ok(synced.map_err(io::Error::from)?),
        Err(_) => Err(Cancelled.into()),
    }
}
