//! Opening and creating repositories.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use lithify_cancel::CancelToken;
use lithify_storage::temporary::NewFile;
use lithify_storage::{Beneath, Locked};
use lithify_verity::file::kernel::{self, KernelError};
use lithify_verity::file::{FileAlgorithm, FileOptions};
use rustix::fs::{Mode, fchmod, fsync};

use super::error::{MetadataError, OpenError, ReadOnly};
use super::lock::{self, Kind, Unlocked};
use super::meta::{self, Metadata};
use super::names::OBJECTS;
use super::objects::Directories;
use super::sync::Unsynced;
use super::tally::Counters;

/// Permissions of a repository's directory, and of `meta.json` and objects.
const DIRECTORY_MODE: u32 = 0o700;
pub(super) const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// A repository.
///
/// It has a shared lock of the directory as long as it is open. Threads may write to one at the
/// same time.
#[derive(Debug)]
pub struct Repository {
    root: Beneath,
    metadata: Metadata,
    is_secure: bool,
    options: OpenOptions,
    pub(super) objects: Directories,
    pub(super) unsynced: Unsynced,
    pub(super) counters: Counters,
    /// Always there but while a collection has the other one.
    lock: Option<Locked>,
}

/// The ways in which a repository is used.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    trust: bool,
    sync: bool,
    cancel: CancelToken,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            trust: false,
            sync: true,
            cancel: CancelToken::new(),
        }
    }
}

impl OpenOptions {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an object that is there already as good if its size is right, without comparing bytes.
    /// Off by default. In a secure repository the kernel knows, and this means nothing.
    #[must_use]
    pub fn trust(mut self, trust: bool) -> Self {
        self.trust = trust;
        self
    }

    /// Waits until what is published is on the disk. On by default; without it a power cut may
    /// leave links to nothing.
    #[must_use]
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Stops work when the token is used.
    #[must_use]
    pub fn cancel(mut self, cancel: &CancelToken) -> Self {
        self.cancel = cancel.clone();
        self
    }
}

/// The use of fs-verity in a repository that is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerityMode {
    /// Objects are under fs-verity; where that cannot be, no repository is created.
    Require,
    /// Objects are under fs-verity where that can be.
    #[default]
    IfPossible,
    /// Objects are plain files.
    Off,
}

/// The properties of a repository that is created.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Algorithm and formats.
    pub metadata: Metadata,
    /// The use of fs-verity.
    pub verity: VerityMode,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            metadata: Metadata::new(FileAlgorithm::Sha256),
            verity: VerityMode::default(),
        }
    }
}

