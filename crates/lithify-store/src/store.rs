//! Opening and making a store.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lithify_cancel::CancelToken;
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Error};
use crate::lock::{Kind, StoreLock, lock_until};
use crate::record::unseal_version;
use crate::seal::{self, RecordError};
use crate::temp::{publish, publish_as};
use crate::{EntryId, sys};

/// The version of the store's layout this program reads and writes.
pub const STORE_VERSION: u64 = 1;

pub(crate) const VERSION_FILE: &str = "lithify-store.json";
pub(crate) const OCI_LAYOUT: &str = "oci-layout";
pub(crate) const OCI_INDEX: &str = "index.json";
pub(crate) const BLOBS: &str = "blobs";
pub(crate) const ARTIFACTS: &str = "artifacts";
pub(crate) const IMAGES: &str = "images";
pub(crate) const LOCKS: &str = "locks";
pub(crate) const TEMP: &str = "tmp";
pub(crate) const PARTIAL: &str = "partial";
pub(crate) const QUARANTINE: &str = "quarantine";

/// The directories, in the order in which they are made. `tmp` first: it tells an unfinished store from an image
/// layout of someone else's.
const DIRECTORIES: [&str; 8] = [
    TEMP,
    LOCKS,
    ARTIFACTS,
    IMAGES,
    QUARANTINE,
    BLOBS,
    "blobs/sha256",
    PARTIAL,
];

/// `oci-layout` of an image layout (image-spec, `image-layout.md`).
pub(crate) const EMPTY_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// `index.json` of an image layout without images.
pub(crate) const EMPTY_INDEX: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// What the store is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// To be used and changed; fails where it cannot be written.
    #[default]
    ReadWrite,
    /// To be used as far as it can be: hits where it cannot be written.
    Preferred,
    /// Never changed.
    ReadOnly,
}

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OpenOptions {
    /// What for.
    pub access: Access,
    /// Make the store if there is none.
    pub create: bool,
    /// Open it even if the file with its version is damaged, for [`Store::fsck`].
    pub repair: bool,
    /// How long the files of an entry are believed without being read, as long as the filesystem says that nobody wrote to
    /// them; `None` is for ever. Default [`RECHECK_AFTER`].
    pub recheck_after: Option<Duration>,
}

/// How long files are believed without being read if nothing else is said: a week. What a disk loses is found before it is
/// long gone, and what is used each day costs a read of it each week.
pub const RECHECK_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            access: Access::default(),
            create: false,
            repair: false,
            recheck_after: Some(RECHECK_AFTER),
        }
    }
}

impl OpenOptions {
    /// An existing store, to be read and written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the store is opened for.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Whether to make the store if there is none.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// How long files are believed without being read; `None` is for ever.
    #[must_use]
    pub fn recheck_after(mut self, after: Option<Duration>) -> Self {
        self.recheck_after = after;
        self
    }

    /// Whether to open it even if the file with its version is damaged.
    #[must_use]
    pub fn repair(mut self, repair: bool) -> Self {
        self.repair = repair;
        self
    }
}

/// A store of artifacts in a directory, shared by any number of processes.
#[derive(Clone, Debug)]
pub struct Store {
    root: Arc<PathBuf>,
    read_only: bool,
    pub(crate) recheck_after: Option<Duration>,
    pub(crate) cancel: CancelToken,
}

/// What `lithify-store.json` says. Every version keeps the form of the record and this member.
#[derive(Serialize, Deserialize)]
struct Version {
    version: u64,
}

impl Store {
    /// Opens the store at `path`, or makes one there.
    ///
    /// # Errors
    /// - [`Error::NoStore`]: none there, and [`OpenOptions::create`] is off.
    /// - [`Error::NotAStore`]: a directory with something else in it.
    /// - [`Error::NewerVersion`], [`Error::Version`]: a store this program cannot use.
    /// - [`Error::ReadOnly`], [`Error::Permission`]: it cannot be written, and has to be.
    /// - [`Error::Full`], [`Error::Io`]: the system said so.
    pub fn open(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self, Error> {
        Self::open_until(path, options, &CancelToken::new())
    }

    /// As [`open`](Self::open); whatever waits for another process, here and later, gives up when the work is stopped.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::Cancelled`].
    pub fn open_until(
        path: impl AsRef<Path>,
        options: OpenOptions,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let root = std::path::absolute(path).context("find", path)?;
        let mut store = Self {
            root: Arc::new(root),
            read_only: options.access == Access::ReadOnly,
            recheck_after: options.recheck_after,
            cancel: cancel.clone(),
        };
        match store.check_version() {
            Ok(()) => {}
            Err(VersionProblem::Missing) if store.read_only || !options.create => {
                return Err(store.no_store());
            }
            Err(VersionProblem::Missing) => store.create()?,
            Err(VersionProblem::Damaged(_)) if options.repair => {}
            Err(VersionProblem::Damaged(source)) => {
                return Err(Error::Version {
                    path: store.root.to_path_buf(),
                    source,
                });
            }
            Err(VersionProblem::Newer(found)) => {
                return Err(Error::NewerVersion {
                    path: store.root.to_path_buf(),
                    found,
                    known: STORE_VERSION,
                });
            }
            Err(VersionProblem::Io(e)) => return Err(e),
        }
        store.check_directories()?;
        if !store.read_only {
            match store.check_writable() {
                Err(Error::ReadOnly { .. } | Error::Permission { .. })
                    if options.access == Access::Preferred =>
                {
                    store.read_only = true;
                }
                other => other?,
            }
        }
        Ok(store)
    }

    /// Where the store is, as an absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Whether the store is only read: misses cannot be filled.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn entry_path(&self, id: EntryId) -> PathBuf {
        self.root.join(ARTIFACTS).join(id.hex())
    }

