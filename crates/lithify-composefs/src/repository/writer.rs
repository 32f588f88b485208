//! Storing objects.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;

use lithify_storage::temporary::NewFile;
use lithify_verity::file::{FileDigest, FileHasher, kernel};
use rustix::fs::{Mode, fchmod, fstat};

use super::error::ObjectError;
use super::handle::{FILE_MODE, Repository, enable};
use super::names::of_object;

/// Bytes up to which an object waits in memory: if it turns out to be there already, nothing is
/// written.
const MEMORY: usize = 128 << 10;
/// Bytes of the shortest hole that is kept as one.
const HOLE_MIN: u64 = 4096;

/// An object being written. Dropped before its end, it leaves nothing.
///
/// Its digest is computed as bytes pass. Objects up to 128 KiB wait in memory, longer ones are
/// files without a name.
#[derive(Debug)]
pub struct ObjectWriter<'a> {
    repository: &'a Repository,
    hasher: FileHasher,
    content: Content,
}

/// The place of a new object's bytes.
#[derive(Debug)]
enum Content {
    Memory(Vec<u8>),
    /// With as many bytes as the hasher saw, but for a hole at the end.
    File(NewFile),
    /// A clone of a file, of which the hasher sees the bytes.
    Clone(NewFile),
}

/// The way in which an object came to be in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was written.
    New,
    /// It was there, and is what its name says.
    Existing,
    /// A damaged file had its name, and is replaced.
    Replaced,
}

/// An object that is in the repository now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub id: FileDigest,
    /// Its bytes.
    pub size: u64,
    /// The way it came there.
    pub outcome: Outcome,
}

impl Repository {
    /// Starts an object.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn write_object(&self) -> Result<ObjectWriter<'_>, ObjectError> {
        self.check_writable()?;
        Ok(ObjectWriter {
            repository: self,
            hasher: FileHasher::new(&self.file_options())?,
            content: Content::Memory(Vec::new()),
        })
    }

    /// Stores bytes as an object.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn store_object(&self, bytes: &[u8]) -> Result<Stored, ObjectError> {
        self.check_writable()?;
        self.cancel().check()?;
        let mut hasher = FileHasher::new(&self.file_options())?;
        hasher.update(bytes);
        let stored = self.keep_bytes(bytes, hasher.finish());
        stored.map_err(ObjectError::of_writing)
    }

    /// Stores bytes as the object that they are.
    fn keep_bytes(&self, bytes: &[u8], id: FileDigest) -> Result<Stored, ObjectError> {
        let size = bytes.len() as u64;
        let outcome = match self.compare(&id, size, Some(bytes))? {
            Existing::Good => self.noted(id, size, Outcome::Existing),
            existing => {
                let (number, _) = of_object(&id);
                let directory = self.objects.made(self.root(), number)?;
                let new = NewFile::create(directory.handle())?;
                write_at(new.file(), bytes, 0)?;
                self.name_object(new, id, size, existing)?
            }
        };
        Ok(Stored { id, size, outcome })
    }

    /// Starts the file of an object that is too long for memory.
    pub(super) fn new_object_file(&self) -> Result<NewFile, ObjectError> {
        let directory = self.objects.top(self.root());
        let directory = directory.map_err(ObjectError::of_writing)?;
        NewFile::create(directory.handle()).map_err(ObjectError::Store)
    }

    /// Gives a file, of which all bytes are written, the name of its digest; compares with what has
    /// that name already.
    pub(super) fn keep_object(
        &self,
        new: NewFile,
        id: FileDigest,
        size: u64,
    ) -> Result<Outcome, ObjectError> {
        match self.compare(&id, size, None)? {
            Existing::Good => Ok(self.noted(id, size, Outcome::Existing)),
            existing => {
                let named = self.name_object(new, id, size, existing);
                named.map_err(ObjectError::of_writing)
            }
        }
    }

    /// Gives a file the name of its digest, in place of what is damaged.
    fn name_object(
        &self,
        new: NewFile,
        id: FileDigest,
        size: u64,
        existing: Existing,
    ) -> Result<Outcome, ObjectError> {
        let (number, name) = of_object(&id);
        let directory = self.objects.made(self.root(), number)?;
        let new = self.sealed(new, &id)?;
        self.wrote(size);
        if existing == Existing::Damaged {
            let replaced = new.replace_in(directory.handle(), name);
            replaced.map_err(|e| match e.kind() {
                io::ErrorKind::IsADirectory => ObjectError::Directory { id: Box::new(id) },
                _ => e.into(),
            })?;
            return Ok(self.noted(id, size, Outcome::Replaced));
        }
        match new.keep_in(directory.handle(), name)? {
            true => Ok(self.noted(id, size, Outcome::New)),
            // Somebody was faster; everybody checks what they write.
            false => Ok(self.noted(id, size, Outcome::Existing)),
        }
    }

    /// Finishes a file: nothing is written to it any more.
    fn sealed(&self, new: NewFile, id: &FileDigest) -> Result<NewFile, ObjectError> {
        // With the usual umask it has them already, and looking is cheaper than a change that is written to the journal.
        let found = fstat(new.file()).map_err(io::Error::from)?;
        if Mode::from_raw_mode(found.st_mode) != FILE_MODE {
            fchmod(new.file(), FILE_MODE).map_err(io::Error::from)?;
        }
        if !self.is_secure() {
            return Ok(new);
        }
        let new = new.read_only()?;
        enable(new.file(), &self.file_options())?;
        match kernel::measure(new.file())? {
            Some(found) if found == *id => Ok(new),
            Some(found) => Err(ObjectError::Damaged {
                expected: Box::new(*id),
                found: Box::new(found),
            }),
            None => Err(ObjectError::NotUnderVerity { id: Box::new(*id) }),
        }
    }

    fn noted(&self, id: FileDigest, size: u64, outcome: Outcome) -> Outcome {
        self.unsynced.note(id);
        self.counters.count(outcome, size);
        outcome
    }

    /// Compares what has the name of an object with the object: with its bytes, if they are at
    /// hand.
    fn compare(
        &self,
        id: &FileDigest,
        size: u64,
        bytes: Option<&[u8]>,
    ) -> Result<Existing, ObjectError> {
        let file = match self.object_file(id) {
            Ok(file) => file,
            Err(ObjectError::Missing { .. }) => return Ok(Existing::Absent),
            // A link, or something that is no file.
            Err(ObjectError::Beneath(_)) => return Ok(Existing::Damaged),
            Err(e) => return Err(e),
        };
        if file.metadata()?.len() != size {
            return Ok(Existing::Damaged);
        }
        let is_good = match kernel::measure(&file)? {
            Some(found) => found == *id,
            None if self.is_secure() => false,
            None if self.is_trusted() => true,
            None => match bytes {
                Some(bytes) => has_bytes(&file, bytes)?,
                None => self.digest_of(&file)? == *id,
            },
        };
        Ok(match is_good {
            true => Existing::Good,
            false => Existing::Damaged,
        })
    }
}

