//! The gzip member (RFC 1952) around the deflate stream.

use std::fmt;
use std::io::{self, Write};

use crate::deflate::GoDeflate;
use crate::level::Level;

/// A writer that compresses into a gzip member, as a `Writer` of Go's `compress/gzip` does whose
/// header is not set.
///
/// The sizes of the pieces that are written do not change the member. It is complete only after
/// [`GoGzip::finish`]: dropping the writer leaves out its end.
///
/// An error is one of the inner writer. The input of that call is not consumed, so it may be
/// repeated if the inner writer can go on.
///
/// ```
/// use lithify_deflate::{GoGzip, Level};
/// use std::io::Write;
///
/// let mut gzip = GoGzip::new(Vec::new(), Level::DEFAULT);
/// gzip.write_all(b"hi")?;
/// assert_eq!(
///     gzip.finish()?,
///     [
///         0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, // header
///         0xca, 0xc8, 0x04, 0x04, 0x00, 0x00, 0xff, 0xff, // a fixed block, an empty stored one
///         0xac, 0x2a, 0x93, 0xd8, 2, 0, 0, 0, // CRC-32, size
///     ]
/// );
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct GoGzip<W: Write> {
    stream: GoDeflate<W>,
    crc: crc32fast::Hasher,
    /// The bytes compressed, modulo 2³².
    size: u32,
}

impl<W: Write> GoGzip<W> {
    /// Creates a writer that writes its member to `inner`.
    pub fn new(inner: W, level: Level) -> Self {
        let mut stream = GoDeflate::new(inner, level);
        stream.prepend(&header(level));
        Self {
            stream,
            crc: crc32fast::Hasher::new(),
            size: 0,
        }
    }

    /// Returns the inner writer. Some of the member so far may not have been written to it.
    pub fn get_mut(&mut self) -> &mut W {
        self.stream.get_mut()
    }

    /// Records that the program whose member is made ended a call of `Write` here.
    ///
    /// When that changes the member, [`GoDeflate::mark_write_end`] says.
    pub fn mark_write_end(&mut self) {
        self.stream.mark_write_end();
    }

    /// Writes the end of the member, and returns the inner writer, which is not flushed.
    ///
    /// # Errors
    ///
    /// Those of the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        let mut trailer = [0; 8];
        trailer[..4].copy_from_slice(&self.crc.finalize().to_le_bytes());
        trailer[4..].copy_from_slice(&self.size.to_le_bytes());
        self.stream.finish_with(&trailer)?;
        Ok(self.stream.into_inner())
    }
}

/// Returns the header that Go writes if none of its fields are set: no name, no time, and 255 for
/// an unknown operating system.
fn header(level: Level) -> [u8; 10] {
    let extra_flags = match level {
        Level::BEST => 2,
        Level::FASTEST => 4,
        _ => 0,
    };
    [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, extra_flags, 255]
}

impl<W: Write> Write for GoGzip<W> {
    fn write(&mut self, input: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(input)?;
        self.crc.update(&input[..count]);
        self.size = self.size.wrapping_add(count as u32);
        Ok(count)
    }

    /// Flushes the inner writer. What is not compressed yet stays here, since a flush as Go has it
    /// would cut the stream.
    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<W: Write> fmt::Debug for GoGzip<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoGzip")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