impl Repository {
    /// Opens a repository. While another process collects, it is waited for.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let root = Beneath::open(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => OpenError::Missing {
                path: path.to_path_buf(),
            },
            _ => io_error(path, e),
        })?;
        Self::open_in(root, options)
    }

    /// Creates a repository in a directory that is empty or does not exist, or opens the one that
    /// is there, if it has these properties.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn create(
        path: impl AsRef<Path>,
        create: &CreateOptions,
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let made = DirBuilder::new().mode(DIRECTORY_MODE).create(path);
        let is_made = match made {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let path = path.to_path_buf();
                return Err(OpenError::NoParent { path });
            }
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io_error(path, e)),
            made => made.is_ok(),
        };
        let created = Self::create_in(path, create, options);
        if created.is_err() && is_made {
            // Somebody else may have made a repository of it meanwhile; the first error is the one to report.
            std::fs::remove_dir(path).ok();
        }
        created
    }

    fn create_in(
        path: &Path,
        create: &CreateOptions,
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        let root = Beneath::open(path).map_err(|e| io_error(path, e))?;
        match root.file(meta::FILE) {
            Err(e) if e.is_not_found() => {}
            _ => return Self::open_created(root, create, options),
        }
        let io = |e| io_error(path, e);
        let listed = root.list().map_err(io)?;
        if listed.iter().any(|(name, _)| name == OBJECTS) {
            return Err(OpenError::Old {
                path: path.to_path_buf(),
            });
        }
        let is_free = |name: &std::ffi::OsStr| {
            name == "lost+found"
                || name == meta::FILE
                || lithify_storage::temporary::is_temporary(name)
        };
        if !listed.iter().all(|(name, _)| is_free(name)) {
            return Err(OpenError::NotEmpty {
                path: path.to_path_buf(),
            });
        }
        write_metadata(&root, create)?;
        // Somebody else may have been faster.
        Self::open_created(root, create, options)
    }

    fn open_created(
        root: Beneath,
        create: &CreateOptions,
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        let opened = Self::open_in(root, options)?;
        let path = opened.path().to_path_buf();
        let wanted = &create.metadata;
        let other = |expected: String, found: String| OpenError::Other {
            path: path.clone(),
            expected,
            found,
        };
        let found = &opened.metadata;
        if found.algorithm != wanted.algorithm {
            return Err(other(
                wanted.algorithm.to_string(),
                found.algorithm.to_string(),
            ));
        }
        let formats = |m: &Metadata| {
            let list: Vec<String> = m.formats().map(|f| f.to_string()).collect();
            format!("images of format {}", list.join(", "))
        };
        if formats(found) != formats(wanted) {
            return Err(other(formats(wanted), formats(found)));
        }
        let verity = |is_secure: bool| match is_secure {
            true => "fs-verity".to_owned(),
            false => "no fs-verity".to_owned(),
        };
        match (create.verity, opened.is_secure) {
            (VerityMode::Require, false) | (VerityMode::Off, true) => {
                Err(other(verity(!opened.is_secure), verity(opened.is_secure)))
            }
            _ => Ok(opened),
        }
    }

    fn open_in(root: Beneath, options: &OpenOptions) -> Result<Self, OpenError> {
        let path = root.path().to_path_buf();
        let locked = lock::take(&root, Kind::Shared, true, &options.cancel);
        let lock = locked.map_err(|e| match e {
            Unlocked::Cancelled(e) => OpenError::Cancelled(e),
            Unlocked::Io(e) => io_error(&path, e),
            Unlocked::InUse => io_error(&path, io::ErrorKind::WouldBlock.into()),
        })?;
        let file = match root.file(meta::FILE) {
            Ok(file) => file,
            Err(e) if e.is_not_found() => {
                let is_old = root.directory(OBJECTS).is_ok();
                return Err(match is_old {
                    true => OpenError::Old { path },
                    false => OpenError::NotARepository { path },
                });
            }
            Err(e) => return Err(io_error(&path, e.into())),
        };
        let json = root.read(meta::FILE, meta::BYTES_MAX);
        let json = json.map_err(|e| io_error(&path, e.into()))?;
        let metadata = Metadata::parse(&json);
        let metadata = metadata.map_err(|source| OpenError::Metadata {
            path: path.clone(),
            source,
        })?;
        let measured = kernel::measure(&file);
        let measured = measured.map_err(|source| OpenError::Verity { path, source })?;
        Ok(Self {
            is_secure: measured.is_some(),
            objects: Directories::default(),
            unsynced: Unsynced::default(),
            counters: Counters::default(),
            options: options.clone(),
            lock: Some(lock),
            metadata,
            root,
        })
    }

    /// Returns the path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Returns its properties.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns the algorithm of the names of its objects.
    #[must_use]
    pub fn algorithm(&self) -> FileAlgorithm {
        self.metadata.algorithm
    }

    /// Tells whether all objects are under fs-verity.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Checks that the repository may be written to.
    ///
    /// # Errors
    /// [`ReadOnly`].
    pub fn check_writable(&self) -> Result<(), ReadOnly> {
        match self.metadata.unknown_features.as_slice() {
            [] => Ok(()),
            features => Err(ReadOnly::Features {
                features: features.to_vec(),
            }),
        }
    }

    pub(super) fn root(&self) -> &Beneath {
        &self.root
    }

    pub(super) fn file_options(&self) -> FileOptions {
        FileOptions::new(self.metadata.algorithm)
    }

    /// Returns the token that stops work in the repository.
    #[must_use]
    pub fn cancel(&self) -> &CancelToken {
        &self.options.cancel
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.options.trust
    }

    pub(super) fn is_synced(&self) -> bool {
        self.options.sync
    }

    /// Works with the exclusive lock. Nobody else, in this process or another, has the repository
    /// open meanwhile.
    pub(super) fn exclusively<T, E: From<Unlocked>>(
        &mut self,
        is_waiting: bool,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.lock = None;
        let done = lock::take(&self.root, Kind::Exclusive, is_waiting, self.cancel())
            .map_err(E::from)
            .and_then(|exclusive| {
                let done = work(self);
                drop(exclusive);
                done
            });
        // Whatever became of the work, others are kept from removing what is written from now on.
        self.lock = Some(lock::take(
            &self.root,
            Kind::Shared,
            true,
            &CancelToken::new(),
        )?);
        done
    }
}

/// Writes `meta.json`, unless it is there.
fn write_metadata(root: &Beneath, create: &CreateOptions) -> Result<(), OpenError> {
    let path = root.path();
    let io = |e: io::Error| io_error(path, e);
    let metadata = |source: MetadataError| OpenError::Metadata {
        path: path.to_path_buf(),
        source,
    };
    let json = create.metadata.to_json().map_err(metadata)?;
    let mut new = NewFile::create(root.handle()).map_err(io)?;
    new.file().as_ref().write_all(&json).map_err(io)?;
    fchmod(new.file(), FILE_MODE).map_err(|e| io(e.into()))?;
    new.file().sync_all().map_err(io)?;
    if create.verity != VerityMode::Off {
        new = new.read_only().map_err(io)?;
        let options = FileOptions::new(create.metadata.algorithm);
        match (enable(new.file(), &options), create.verity) {
            (Err(KernelError::Unsupported(_)), VerityMode::IfPossible) | (Ok(()), _) => {}
            (Err(source), _) => {
                let path = path.to_path_buf();
                return Err(OpenError::Verity { path, source });
            }
        }
    }
    new.keep(meta::FILE).map_err(io)?;
    fsync(root.handle()).map_err(|e| io(e.into()))
}

/// Attempts to put a file under fs-verity while another thread's child has it open for a moment.
const BUSY_ATTEMPTS: u32 = 50;

/// Puts a file, opened for reading, under fs-verity. What this process had open for writing may
/// still be open in a child that another thread just forked; that is waited for.
pub(super) fn enable(file: &File, options: &FileOptions) -> Result<(), KernelError> {
    for _ in 0..BUSY_ATTEMPTS {
        match kernel::enable(file, options) {
            Err(KernelError::Busy) => std::thread::sleep(std::time::Duration::from_millis(20)),
            result => return result,
        }
    }
    kernel::enable(file, options)
}

fn io_error(path: impl Into<PathBuf>, source: io::Error) -> OpenError {
    let path = path.into();
    OpenError::Io { path, source }
}
