//! What a running process needs of the blobs, so that nobody collects it.
//!
//! A lease is a file that its process holds locked and that lists digests. A digest is entered while holding the shared
//! lock of `blobs/`, and only after that the blob is looked for; collection reads all leases and takes blobs away under
//! the exclusive lock of `blobs/`. So either collection sees the digest and leaves the blob, or the blob is gone when
//! it is looked for. The kernel drops the lock of the file with the process: a list nobody holds counts for nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use lithify_digest::{Digest, Mismatch};

use super::ingest::{Begun, Ingest};
use crate::error::{Context as _, Error};
use crate::lock::{BlobLock, BlobsLock, LEASE_PREFIX, OnWait, is_lease_name};
use crate::store::{BLOBS, LOCKS, TEMP};
use crate::temp::{publish, unique_name};
use crate::{Store, sys};
use lithify_storage::Locked;

/// Longest lease that is read, in bytes: a million digests.
const MAX_LEASE: usize = 128 << 20;

/// Blobs a process needs: those it asked for or puts through this value are not collected while it (or a clone) lives.
///
/// ```
/// use lithify_digest::{Algorithm, Digest};
/// use lithify_store::{Begun, OpenOptions, Store};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path().join("store");
/// let store = Store::open(directory, OpenOptions::new().create(true))?;
/// let lease = store.lease()?;
/// let layer = b"the bytes of a layer";
/// let digest = Digest::of(Algorithm::Sha256, layer);
/// if !lease.has(&digest, 20)? {
///     match lease.ingest(&digest, 20, None)? {
///         Begun::Complete => {} // another process was faster
///         Begun::Partial(mut blob) => {
///             // An earlier attempt may have left the beginning.
///             let rest = &layer[blob.offset() as usize..];
///             blob.append(rest)?;
///             blob.finish()?;
///         }
///     }
/// }
/// assert!(lease.open(&digest)?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    inner: Arc<Inner>,
    durable: bool,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    pins: Mutex<Pins>,
}

#[derive(Debug)]
struct Pins {
    /// The locked list and where it is; none where it could not be written.
    list: Option<(Locked, PathBuf)>,
    entered: BTreeSet<Digest>,
}

impl Store {
    /// Begins a lease of blobs. A store that is only read, and one whose disk is full, gives one that protects nothing:
    /// blobs can be read with it, and what is open stays readable.
    ///
    /// # Errors
    /// What the system said.
    pub fn lease(&self) -> Result<Lease, Error> {
        let list = match self.read_only() {
            true => None,
            false => match self.new_lease() {
                Err(Error::Full { .. }) => None,
                list => Some(list?),
            },
        };
        let pins = Mutex::new(Pins {
            list,
            entered: BTreeSet::new(),
        });
        Ok(Lease {
            inner: Arc::new(Inner {
                store: self.clone(),
                pins,
            }),
            durable: true,
        })
    }

    fn new_lease(&self) -> Result<(Locked, PathBuf), Error> {
        loop {
            let name = format!("{LEASE_PREFIX}{}.lock", unique_name());
            let path = self.at(LOCKS).join(name);
            let file = match File::options().append(true).create_new(true).open(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.context("create", &path)?,
            };
            // Whatever the umask: collection reads it.
            sys::ensure_mode(&file, 0o600).context("set the mode of", &path)?;
            // A collection may have taken it for a leftover already.
            if let Ok(file) = Locked::try_shared(file).context("lock", &path)?
                && sys::is_at(&file, &path).context("look at", &path)?
            {
                return Ok((file, path));
            }
            fs::remove_file(&path).ok();
        }
    }

    /// What living processes need; `None` when one of their lists cannot be understood. For those who hold the
    /// exclusive lock of `blobs/`: nobody enters anything meanwhile.
    pub(crate) fn leased(&self) -> Result<Option<BTreeSet<Digest>>, Error> {
        let locks = self.at(LOCKS);
        let mut all = BTreeSet::new();
        for item in fs::read_dir(&locks).context("list", &locks)? {
            let item = item.context("list", &locks)?;
            if !item.file_name().to_str().is_some_and(is_lease_name) {
                continue;
            }
            let path = item.path();
            let file = match sys::open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.context("open", &path)?,
            };
            let Err(file) = Locked::try_exclusive(file).context("lock", &path)? else {
                continue;
            };
            let Some(list) = sys::read_limited(file, MAX_LEASE).context("read", &path)? else {
                return Ok(None);
            };
            let digests: Option<Vec<Digest>> = std::str::from_utf8(&list)
                .ok()
                .and_then(|text| text.lines().map(|line| line.parse().ok()).collect());
            match digests {
                Some(digests) => all.extend(digests),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }
}

impl Lease {
    /// Whether blobs and the directories they are in are brought to the disk before they count as there. Default yes;
    /// without, a power cut can leave blobs of wrong bytes under their names.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Whether a blob of this size is there, from now on until the lease ends.
    ///
    /// # Errors
    /// What the system said.
    pub fn has(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        self.try_pin(digest)?;
        let found = self.store().has_blob(digest, size)?;
        if found {
            self.touch(digest);
        }
        Ok(found)
    }

