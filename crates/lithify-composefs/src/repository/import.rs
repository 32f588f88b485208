//! Objects made of files.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use lithify_storage::next_data;
use lithify_storage::temporary::NewFile;
use rustix::fs::{fstat, ioctl_ficlone};
use rustix::io::Errno;

use lithify_verity::file::FileDigest;

use super::error::ObjectError;
use super::handle::Repository;
use super::writer::{Outcome, Stored};

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// A file that became an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The object.
    pub object: Stored,
    /// The object has its blocks together with the file.
    pub is_shared: bool,
}

impl Repository {
    /// Stores what is in a file as an object: as a clone, which has its blocks together with the
    /// file, where the filesystem can, else as a copy with the same holes. It never is a hard link:
    /// who can write to the file could change the object.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn import_file(&self, file: &File) -> Result<Imported, ObjectError> {
        self.check_writable()?;
        let metadata = file.metadata()?;
        if let Some(object) = self.import_clone(file)? {
            return Ok(Imported {
                object,
                is_shared: object.outcome != Outcome::Existing,
            });
        }
        Ok(Imported {
            object: self.import_copy(file, metadata.len())?,
            is_shared: false,
        })
    }

    /// Stores a clone of a file; `None` where that cannot be.
    fn import_clone(&self, file: &File) -> Result<Option<Stored>, ObjectError> {
        let Some(new) = self.cloned(file.as_fd())? else {
            return Ok(None);
        };
        // The clone is read, not the file: that may change.
        let size = new.file().metadata()?.len();
        let id = self.digest_of(new.file())?;
        let outcome = self.keep_clone(new, id, size)?;
        Ok(Some(Stored { id, size, outcome }))
    }

    /// Gives a clone, whose bytes were read, the name of its digest.
    pub(super) fn keep_clone(
        &self,
        new: NewFile,
        id: FileDigest,
        size: u64,
    ) -> Result<Outcome, ObjectError> {
        let outcome = self.keep_object(new, id, size)?;
        if outcome != Outcome::Existing {
            self.counters.share(size);
        }
        Ok(outcome)
    }

    /// Clones a file; `None` where that cannot be.
    pub(super) fn cloned(&self, file: BorrowedFd<'_>) -> Result<Option<NewFile>, ObjectError> {
        let device = fstat(file).map_err(io::Error::from)?.st_dev;
        if self.objects.uncloned().contains(&device) {
            return Ok(None);
        }
        let new = self.new_object_file()?;
        match ioctl_ficlone(new.file(), file) {
            Ok(()) => Ok(Some(new)),
            Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {
                self.objects.uncloned().insert(device);
                Ok(None)
            }
            // Such as a file that is no regular one, or that is swapped to.
            Err(Errno::PERM | Errno::TXTBSY | Errno::BADF | Errno::ISDIR) => Ok(None),
            Err(e) => Err(io::Error::from(e).into()),
        }
    }

    fn import_copy(&self, file: &File, size: u64) -> Result<Stored, ObjectError> {
        let mut writer = self.write_object()?;
        let mut buffer = vec![0; BUFFER];
        while writer.size() < size {
            let at = writer.size();
            let data = next_data(file, at, size);
            writer.hole(data.start - at)?;
            let mut at = data.start;
            while at < data.end {
                let most = usize::try_from(data.end - at).unwrap_or(BUFFER).min(BUFFER);
                match file.read_at(&mut buffer[..most], at) {
                    Ok(0) => {
                        return Err(ObjectError::Changed {
                            expected: size,
                            found: at,
                        });
                    }
                    Ok(read) => {
                        writer.write(&buffer[..read])?;
                        at += read as u64;
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        writer.finish()
    }
}
