//! The whole that a splitstream and its objects are.

use std::io::{self, Read};
use std::sync::Arc;

use lithify_storage::ReadAt;
use lithify_verity::file::{FileDigest, FileHasher, FileOptions};

use super::{Chunk, StreamError, StreamReader};

/// Most objects without a byte: each costs nothing in a body, and an opened file here.
const EMPTY_MAX: u64 = 1024;

/// Opens objects by their names.
pub trait Objects {
    /// The reader of an object, from its first byte.
    type Reader: Read;

    /// Opens an object.
    ///
    /// # Errors
    /// The error of the system, or of the repository.
    fn open(&self, id: &FileDigest) -> io::Result<Self::Reader>;
}

impl<O: Objects> Objects for &O {
    type Reader = O::Reader;

    fn open(&self, id: &FileDigest) -> io::Result<Self::Reader> {
        (**self).open(id)
    }
}

impl<O: Objects> Objects for Arc<O> {
    type Reader = O::Reader;

    fn open(&self, id: &FileDigest) -> io::Result<Self::Reader> {
        (**self).open(id)
    }
}

/// The care with which objects are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Their bytes are compared with their names.
    Digests,
    /// Their bytes are taken as they are: the kernel, or the reader of the whole, checks them.
    Nothing,
}

/// A reader of the whole: what is in the splitstream and what is in objects, in order.
///
/// It ends only after as many bytes as the splitstream says; errors are [`StreamError`]s inside
/// [`io::Error`]s.
#[derive(Debug)]
pub struct Rebuilt<R: ReadAt, O: Objects> {
    stream: StreamReader<R>,
    objects: O,
    check: Check,
    total: Total,
    at: At<O::Reader>,
}

#[derive(Debug)]
enum At<R> {
    Chunk,
    Inline(u64),
    Object {
        id: FileDigest,
        reader: R,
        hasher: Option<Box<FileHasher>>,
        size: u64,
    },
    End,
}

impl<R: ReadAt, O: Objects> Rebuilt<R, O> {
    /// Puts a splitstream, of which nothing was read yet, together.
    pub fn new(stream: StreamReader<R>, objects: O, check: Check) -> Self {
        Self {
            total: Total::new(stream.size()),
            stream,
            objects,
            check,
            at: At::Chunk,
        }
    }

    /// Returns what opens the objects.
    pub fn objects(&self) -> &O {
        &self.objects
    }

    fn step(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        loop {
            match &mut self.at {
                At::End => return Ok(0),
                At::Chunk => {
                    self.at = match self.stream.next_chunk()? {
                        None => {
                            self.total.finish()?;
                            At::End
                        }
                        Some(Chunk::Inline(length)) => {
                            self.total.add(length)?;
                            At::Inline(length)
                        }
                        Some(Chunk::Object(id)) => self.open(id)?,
                    };
                }
                At::Inline(0) => self.at = At::Chunk,
                At::Inline(left) => {
                    let read = self.stream.read_inline(buffer)?;
                    *left = left.saturating_sub(read as u64);
                    return Ok(read);
                }
                At::Object {
                    id,
                    reader,
                    hasher,
                    size,
                } => {
                    let read = reader.read(buffer).map_err(|source| {
                        let id = Box::new(*id);
                        StreamError::OpenObject { id, source }
                    })?;
                    if read > 0 {
                        *size += read as u64;
                        self.total.add(read as u64)?;
                        if let Some(hasher) = hasher {
                            hasher.update(&buffer[..read]);
                        }
                        return Ok(read);
                    }
                    if *size == 0 {
                        self.total.empty()?;
                    }
                    if let Some(hasher) = hasher.take() {
                        same(*id, hasher.finish())?;
                    }
                    self.at = At::Chunk;
                }
            }
        }
    }

