//! An entry under construction.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lithify_digest::Digest;

use crate::error::{Context as _, Error};
use crate::record::{self, EntryRecord, FileRecord, RECORD_VERSION, is_file_name};
use crate::stamp::{Stamp, Stamps, settle};
use crate::store::{ARTIFACTS, LOCKS, TEMP};
use crate::temp::TempDir;
use crate::{Entry, Facts, Key, KeyLock, Lookup, OnWait, Store, sys};

/// An entry under construction: a private directory on the store's filesystem.
///
/// Nothing of it can be found in the store before [`Pending::commit`], which makes it visible as a whole. Dropping it
/// removes it; if the process is killed, collection does.
#[derive(Debug)]
pub struct Pending {
    store: Store,
    /// The right to the key, which may be known only once the entry is built.
    lock: Option<KeyLock>,
    directory: TempDir,
    digests: BTreeMap<String, Digest>,
}

/// How [`Store::get_or_build`] came to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was there, or another process built it meanwhile.
    Reused,
    /// The caller's function built it.
    Built,
}

impl Store {
    /// Waits for the right to build the entry of this key.
    ///
    /// Whoever gets it should look once more whether the entry is there by now, or use [`Store::get_or_build`].
    /// To hold several at once, take them with [`Store::lock_all`].
    ///
    /// # Errors
    /// [`Error::ReadOnly`], or what the system said.
    pub fn lock(&self, key: &Key) -> Result<KeyLock, Error> {
        self.lock_with(key, None)
    }

    /// As [`Store::lock`], telling `on_wait` every few milliseconds that it has to wait.
    ///
    /// # Errors
    /// [`Error::Abandoned`] when `on_wait` breaks, else as [`Store::lock`].
    pub fn lock_with(&self, key: &Key, on_wait: Option<OnWait<'_>>) -> Result<KeyLock, Error> {
        self.writable()?;
        KeyLock::acquire(&self.at(LOCKS), key, on_wait, &self.cancel)
    }

    /// Locks several keys, in an order that is the same for all: processes that need some of the same never wait for
    /// each other in a circle. Equal keys give one lock.
    ///
    /// # Errors
    /// As [`Store::lock_with`].
    pub fn lock_all<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a Key>,
        mut on_wait: Option<OnWait<'_>>,
    ) -> Result<Vec<KeyLock>, Error> {
        let sorted: BTreeMap<_, _> = keys.into_iter().map(|k| (k.id(), k)).collect();
        let mut locks = Vec::new();
        for key in sorted.into_values() {
            let on_wait: Option<OnWait<'_>> = match &mut on_wait {
                Some(f) => Some(&mut **f),
                None => None,
            };
            locks.push(self.lock_with(key, on_wait)?);
        }
        Ok(locks)
    }

    /// Begins to build the entry of a locked key.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::ReadOnly`], or what else the system said.
    pub fn insert(&self, lock: KeyLock) -> Result<Pending, Error> {
        let mut pending = self.begin()?;
        pending.lock = Some(lock);
        Ok(pending)
    }

    /// Begins to build an entry whose key depends on what it becomes: [`Pending::commit_as`] tells it.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::ReadOnly`], or what else the system said.
    pub fn begin(&self) -> Result<Pending, Error> {
        self.writable()?;
        Ok(Pending {
            store: self.clone(),
            lock: None,
            directory: TempDir::new(&self.at(TEMP))?,
            digests: BTreeMap::new(),
        })
    }

    /// The entry of this key: found, waited for, or built by `build`, which writes the files and returns the facts.
    ///
    /// ```
    /// use std::io::Write as _;
    ///
    /// use lithify_digest::{Algorithm, Digest};
    /// use lithify_store::{Error, Facts, Input, InputKind, Key, OpenOptions, Origin, Store};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// let store = Store::open(directory.path().join("store"), OpenOptions::new().create(true))?;
    /// let digest = Digest::of(Algorithm::Sha256, b"a layer");
    /// let key = Key::new(Input { kind: InputKind::DiffId, digest }, "erofs-layer", "1")?;
    /// for expected in [Origin::Built, Origin::Reused] {
    ///     let (entry, origin) = store.get_or_build::<Error>(&key, None, |pending| {
    ///         let mut file = pending.create("layer.erofs")?;
    ///         file.write_all(b"an image").unwrap();
    ///         Ok(Facts::new())
    ///     })?;
    ///     assert_eq!(origin, expected);
    ///     assert_eq!(entry.file("layer.erofs")?.size, 8);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `build`, and the store's.
    pub fn get_or_build<E: From<Error>>(
        &self,
        key: &Key,
        on_wait: Option<OnWait<'_>>,
        build: impl FnOnce(&mut Pending) -> Result<Facts, E>,
    ) -> Result<(Entry, Origin), E> {
        if let Some(entry) = self.get(key)? {
            return Ok((entry, Origin::Reused));
        }
        let lock = self.lock_with(key, on_wait)?;
        if let Some(entry) = self.get(key)? {
            return Ok((entry, Origin::Reused));
        }
        let mut pending = self.insert(lock)?;
        let facts = build(&mut pending)?;
        Ok((pending.commit(facts)?, Origin::Built))
    }
}