    /// Opens a blob for reading; `None` if it is not there.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(&self, digest: &Digest) -> Result<Option<File>, Error> {
        self.try_pin(digest)?;
        self.store().open_blob(digest)
    }

    /// Puts a blob that is in memory: a manifest, an index, a config.
    ///
    /// # Errors
    /// [`Error::BlobMismatch`] when the bytes are not those of the digest, or what the system said.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let store = self.store();
        store.writable()?;
        Mismatch::of_digests(digest, &Digest::of(digest.algorithm(), bytes)).map_err(|source| {
            Error::BlobMismatch {
                digest: Box::new(*digest),
                source,
                resumed: 0,
            }
        })?;
        self.pin(digest)?;
        // One that is damaged is put again.
        if self.has(digest, bytes.len() as u64)?
            && let Some(file) = store.open_blob(digest)?
        {
            let path = store.blob_path(digest);
            let there = sys::read_limited(file, bytes.len()).context("read", &path)?;
            if there.as_deref() == Some(bytes) {
                return Ok(());
            }
        }
        store.make_blob_dir(digest)?;
        publish(
            &store.at(TEMP),
            &store.blob_path(digest),
            bytes,
            self.durable,
        )
    }

    /// Begins to write a blob of `size` bytes, from where an earlier attempt ended. Only one writes a blob: others wait,
    /// and find it complete or go on with it.
    ///
    /// # Errors
    /// [`Error::AbandonedBlob`] when `wait` broke; [`Error::ReadOnly`], or what else the system said.
    pub fn ingest(
        &self,
        digest: &Digest,
        size: u64,
        wait: Option<OnWait<'_>>,
    ) -> Result<Begun, Error> {
        let store = self.store();
        store.writable()?;
        self.pin(digest)?;
        if self.has(digest, size)? {
            return Ok(Begun::Complete);
        }
        let lock = BlobLock::acquire(&store.at(LOCKS), digest, wait, &store.cancel)?;
        if self.has(digest, size)? {
            return Ok(Begun::Complete);
        }
        let ingest = Ingest::begin(self.clone(), lock, digest, size, self.durable)?;
        Ok(Begun::Partial(Box::new(ingest)))
    }

    /// As [`pin`](Self::pin), for those who only read: that needs no room on the disk.
    fn try_pin(&self, digest: &Digest) -> Result<(), Error> {
        match self.pin(digest) {
            Err(Error::Full { .. }) => Ok(()),
            other => other,
        }
    }

    /// Enters a blob in the list, whether it is there or not.
    fn pin(&self, digest: &Digest) -> Result<(), Error> {
        let mut pins = self
            .inner
            .pins
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.store().read_only() {
            return Ok(());
        }
        let Pins { list, entered } = &mut *pins;
        let (file, path) = match list {
            Some(list) => list,
            None => list.insert(self.store().new_lease()?),
        };
        if entered.contains(digest) {
            return Ok(());
        }
        let _lock = BlobsLock::shared(&self.store().at(BLOBS), &self.store().cancel)?;
        let before = file.metadata().context("look at", path)?.len();
        if let Err(e) = (&**file).write_all(format!("{digest}\n").as_bytes()) {
            // Half a line would be taken for nonsense.
            file.set_len(before).context("write", path)?;
            return Err(Error::io("write", path, e));
        }
        entered.insert(*digest);
        Ok(())
    }

    /// Notes that a blob was used; nobody depends on it.
    fn touch(&self, digest: &Digest) {
        if self.store().read_only() {
            return;
        }
        if let Ok(Some(file)) = self.store().open_blob(digest) {
            file.set_modified(SystemTime::now()).ok();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let pins = self.pins.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((_locked, path)) = pins.list.take() {
            // A file that stays is collected later.
            fs::remove_file(&path).ok();
        }
    }
}