    pub(crate) fn writable(&self) -> Result<(), Error> {
        match self.read_only {
            true => Err(Error::ReadOnly {
                path: self.root.to_path_buf(),
            }),
            false => Ok(()),
        }
    }

    pub(crate) fn lock_store(&self) -> Result<StoreLock, Error> {
        StoreLock::acquire(&self.at(LOCKS), &self.cancel)
    }

    /// Refuses a store whose directories lead elsewhere: what is put there and removed there would not be the store's, and
    /// files could not be moved there in one step.
    fn check_directories(&self) -> Result<(), Error> {
        for name in DIRECTORIES.iter().chain(&["blobs/sha512"]) {
            let path = self.at(name);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_symlink() => return Err(Error::LinkedDirectory { path }),
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("look at", &path, e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<(), Error> {
        let temp = self.at(TEMP);
        rustix::fs::access(&temp, rustix::fs::Access::WRITE_OK)
            .map_err(io::Error::from)
            .context("write to", &temp)
    }

    fn no_store(&self) -> Error {
        match first_foreign(&self.root) {
            Ok(Some(found)) => Error::NotAStore {
                path: self.root.to_path_buf(),
                found,
            },
            _ => Error::NoStore {
                path: self.root.to_path_buf(),
            },
        }
    }

    /// Reads the file that says which version the store has.
    pub(crate) fn check_version(&self) -> Result<(), VersionProblem> {
        let path = self.at(VERSION_FILE);
        let file = match sys::open(&path) {
            Ok(file) => file,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound) => {
                return Err(VersionProblem::Missing);
            }
            Err(e) => return Err(VersionProblem::Io(Error::io("open", &path, e))),
        };
        let bytes = sys::read_limited(file, seal::MAX_RECORD)
            .map_err(|e| VersionProblem::Io(Error::io("read", &path, e)))?
            .ok_or(VersionProblem::Damaged(RecordError::TooLarge))?;
        match unseal_version::<Version>(&bytes, STORE_VERSION) {
            Ok(_) => Ok(()),
            Err(RecordError::Version { found, .. }) if found > STORE_VERSION => {
                Err(VersionProblem::Newer(found))
            }
            Err(e) => Err(VersionProblem::Damaged(e)),
        }
    }

    /// Makes what is missing of a store. Any number of processes may do so at once.
    fn create(&self) -> Result<(), Error> {
        let root = self.root.as_path();
        match root.parent() {
            Some(parent) => fs::create_dir_all(parent).context("create", parent)?,
            None => return Err(self.no_store()),
        }
        match sys::make_dir(root) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.context("create", root)?,
        }
        let handle = File::open(root).context("open", root)?;
        let _held = lock_until(handle, root, Kind::Exclusive, &self.cancel)?;
        match self.check_version() {
            // Another process made it while this one waited.
            Ok(()) => return Ok(()),
            Err(VersionProblem::Io(e)) => return Err(e),
            Err(_) => {}
        }
        if let Some(found) = first_foreign(root).context("list", root)? {
            return Err(Error::NotAStore {
                path: root.to_path_buf(),
                found,
            });
        }
        for name in DIRECTORIES {
            let path = self.at(name);
            match sys::make_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.context("create", &path)?,
            }
        }
        self.write_plain(OCI_INDEX, EMPTY_INDEX)?;
        self.write_plain(OCI_LAYOUT, EMPTY_LAYOUT)?;
        self.write_version()
    }

    pub(crate) fn write_plain(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.at(name);
        // Other tools write these two.
        publish_as(&self.at(TEMP), &path, bytes, 0o644, true)
    }

    /// Writes the file that makes a directory a store: last.
    pub(crate) fn write_version(&self) -> Result<(), Error> {
        let version = Version {
            version: STORE_VERSION,
        };
        let path = self.at(VERSION_FILE);
        let bytes = seal::seal(&version).map_err(|source| Error::Unrecordable {
            what: "the store".into(),
            source,
        })?;
        publish(&self.at(TEMP), &path, &bytes, true)
    }
}

/// Why a directory is not a store of this version.
#[derive(Debug)]
pub(crate) enum VersionProblem {
    Missing,
    Damaged(RecordError),
    Newer(u64),
    Io(Error),
}

/// Whether a store has something of this name at its top.
pub(crate) fn is_store_name(name: &OsStr) -> bool {
    [VERSION_FILE, OCI_LAYOUT, OCI_INDEX]
        .iter()
        .chain(&DIRECTORIES)
        .any(|known| *known == name)
}

/// Something that does not belong to a store whose making was interrupted, if there is any.
fn first_foreign(root: &Path) -> io::Result<Option<PathBuf>> {
    let mut first = None;
    let mut begun = false;
    for item in fs::read_dir(root)? {
        let name = item?.file_name();
        begun |= name == TEMP;
        if !is_store_name(&name) {
            return Ok(Some(name.into()));
        }
        first.get_or_insert(name);
    }
    Ok(match begun {
        true => None,
        false => first.map(PathBuf::from),
    })
}
