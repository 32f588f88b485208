//! Digests of what is written or read on its way.

use std::io::{self, Read, Write};

use crate::{Algorithm, Digest, Hasher};

/// A writer that takes the digest and the number of the bytes that go through it.
///
/// ```
/// use std::io::Write as _;
///
/// use lithify_digest::{Algorithm, Digest, HashingWriter};
///
/// let mut writer = HashingWriter::new(Vec::new(), Algorithm::Sha256);
/// writer.write_all(b"hello")?;
/// let (vec, digest, size) = writer.finish();
/// assert_eq!((vec.as_slice(), size), (&b"hello"[..], 5));
/// assert_eq!(digest, Digest::of(Algorithm::Sha256, b"hello"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
    written: u64,
}

impl<W> HashingWriter<W> {
    /// Starts a digest of what is written to `inner` from now on.
    #[must_use]
    pub fn new(inner: W, algorithm: Algorithm) -> Self {
        Self {
            inner,
            hasher: Hasher::new(algorithm),
            written: 0,
        }
    }

    /// Returns the number of bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Returns the writer inside, the digest of what was written to it, and the number of its bytes.
    #[must_use]
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, self.hasher.finish(), self.written)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.hasher.update(&data[..written]);
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The digest and the number of all bytes of a reader.
///
/// # Errors
/// Those of the reader; `Interrupted` is none.
pub fn digest_of(reader: &mut impl Read, algorithm: Algorithm) -> io::Result<(Digest, u64)> {
    let mut writer = HashingWriter::new(io::sink(), algorithm);
    let mut buffer = vec![0; 1 << 18];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => writer.write_all(&buffer[..read])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let (_, digest, size) = writer.finish();
    Ok((digest, size))
}