impl Pending {
    /// The key of what is being built, if it is known.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.lock.as_ref().map(KeyLock::key)
    }

    /// Makes a file of the entry, for reading and writing. It must not be written any more once the entry is
    /// committed.
    ///
    /// # Errors
    /// [`Error::FileName`] for a name it may not have, or what the system said (also when the file exists).
    pub fn create(&self, name: &str) -> Result<File, Error> {
        let path = self.path(name)?;
        sys::create_at(self.directory.handle(), name).context("create", &path)
    }

    /// Where a file of the entry is while it is built, for programs that write it by name.
    ///
    /// # Errors
    /// [`Error::FileName`] for a name it may not have.
    pub fn path(&self, name: &str) -> Result<PathBuf, Error> {
        match is_file_name(name) {
            true => Ok(self.directory.path().join(name)),
            false => Err(Error::FileName {
                name: name.to_owned(),
            }),
        }
    }

    /// A file without a name on the store's filesystem, for data that has to wait.
    ///
    /// # Errors
    /// What the system said.
    pub fn scratch(&self) -> Result<File, Error> {
        let name = ".scratch";
        let path = self.directory.path().join(name);
        let file = sys::create_at(self.directory.handle(), name).context("create", &path)?;
        fs::remove_file(&path).context("remove", &path)?;
        Ok(file)
    }

    /// Tells the digest of a file's final bytes, which saves reading it again. It is believed.
    pub fn set_sha256(&mut self, name: &str, digest: Digest) {
        self.digests.insert(name.to_owned(), digest);
    }

    /// Makes the entry visible: all regular files of the directory, on the disk, read-only, with their record.
    ///
    /// # Errors
    /// [`Error::NotAFile`], [`Error::FileName`] or [`Error::Changed`] when the directory is not as it should be,
    /// [`Error::Unrecordable`] for facts without end, [`Error::NoKey`] for an entry begun without one, [`Error::Full`],
    /// or what else the system said. Nothing of the entry is visible then.
    pub fn commit(mut self, facts: Facts) -> Result<Entry, Error> {
        let lock = self.lock.take().ok_or(Error::NoKey)?;
        self.commit_as(lock, facts)
    }

    /// Makes the entry visible under a key that is locked.
    ///
    /// # Errors
    /// As [`Pending::commit`].
    pub fn commit_as(mut self, lock: KeyLock, facts: Facts) -> Result<Entry, Error> {
        let mut files = Vec::new();
        let mut stamps = Stamps::default();
        for name in self.names()? {
            let (file, stamp) = self.finish(name)?;
            stamps.files.insert(file.name.clone(), stamp);
            files.push(file);
        }
        let record = EntryRecord {
            created: sys::now(),
            facts,
            files,
            key: lock.key().clone(),
            version: RECORD_VERSION,
        };
        let id = record.key.id();
        let unrecordable = |source| Error::Unrecordable {
            what: format!("entry {id}"),
            source,
        };
        let bytes = record.to_bytes().map_err(unrecordable)?;
        self.write(record::RECORD, &bytes)?;
        self.write(record::STAMP, &stamps.to_bytes().map_err(unrecordable)?)?;
        let temporary = self.directory.path().to_path_buf();
        self.directory
            .handle()
            .sync_all()
            .context("sync", &temporary)?;

        let artifacts = self.store.at(ARTIFACTS);
        let path = self.store.entry_path(id);
        while let Err(e) = self.directory.rename(&path) {
            let occupied = [
                io::ErrorKind::DirectoryNotEmpty,
                io::ErrorKind::AlreadyExists,
                io::ErrorKind::NotADirectory,
            ];
            if !occupied.contains(&e.kind()) {
                return Err(Error::io("publish", &path, e));
            }
            // The lock of the key keeps others from building it, not from restoring a copy by hand.
            match self.store.look_up(lock.key())? {
                Lookup::Hit(entry) => return Ok(entry),
                Lookup::Miss => {}
                Lookup::Damaged(d) if d.quarantined.is_some() => {}
                Lookup::Damaged(_) => return Err(Error::io("publish", &path, e)),
            }
        }
        sys::sync_dir(&artifacts).context("sync", &artifacts)?;
        // The shared lock of the directory goes over to the entry: it never was without.
        let directory = self.directory.into_handle();
        Ok(Entry::new(&self.store, id, record, directory))
    }

    /// The names in the directory, sorted.
    fn names(&self) -> Result<Vec<String>, Error> {
        let path = self.directory.path();
        let mut names = Vec::new();
        for item in fs::read_dir(path).context("list", path)? {
            let name = item.context("list", path)?.file_name();
            match name.to_str() {
                Some(name) if is_file_name(name) => names.push(name.to_owned()),
                _ => {
                    return Err(Error::FileName {
                        name: name.to_string_lossy().into_owned(),
                    });
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// Brings one file to the disk and takes its digest.
    fn finish(&self, name: String) -> Result<(FileRecord, Stamp), Error> {
        let path = self.directory.path().join(&name);
        let not_a_file = || Error::NotAFile { path: path.clone() };
        let metadata = fs::symlink_metadata(&path).context("look at", &path)?;
        // A second name would be someone else's, who may write to it.
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Err(not_a_file());
        }
        let file = sys::open_at(self.directory.handle(), &name).context("open", &path)?;
        settle(&file).context("set the mode of", &path)?;
        let before = file.metadata().context("look at", &path)?;
        let known = self.digests.get(&name).copied();
        // The disk is busy while the processor takes the digest.
        let (synced, hashed) = std::thread::scope(|scope| {
            let sync = scope.spawn(|| file.sync_all());
            let hashed = match known {
                Some(digest) => Ok((before.len(), digest)),
                None => sys::sha256(&file, &self.store.cancel),
            };
            let synced = sync
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the syncing thread panicked")));
            (synced, hashed)
        });
        synced.context("sync", &path)?;
        let (size, sha256) = hashed.context("read", &path)?;
        let after = file.metadata().context("look at", &path)?;
        let stamp = Stamp::of(&after);
        if stamp != Stamp::of(&before) || size != after.len() {
            return Err(Error::Changed { path });
        }
        Ok((FileRecord { name, sha256, size }, stamp))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path: &Path = &self.directory.path().join(name);
        let mut file = sys::create_at(self.directory.handle(), name).context("create", path)?;
        file.write_all(bytes).context("write", path)?;
        sys::set_mode(&file, 0o444).context("set the mode of", path)?;
        file.sync_all().context("sync", path)
    }
}
