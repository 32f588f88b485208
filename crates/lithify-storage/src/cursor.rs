//! Reading a file from a position of one's own.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::os::unix::fs::FileExt as _;

/// A reader of a file (a `&File` or an `Arc<File>`) with a position of its own, in bytes. Any number of them read one file
/// at the same time: none moves the others, or the file's own position.
///
/// ```
/// use std::io::{Read as _, Write as _};
///
/// use lithify_storage::FileCursor;
///
/// let mut file = tempfile::tempfile()?;
/// file.write_all(b"one two")?;
/// let (mut two, mut text) = (FileCursor::new(&file, 4), String::new());
/// two.read_to_string(&mut text)?;
/// assert_eq!((text.as_str(), two.position()), ("two", 7));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileCursor<F> {
    file: F,
    position: u64,
}

impl<F: Deref<Target = File>> FileCursor<F> {
    /// Starts at `position`.
    #[must_use]
    pub fn new(file: F, position: u64) -> Self {
        Self { file, position }
    }

    /// Returns the position of the next byte.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }
}

impl<F: Deref<Target = File>> Read for FileCursor<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