    fn open(&self, id: FileDigest) -> Result<At<O::Reader>, StreamError> {
        let opened = self.objects.open(&id);
        let reader = opened.map_err(|source| {
            let id = Box::new(id);
            StreamError::OpenObject { id, source }
        })?;
        let hasher = match self.check {
            Check::Digests => {
                let options = FileOptions::new(id.algorithm());
                let hasher = FileHasher::new(&options).map_err(io::Error::other)?;
                Some(Box::new(hasher))
            }
            Check::Nothing => None,
        };
        Ok(At::Object {
            id,
            reader,
            hasher,
            size: 0,
        })
    }
}

fn same(expected: FileDigest, found: FileDigest) -> Result<(), StreamError> {
    match expected == found {
        true => Ok(()),
        false => Err(StreamError::Object {
            expected: Box::new(expected),
            found: Box::new(found),
        }),
    }
}

impl<R: ReadAt, O: Objects> Read for Rebuilt<R, O> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        Ok(self.step(buffer)?)
    }
}

/// The sizes of chunks, compared with the size of the whole.
#[derive(Debug)]
struct Total {
    expected: u64,
    found: u64,
    empty: u64,
}

impl Total {
    fn new(expected: u64) -> Self {
        Self {
            expected,
            found: 0,
            empty: 0,
        }
    }

    fn add(&mut self, length: u64) -> Result<(), StreamError> {
        self.found = self.found.saturating_add(length);
        match self.found <= self.expected {
            true => Ok(()),
            false => Err(self.error(true)),
        }
    }

    fn empty(&mut self) -> Result<(), StreamError> {
        self.empty += 1;
        match self.empty <= EMPTY_MAX {
            true => Ok(()),
            false => Err(StreamError::EmptyObjects { limit: EMPTY_MAX }),
        }
    }

    fn finish(&self) -> Result<(), StreamError> {
        match self.found == self.expected {
            true => Ok(()),
            false => Err(self.error(false)),
        }
    }

    fn error(&self, is_more: bool) -> StreamError {
        StreamError::Size {
            expected: self.expected,
            found: self.found,
            is_more,
        }
    }
}

/// Checks the body of a splitstream of which nothing was read yet: every chunk, and the size of the
/// whole by the sizes of objects. An object whose size is not known (it is not there) ends the
/// comparison of sizes, not the check.
///
/// # Errors
/// [`StreamError`], or what `size` says.
pub fn check_body<R: ReadAt, E: From<StreamError>>(
    stream: &mut StreamReader<R>,
    mut size: impl FnMut(&FileDigest) -> Result<Option<u64>, E>,
) -> Result<(), E> {
    let mut total = Total::new(stream.size());
    let mut is_known = true;
    while let Some(chunk) = stream.next_chunk()? {
        let length = match chunk {
            Chunk::Inline(length) => length,
            Chunk::Object(id) => match size(&id)? {
                Some(0) => {
                    total.empty()?;
                    0
                }
                Some(length) => length,
                // At least a byte, so that it is not named without end.
                None => {
                    is_known = false;
                    1
                }
            },
        };
        total.add(length)?;
    }
    if is_known {
        total.finish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lithify_verity::file::FileAlgorithm;

    use crate::splitstream::{ContentType, StreamWriter};

    use super::*;

    /// Nobody knows how many bytes they have, and a few compressed bytes name them without end.
    #[test]
    fn missing_objects_cost_no_endless_time() {
        let algorithm = FileAlgorithm::Sha256;
        let missing = FileDigest::from_bytes(algorithm, &[7; 32]).unwrap();
        let mut writer = StreamWriter::new(algorithm, ContentType::BLOB, Vec::new()).unwrap();
        for _ in 0..100 {
            writer.object(missing, 0).unwrap();
        }
        writer.object(missing, 10).unwrap();
        let (head, body) = writer.finish().unwrap();
        let mut reader = StreamReader::open([head.into_bytes(), body].concat()).unwrap();
        let mut asked = 0;
        let checked = check_body(&mut reader, |_| {
            asked += 1;
            Ok::<_, StreamError>(None)
        });
        assert!(
            matches!(checked, Err(StreamError::Size { is_more: true, .. })),
            "{checked:?}"
        );
        assert_eq!(asked, 11);
    }
}
