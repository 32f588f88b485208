//! Reading a blob: chunk by chunk, counted, hashed, not a byte further than declared.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use lithify_digest::{Algorithm, Digest, Hasher, Mismatch};

use super::buffer::{Chunk, Pool};
use super::cancel::Control;
use super::compression::{self, Compression};
use super::{BlobError, Expected};

/// Bytes of a chunk. A multiple of the tar block, so that headers of a plain tar never lie across two chunks.
pub(crate) const CHUNK: usize = 256 << 10;
/// Chunks at most.
pub(crate) const CHUNKS: usize = 6;

/// The blob.
pub(crate) struct Source {
    blob: Box<dyn Read + Send>,
    expected: Expected,
    /// Bytes read so far.
    read: u64,
    ended: bool,
    control: Control,
    pool: Pool,
    hash: Hash,
}

/// What is to be done about the blob's digest.
enum Hash {
    /// Nothing was read yet.
    Undecided,
    /// The blob is a plain tar, whose digest of the same algorithm is computed anyway.
    AsTar,
    Running(Box<Hasher>),
}

/// What a blob came to that was read to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    /// Its digest, or `None` if that is the tar's.
    pub(crate) digest: Option<Digest>,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// The algorithm of what is expected, or the one used where nothing is.
pub(crate) fn algorithm(expected: Option<Digest>) -> Algorithm {
    expected.map_or(Algorithm::Sha256, |digest| digest.algorithm())
}

impl Source {
    pub(crate) fn new(blob: Box<dyn Read + Send>, expected: Expected, control: Control) -> Self {
        let pool = Pool::new(CHUNK, CHUNKS);
        Self {
            blob,
            expected,
            read: 0,
            ended: false,
            control,
            pool,
            hash: Hash::Undecided,
        }
    }

    /// Hashes a chunk that [`Self::chunk`] gave, in its turn.
    pub(crate) fn hash(&mut self, chunk: &Chunk) {
        if let Hash::Undecided = self.hash {
            let (blob, tar) = (
                algorithm(self.expected.digest),
                algorithm(self.expected.diff_id),
            );
            let plain = matches!(compression::sniff(chunk, None), Ok(Compression::None));
            self.hash = if plain && blob == tar {
                Hash::AsTar
            } else {
                Hash::Running(Box::new(Hasher::new(blob)))
            };
        }
        if let Hash::Running(hasher) = &mut self.hash {
            hasher.update(chunk);
        }
    }

    /// The totals, once [`Self::chunk`] gave `None` and every chunk was hashed.
    pub(crate) fn totals(&self) -> Totals {
        let digest = match &self.hash {
            Hash::Undecided => Some(Hasher::new(algorithm(self.expected.digest)).finish()),
            Hash::AsTar => None,
            Hash::Running(hasher) => Some(Hasher::clone(hasher).finish()),
        };
        Totals {
            digest,
            size: self.read,
        }
    }

    /// The next chunk, full unless it is the last; `None` at the end, after which the blob had its declared size.
    pub(crate) fn chunk(&mut self) -> Result<Option<Chunk>, BlobError> {
        if self.ended {
            return Ok(None);
        }
        let most = match self.expected.size {
            Some(size) => usize::try_from(size - self.read)
                .unwrap_or(CHUNK)
                .min(CHUNK),
            None => CHUNK,
        };
        if most == 0 {
            self.expect_end()?;
            return Ok(None);
        }
        let mut buffer = self.pool.take();
        let mut filled = 0;
        while filled < most {
            match self.read_some(&mut buffer[filled..most])? {
                0 => {
                    self.ended = true;
                    break;
                }
                n => filled += n,
            }
        }
        self.read += filled as u64;
        if let Some(expected) = self.expected.size
            && self.ended
        {
            let found = self.read;
            return Err(BlobError::Mismatch(Mismatch::Size { expected, found }));
        }
        if filled == 0 {
            self.pool.put_back(buffer);
            return Ok(None);
        }
        Ok(Some(self.pool.share(buffer, 0..filled)))
    }

    /// One byte more than declared is one too many (image-spec `descriptor.md`, "size").
    fn expect_end(&mut self) -> Result<(), BlobError> {
        self.ended = true;
        match self.read_some(&mut [0])? {
            0 => Ok(()),
            _ => Err(BlobError::Mismatch(Mismatch::Trailing {
                expected: self.read,
            })),
        }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, BlobError> {
        loop {
            match self.control.read(|| self.blob.read(buffer))? {
                Ok(n) if n > buffer.len() => {
                    let error = io::Error::new(
                        ErrorKind::InvalidData,
                        "the reader says it read more than it was given room for",
                    );
                    return Err(BlobError::Read(error));
                }
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(BlobError::Read(e)),
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("expected", &self.expected)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}
