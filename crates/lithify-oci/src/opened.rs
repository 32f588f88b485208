//! Blobs opened for reading.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use lithify_storage::ReadAt;

/// Bytes of a blob by position, for several threads at once.
pub type RandomAccess = Arc<dyn ReadAt + Send + Sync>;

/// A blob opened for reading from its start: a file of its own, or a cursor of its own into an
/// archive, so any number can be read at once, on any thread.
///
/// Nothing read from it is verified yet.
pub struct Blob {
    reader: Box<dyn Read + Send>,
    len: u64,
    random_access: Option<RandomAccess>,
}

/// Bytes read by position, from one to another.
struct Positioned {
    source: RandomAccess,
    at: u64,
    end: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        self.source.read_exact_at(&mut buffer[..wanted], self.at)?;
        self.at += wanted as u64;
        Ok(wanted)
    }
}

impl Blob {
    /// A blob of `len` bytes that `reader` yields.
    pub fn new(reader: impl Read + Send + 'static, len: u64) -> Self {
        Self {
            reader: Box::new(reader),
            len,
            random_access: None,
        }
    }

    /// A blob that is a file of `len` bytes; it is read from where the file stands.
    #[must_use]
    pub fn of_file(file: std::fs::File, len: u64) -> Self {
        let file = Arc::new(file);
        Self::new(Arc::clone(&file), len).with_random_access(file)
    }

    /// The same blob, whose bytes can be read by position from `source` too.
    #[must_use]
    pub fn with_random_access(mut self, source: RandomAccess) -> Self {
        self.random_access = Some(source);
        self
    }

    /// The same bytes by position, where they are at hand so. They are as unverified as the others.
    #[must_use]
    pub fn random_access(&self) -> Option<RandomAccess> {
        self.random_access.clone()
    }

    /// What follows the first `offset` bytes: found by position where the bytes are at hand so, else by reading up to there.
    ///
    /// # Errors
    /// What reading up to there fails with.
    pub fn skip(self, offset: u64) -> io::Result<Self> {
        let left = self.len.saturating_sub(offset);
        if offset == 0 {
            return Ok(self);
        }
        if let Some(source) = self.random_access {
            let at = offset.min(self.len);
            return Ok(Self::new(
                Positioned {
                    source,
                    at,
                    end: self.len,
                },
                left,
            ));
        }
        let mut reader = self.reader;
        io::copy(&mut (&mut reader).take(offset), &mut io::sink())?;
        Ok(Self::new(reader, left))
    }

    /// Bytes from start to end, by the file system or the archive. A file that someone else
    /// writes to may yield fewer or more.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The reader itself.
    #[must_use]
    pub fn into_reader(self) -> Box<dyn Read + Send> {
        self.reader
    }
}

impl Read for Blob {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Reading to a place takes as long as what is before it is long.
    #[test]
    fn what_can_be_found_by_position_is_not_read_up_to_there() {
        let mut file = tempfile::tempfile().unwrap();
        let start = 1 << 40;
        file.set_len(start).unwrap();
        io::Seek::seek(&mut file, io::SeekFrom::End(0)).unwrap();
        file.write_all(b"end").unwrap();
        let rest = Blob::of_file(file, start + 3).skip(start + 1).unwrap();
        assert_eq!(rest.len(), 2);
        let mut read = Vec::new();
        rest.into_reader().read_to_end(&mut read).unwrap();
        assert_eq!(read, b"nd");
    }

    #[test]
    fn what_cannot_is_read() {
        for (offset, expected) in [(0, &b"blob"[..]), (3, b"b"), (4, b""), (9, b"")] {
            let rest = Blob::new(&b"blob"[..], 4).skip(offset).unwrap();
            assert_eq!(rest.len(), expected.len() as u64);
            let mut read = Vec::new();
            rest.into_reader().read_to_end(&mut read).unwrap();
            assert_eq!(read, expected);
        }
    }
}
