//! Bringing objects to the disk before links lead to them.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use lithify_cancel::Cancelled;
use lithify_verity::file::FileDigest;
use rustix::fs::{fsync, syncfs};
use rustix::io::retry_on_intr;

use super::error::ObjectError;
use super::handle::Repository;
use super::names::{OBJECTS, of_object};

/// Objects that are brought to the disk one by one. For more, one call for the whole filesystem is
/// faster, although it waits for what others wrote too.
const EACH_MAX: usize = 16;

/// Bytes written after which they are sent to the disk while more are written, so that the last
/// sync waits for little.
const SEND_AFTER: u64 = 128 << 20;

/// The objects that this process wrote, or found and does not know to be on the disk.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Bytes written since something was sent to the disk.
    written: AtomicU64,
    /// Set while a thread sends.
    is_sending: Arc<AtomicBool>,
    objects: Mutex<Objects>,
    /// Had while objects are brought to the disk: who publishes meanwhile waits, since they may be
    /// theirs.
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

    /// Counts bytes written; says whether it is time to send them to the disk, and nobody does.
    fn is_due(&self, bytes: u64) -> bool {
        let written = self.written.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let is_due = written >= SEND_AFTER && !self.is_sending.swap(true, Ordering::AcqRel);
        if is_due {
            self.written.store(0, Ordering::Relaxed);
        }
        is_due
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    /// Notes that an object of so many bytes was written.
    pub(super) fn wrote(&self, bytes: u64) {
        if self.is_synced() && self.unsynced.is_due(bytes) {
            let sent = self.send();
            // Only the wait is longer then: what is published is brought to the disk anyway.
            if sent.is_err() {
                self.unsynced.is_sending.store(false, Ordering::Release);
            }
        }
    }

    /// Sends what was written to the disk, on a thread that nobody waits for.
    fn send(&self) -> io::Result<()> {
        let handle = self.root().handle().try_clone_to_owned()?;
        let is_sending = Arc::clone(&self.unsynced.is_sending);
        thread::Builder::new()
            .name("send".to_owned())
            .spawn(move || {
                // As above.
                retry_on_intr(|| syncfs(&handle)).ok();
                drop(handle);
                is_sending.store(false, Ordering::Release);
            })?;
        Ok(())
    }

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
        done.map_err(ObjectError::of_writing)
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
