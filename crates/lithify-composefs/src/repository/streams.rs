//! Storing splitstreams.

use std::io::{self, Read as _, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use lithify_storage::FileCursor;
use lithify_storage::temporary::NewFile;
use lithify_verity::file::FileDigest;

use crate::splitstream::{ContentType, StreamWriter};

use super::error::ObjectError;
use super::handle::Repository;
use super::writer::Stored;

/// Bytes of a compressed body that wait in memory; more wait in a file.
const MEMORY: usize = 4 << 20;
/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// A splitstream being written to a repository. Dropped before its end, it leaves nothing.
#[derive(Debug)]
pub struct StreamObject<'a> {
    repository: &'a Repository,
    writer: StreamWriter<Spool<'a>>,
}

impl Repository {
    /// Starts a splitstream.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn write_stream(&self, content_type: ContentType) -> Result<StreamObject<'_>, ObjectError> {
        self.check_writable()?;
        let spool = Spool {
            repository: self,
            place: Place::Memory(Vec::new()),
        };
        Ok(StreamObject {
            repository: self,
            writer: StreamWriter::new(self.algorithm(), content_type, spool)?,
        })
    }
}

impl StreamObject<'_> {
    /// Returns the bytes of the whole so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.writer.size()
    }

    /// Adds bytes; see [`StreamWriter::inline`].
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn inline(&mut self, data: &[u8]) -> Result<(), ObjectError> {
        self.repository.cancel().check()?;
        Ok(self.writer.inline(data)?)
    }

    /// Says that a chunk may end here; see [`StreamWriter::boundary`].
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn boundary(&mut self) -> Result<(), ObjectError> {
        Ok(self.writer.boundary()?)
    }

    /// Adds an object of so many bytes.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn object(&mut self, id: FileDigest, size: u64) -> Result<(), ObjectError> {
        self.repository.cancel().check()?;
        Ok(self.writer.object(id, size)?)
    }

    /// Says that an object is needed, although it is no part of the whole.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn keep(&mut self, id: FileDigest) -> Result<(), ObjectError> {
        Ok(self.writer.keep(id)?)
    }

    /// Says that a splitstream or an image is needed, by a name.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn name(&mut self, name: impl Into<String>, id: FileDigest) -> Result<(), ObjectError> {
        Ok(self.writer.name(name, id)?)
    }

    /// Ends the splitstream, which is an object of the repository then. It has no name yet.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn finish(self) -> Result<Stored, ObjectError> {
        let (head, body) = self.writer.finish()?;
        let mut object = self.repository.write_object()?;
        object.write(&head.into_bytes())?;
        match body.place {
            Place::Memory(bytes) => object.write(&bytes)?,
            Place::File { new, written } => {
                let mut buffer = vec![0; BUFFER];
                let mut reader = FileCursor::new(Arc::clone(new.file()), 0);
                let mut left = written;
                while left > 0 {
                    let read = reader.read(&mut buffer)?;
                    if read == 0 {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                    object.write(&buffer[..read])?;
                    left = left.saturating_sub(read as u64);
                }
            }
        }
        object.finish()
    }
}

/// Bytes that wait: in memory, then in a file without a name.
#[derive(Debug)]
struct Spool<'a> {
    repository: &'a Repository,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    File { new: NewFile, written: u64 },
}

impl Write for Spool<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if let Place::Memory(memory) = &mut self.place {
            if memory.len() + data.len() <= MEMORY {
                memory.extend_from_slice(data);
                return Ok(data.len());
            }
            let new = self.repository.new_object_file();
            let new = new.map_err(io::Error::other)?;
            new.file().write_all_at(memory, 0)?;
            let written = memory.len() as u64;
            self.place = Place::File { new, written };
        }
        if let Place::File { new, written } = &mut self.place {
            new.file().write_all_at(data, *written)?;
            *written += data.len() as u64;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
