//! Source, decoder and hashes together: chunks of the tar out of a blob.

use std::io::Read;

use lithify_cancel::Budget;
use lithify_digest::{Digest, Mismatch};
use lithify_inflate::WINDOW_SIZE;

use super::buffer::{Chunk, Pool};
use super::cancel::Control;
use super::compression::{self, Compression};
use super::gzip::Gunzip;
use super::input::Input;
use super::lane::Lane;
use super::source::{self, Source};
use super::zstd::Unzstd;
use super::{BlobError, Expected, Verified};
use crate::limits::{Limit, LimitExceeded, Limits};

/// Bytes of a chunk of decompressed tar: a multiple of the tar block, so that headers never lie across two chunks.
pub(crate) const CHUNK: usize = 256 << 10;
/// Chunks at most.
pub(crate) const CHUNKS: usize = 12;

/// Makes tar chunks; hashes them and the blob.
#[derive(Debug)]
pub(crate) struct Producer {
    input: Input,
    control: Control,
    expected: Expected,
    limits: Limits,
    tar_budget: Budget,
    /// Whether reading and hashing have threads of their own.
    threads: bool,
    /// Known when the first bytes are.
    decoder: Option<Decoder>,
    tar_size: u64,
}

/// What makes the tar of the blob.
#[derive(Debug)]
struct Decoder {
    kind: Kind,
    /// Hash of the tar.
    lane: Lane,
}

#[derive(Debug)]
enum Kind {
    /// The blob's chunks are the tar's, and one hash may do for both.
    Plain,
    Gzip(Box<Gunzip>, Decoded),
    Zstd(Box<Unzstd>, Decoded),
}

/// Where decoded bytes go.
#[derive(Debug)]
struct Decoded {
    pool: Pool,
    /// The last bytes of the chunk before, to which the next refers back.
    history: Vec<u8>,
}

impl Decoded {
    fn new(history: usize) -> Self {
        Self {
            pool: Pool::new(history + CHUNK, CHUNKS),
            history: vec![0; history],
        }
    }
}

impl Producer {
    pub(crate) fn new(
        blob: Box<dyn Read + Send>,
        expected: Expected,
        limits: Limits,
        tar_budget: Budget,
        threads: bool,
        control: Control,
    ) -> Result<Self, BlobError> {
        let source = Source::new(blob, expected, control.clone());
        let input = if threads {
            Input::spawn(source)?
        } else {
            Input::inline(source)
        };
        Ok(Self {
            input,
            control,
            expected,
            limits,
            tar_budget,
            threads,
            decoder: None,
            tar_size: 0,
        })
    }

    /// The next chunk of the tar; `None` at the end of the blob, which is then complete but not yet verified.
    pub(crate) fn chunk(&mut self) -> Result<Option<Chunk>, BlobError> {
        self.control.check()?;
        if self.decoder.is_none() {
            self.decoder = Some(self.begin()?);
        }
        let Some(decoder) = &mut self.decoder else {
            return Ok(None);
        };
        let input = &mut self.input;
        let chunk = match &mut decoder.kind {
            Kind::Plain => input.chunk()?,
            Kind::Gzip(gunzip, decoded) => {
                decoded.chunk(|buffer, start| gunzip.read(input, buffer, start))?
            }
            Kind::Zstd(unzstd, decoded) => {
                decoded.chunk(|buffer, start| unzstd.read(input, buffer, start))?
            }
        };
        if let Some(chunk) = &chunk {
            // Of a plain tar the blob's own bytes were looked at.
            if self.tar_size == 0 && !matches!(decoder.kind, Kind::Plain) {
                compression::check_inner(chunk)?;
            }
            self.tar_size += chunk.len() as u64;
            LimitExceeded::check(Limit::TarBytes, self.limits.tar_bytes, self.tar_size)?;
            self.tar_budget.take(chunk.len() as u64)?;
            decoder.lane.update(chunk);
        }
        Ok(chunk)
    }

    /// Looks at the blob's first bytes and starts what they call for.
    fn begin(&mut self) -> Result<Decoder, BlobError> {
        let kind = match compression::sniff(self.input.fill()?, self.expected.compression)? {
            Compression::None => Kind::Plain,
            Compression::Gzip => Kind::Gzip(Box::default(), Decoded::new(WINDOW_SIZE)),
            Compression::Zstd => {
                let unzstd = Unzstd::new(self.limits.zstd_window_log)?;
                Kind::Zstd(Box::new(unzstd), Decoded::new(0))
            }
        };
        let algorithm = source::algorithm(self.expected.diff_id);
        let lane = if self.threads {
            Lane::spawn(algorithm)?
        } else {
            Lane::inline(algorithm)
        };
        Ok(Decoder { kind, lane })
    }

    /// Compares the blob and the tar with what is expected of them, after [`Self::chunk`] gave `None`.
    pub(crate) fn verify(&mut self) -> Result<Verified, BlobError> {
        // Both are there when the last chunk was asked for and nothing failed.
        let (Some(totals), Some(decoder)) = (self.input.totals(), self.decoder.take()) else {
            return Err(BlobError::Cancelled);
        };
        let diff_id = decoder.lane.finish()?;
        let digest = totals.digest.unwrap_or(diff_id);
        compare(self.expected.digest, digest).map_err(BlobError::Mismatch)?;
        compare(self.expected.diff_id, diff_id).map_err(BlobError::DiffId)?;
        let compression = match decoder.kind {
            Kind::Plain => Compression::None,
            Kind::Gzip(..) => Compression::Gzip,
            Kind::Zstd(..) => Compression::Zstd,
        };
        Ok(Verified {
            digest,
            size: totals.size,
            diff_id,
            tar_size: self.tar_size,
            compression,
        })
    }

    /// Looks for a better explanation of an error: a blob that cannot be decoded is most often not the blob it should be.
    ///
    /// Only a blob of declared size is read on, so there is an end to it.
    pub(crate) fn explain(&mut self, error: BlobError) -> BlobError {
        if !error.is_content() || self.expected.size.is_none() {
            return error;
        }
        if let Err(better) = self.input.drain() {
            return if better.is_verification() {
                better
            } else {
                error
            };
        }
        match self.input.totals().and_then(|totals| totals.digest) {
            Some(found) => {
                compare(self.expected.digest, found).map_or_else(BlobError::Mismatch, |()| error)
            }
            None => error,
        }
    }
}

/// Compares a digest with the one promised, if one was.
fn compare(expected: Option<Digest>, found: Digest) -> Result<(), Mismatch> {
    expected.map_or(Ok(()), |expected| Mismatch::of_digests(&expected, &found))
}

impl Decoded {
    /// One chunk of decoded bytes; `None` if there are no more.
    fn chunk(
        &mut self,
        read: impl FnOnce(&mut [u8], usize) -> Result<usize, BlobError>,
    ) -> Result<Option<Chunk>, BlobError> {
        let mut buffer = self.pool.take();
        let start = self.history.len();
        buffer[..start].copy_from_slice(&self.history);
        let written = read(&mut buffer, start)?;
        if written == 0 {
            self.pool.put_back(buffer);
            return Ok(None);
        }
        // As many bytes as history has, up to the last one written.
        self.history
            .copy_from_slice(&buffer[written..start + written]);
        Ok(Some(self.pool.share(buffer, start..start + written)))
    }
}
