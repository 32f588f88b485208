//! Objects that are there.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use lithify_storage::Beneath;
use lithify_verity::file::{FileDigest, FileHasher, kernel};
use rustix::fs::{AtFlags, FileType, Mode, Stat, mkdirat, statat};
use rustix::io::Errno;

use crate::splitstream::Objects;

use super::error::ObjectError;
use super::handle::Repository;
use super::names::{OBJECTS, of_directory, of_object, parse_object};

/// Number of directories of objects.
pub(super) const DIRECTORIES: usize = 256;
/// Permissions of directories inside a repository.
pub(super) const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// An object that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its name.
    pub id: FileDigest,
    /// Its bytes.
    pub size: u64,
}

/// The directories of objects, opened when first needed.
#[derive(Debug)]
pub(super) struct Directories {
    top: OnceLock<Beneath>,
    below: Box<[OnceLock<Beneath>]>,
    /// Devices from whose files no clones can be made here.
    uncloned: Mutex<BTreeSet<u64>>,
}

impl Default for Directories {
    fn default() -> Self {
        Self {
            top: OnceLock::new(),
            below: (0..DIRECTORIES).map(|_| OnceLock::new()).collect(),
            uncloned: Mutex::default(),
        }
    }
}

impl Directories {
    pub(super) fn uncloned(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.uncloned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a directory, if it is there.
    pub(super) fn existing(
        &self,
        root: &Beneath,
        number: usize,
    ) -> Result<Option<&Beneath>, ObjectError> {
        if let Some(found) = self.below[number].get() {
            return Ok(Some(found));
        }
        let path = format!("{OBJECTS}/{}", of_directory(number));
        match root.directory(path) {
            Ok(found) => Ok(Some(self.below[number].get_or_init(|| found))),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Returns a directory, and makes it first if need be.
    pub(super) fn made(&self, root: &Beneath, number: usize) -> Result<&Beneath, ObjectError> {
        if let Some(found) = self.existing(root, number)? {
            return Ok(found);
        }
        make_directory(self.top(root)?, &of_directory(number))?;
        let found = self.existing(root, number)?;
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())
    }

    /// Returns the directory of all of them, and makes it first if need be.
    pub(super) fn top(&self, root: &Beneath) -> Result<&Beneath, ObjectError> {
        if let Some(top) = self.top.get() {
            return Ok(top);
        }
        make_directory(root, OBJECTS)?;
        let top = root.directory(OBJECTS)?;
        Ok(self.top.get_or_init(|| top))
    }
}

/// Makes a directory, unless it is there.
pub(super) fn make_directory(above: &Beneath, name: &str) -> io::Result<()> {
    match mkdirat(above.handle(), name, DIRECTORY_MODE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

impl Repository {
    /// Opens an object for reading. In a secure repository the kernel knows that it is what its
    /// name says; in an insecure one its bytes are to be compared by whoever reads them
    /// ([`read_object`](Self::read_object) does).
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn open_object(&self, id: &FileDigest) -> Result<File, ObjectError> {
        let file = self.object_file(id)?;
        if self.is_secure() {
            match kernel::measure(&file)? {
                Some(found) => same(id, &found)?,
                None => return Err(ObjectError::NotUnderVerity { id: Box::new(*id) }),
            }
        }
        Ok(file)
    }

    /// Returns the size of an object in bytes, if it is there.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn object_size(&self, id: &FileDigest) -> Result<Option<u64>, ObjectError> {
        if id.algorithm() == self.algorithm() {
            match self.object_stat(id) {
                Ok(Some(found)) if is_file(&found) => {
                    return Ok(u64::try_from(found.st_size).ok());
                }
                Ok(None) => return Ok(None),
                // Opening it says what is wrong.
                Ok(Some(_)) | Err(_) => {}
            }
        }
        match self.object_file(id) {
            Ok(file) => Ok(Some(file.metadata()?.len())),
            Err(ObjectError::Missing { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads a short object, and compares its bytes with its name.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn read_object(&self, id: &FileDigest, limit: u64) -> Result<Vec<u8>, ObjectError> {
        let file = self.open_object(id)?;
        let found = file.metadata()?.len();
        let too_long = |found| ObjectError::TooLong {
            id: Box::new(*id),
            found,
            limit,
        };
        if found > limit {
            return Err(too_long(found));
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(too_long(bytes.len() as u64));
        }
        let mut hasher = FileHasher::new(&self.file_options())?;
        hasher.update(&bytes);
        same(id, &hasher.finish())?;
        Ok(bytes)
    }

    /// Reads an object, and compares its bytes with its name.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn check_object(&self, id: &FileDigest) -> Result<(), ObjectError> {
        let file = self.open_object(id)?;
        same(id, &self.digest_of(&file)?)
    }

    /// Opens the directory of all objects, for the kernel to find them in.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn objects_directory(&self) -> Result<File, ObjectError> {
        let directory = self.root().directory(OBJECTS)?;
        Ok(File::from(directory.into_handle()))
    }

    /// Compares the bytes of an open object with its name, unless the kernel does whenever they are
    /// read.
    pub(super) fn check_opened(&self, id: &FileDigest, file: &File) -> Result<(), ObjectError> {
        if self.is_secure() {
            return Ok(());
        }
        let mut file = file;
        same(id, &self.digest_of(file)?)?;
        // Holes were looked for.
        file.rewind()?;
        Ok(())
    }

    /// Lists the objects in a directory of theirs, sorted, and the names that are none of an
    /// object.
    pub(super) fn list_objects(
        &self,
        number: usize,
    ) -> Result<(Vec<FileDigest>, Vec<std::ffi::OsString>), ObjectError> {
        let Some(directory) = self.objects.existing(self.root(), number)? else {
            return Ok((Vec::new(), Vec::new()));
        };
        let (mut objects, mut others) = (Vec::new(), Vec::new());
        for (name, _) in directory.list()? {
            let parsed = name.to_str();
            let parsed = parsed.and_then(|n| parse_object(self.algorithm(), number, n).ok());
            match parsed {
                Some(id) => objects.push(id),
                None => others.push(name),
            }
        }
        Ok((objects, others))
    }

    /// Calls `each` with every object, in the order of names.
    ///
    /// # Errors
    /// [`ObjectError`], or that of `each`.
    pub fn for_each_object<E: From<ObjectError>>(
        &self,
        mut each: impl FnMut(StoredObject) -> Result<(), E>,
    ) -> Result<(), E> {
        for number in 0..DIRECTORIES {
            self.cancel().check().map_err(ObjectError::from)?;
            for id in self.list_objects(number)?.0 {
                if let Some(size) = self.object_size(&id)? {
                    each(StoredObject { id, size })?;
                }
            }
        }
        Ok(())
    }

    /// Returns what the directory of objects says of the name of one; `None` if there is none.
    pub(super) fn object_stat(&self, id: &FileDigest) -> Result<Option<Stat>, ObjectError> {
        let (number, name) = of_object(id);
        let Some(directory) = self.objects.existing(self.root(), number)? else {
            return Ok(None);
        };
        match statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(io::Error::from(e).into()),
        }
    }

    /// Opens the file of an object, whatever is in it.
    pub(super) fn object_file(&self, id: &FileDigest) -> Result<File, ObjectError> {
        if id.algorithm() != self.algorithm() {
            return Err(ObjectError::Algorithm {
                expected: self.algorithm(),
                found: id.algorithm(),
            });
        }
        let missing = || ObjectError::Missing { id: Box::new(*id) };
        let (number, name) = of_object(id);
        let directory = self.objects.existing(self.root(), number)?;
        match directory.ok_or_else(missing)?.file(name) {
            Err(e) if e.is_not_found() => Err(missing()),
            opened => Ok(opened?),
        }
    }

    /// Computes the digest of a file by reading it, but for its holes.
    pub(super) fn digest_of(&self, file: &File) -> Result<FileDigest, ObjectError> {
        let hasher = FileHasher::new(&self.file_options())?;
        hasher.digest_of(file, self.cancel()).map_err(|e| {
            let stopped = self.cancel().check().map_err(ObjectError::from);
            stopped.err().unwrap_or_else(|| e.into())
        })
    }
}

/// Tells regular files.
pub(super) fn is_file(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
}

fn same(expected: &FileDigest, found: &FileDigest) -> Result<(), ObjectError> {
    match expected == found {
        true => Ok(()),
        false => Err(ObjectError::Damaged {
            expected: Box::new(*expected),
            found: Box::new(*found),
        }),
    }
}

impl Objects for Repository {
    type Reader = File;

    fn open(&self, id: &FileDigest) -> io::Result<File> {
        self.open_object(id).map_err(io::Error::other)
    }
}