/// The state of the file that has the name of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    Absent,
    Good,
    Damaged,
}

/// Tells whether a file of the same size has these bytes.
fn has_bytes(mut file: &File, mut bytes: &[u8]) -> io::Result<bool> {
    let mut buffer = [0; 32 << 10];
    while !bytes.is_empty() {
        let most = buffer.len().min(bytes.len());
        match file.read(&mut buffer[..most]) {
            Ok(0) => return Ok(false),
            Ok(read) if buffer[..read] != bytes[..read] => return Ok(false),
            Ok(read) => bytes = &bytes[read..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

impl ObjectWriter<'_> {
    /// Returns the bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.hasher.size()
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn write(&mut self, data: &[u8]) -> Result<(), ObjectError> {
        self.repository.cancel().check()?;
        let at = self.hasher.size();
        self.hasher.update(data);
        match &mut self.content {
            Content::Memory(memory) if memory.len() + data.len() <= MEMORY => {
                memory.extend_from_slice(data);
            }
            Content::Clone(_) => {}
            _ => write_at(self.file()?, data, at).map_err(ObjectError::Store)?,
        }
        Ok(())
    }

    /// Takes the blocks of a file together with it, where the filesystem can; says whether it did. What is written is the
    /// file's bytes, from its start, and is not written once more. To be called before anything is written, by somebody who
    /// finishes the object only if the file did not change meanwhile.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn share(&mut self, file: BorrowedFd<'_>) -> Result<bool, ObjectError> {
        match &self.content {
            Content::Memory(memory) if memory.is_empty() && self.hasher.size() == 0 => {}
            _ => return Ok(false),
        }
        match self.repository.cloned(file)? {
            Some(clone) => {
                self.content = Content::Clone(clone);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Adds as many zeros, as a hole of the file.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn hole(&mut self, length: u64) -> Result<(), ObjectError> {
        if length < HOLE_MIN {
            // Less than a block.
            let zeros = [0; HOLE_MIN as usize];
            return self.write(&zeros[..usize::try_from(length).unwrap_or(0)]);
        }
        self.repository.cancel().check()?;
        self.file()?;
        self.hasher.zeros(length);
        Ok(())
    }

    /// Ends the object, which is then in the repository.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn finish(self) -> Result<Stored, ObjectError> {
        self.end().map_err(ObjectError::of_writing)
    }

    fn end(self) -> Result<Stored, ObjectError> {
        let size = self.hasher.size();
        let id = self.hasher.finish();
        let repository = self.repository;
        let outcome = match self.content {
            Content::Clone(new) => {
                let found = new.file().metadata()?.len();
                if found != size {
                    return Err(ObjectError::Changed {
                        expected: size,
                        found,
                    });
                }
                repository.keep_clone(new, id, size)?
            }
            Content::File(new) => {
                // A hole at the end is not written.
                new.file().set_len(size)?;
                repository.keep_object(new, id, size)?
            }
            Content::Memory(bytes) => return repository.keep_bytes(&bytes, id),
        };
        Ok(Stored { id, size, outcome })
    }

    /// Returns the file; the bytes that waited in memory go there first.
    fn file(&mut self) -> Result<&File, ObjectError> {
        if let Content::Memory(memory) = &mut self.content {
            let new = self.repository.new_object_file()?;
            write_at(new.file(), memory, 0).map_err(ObjectError::Store)?;
            self.content = Content::File(new);
        }
        match &self.content {
            Content::File(new) | Content::Clone(new) => Ok(new.file()),
            Content::Memory(_) => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        }
    }
}

/// For what writes to anything; errors are [`ObjectError`]s inside those of the system.
impl io::Write for ObjectWriter<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        ObjectWriter::write(self, data).map_err(io::Error::other)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_at(file: &File, data: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, data, at)
}
