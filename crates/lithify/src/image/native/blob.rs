//! From a blob to the image in it: read once to its end, every digest compared.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use lithify_cancel::{Budget, Checked};
use lithify_digest::{Algorithm, Digest, Hasher, Mismatch, VerifiedReader, Verifier};
use lithify_inflate::GzipReader;
use lithify_oci::blob::RandomAccess;
use lithify_oci::manifest::Compression;
use lithify_oci::{LayerDescriptor, LayerKind};

use crate::Error;
use crate::error::NativeLayerError;
use crate::output::retry::read_some;
use crate::output::scratch_file;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// A layer's blob and what the image says of it.
pub(crate) struct NativeBlob {
    pub(crate) reader: Box<dyn Read + Send>,
    /// The same bytes by position, if they are at hand so.
    at: Option<RandomAccess>,
    digest: Option<Digest>,
    size: Option<u64>,
    diff_id: Option<Digest>,
    compression: Compression,
    pub(super) kind: LayerKind,
    /// Whether it is a filesystem of its own, with nothing below it: no layer of an overlay.
    pub(super) alone: bool,
}

/// An image whose bytes are those that were expected.
pub(super) struct Verified {
    pub(super) source: RandomAccess,
    /// Its size in bytes, without compression.
    pub(super) size: u64,
    /// Its digest.
    pub(super) diff_id: Digest,
}

/// Why reading to the end stopped before it.
enum Stopped {
    Cancelled,
    Failed(NativeLayerError),
}

impl NativeBlob {
    /// A layer, read by `reader` and, if it can be, by position.
    pub(crate) fn new(
        reader: Box<dyn Read + Send>,
        at: Option<RandomAccess>,
        compression: Compression,
        layer: &LayerDescriptor,
    ) -> Self {
        Self {
            reader,
            at,
            digest: layer.digest,
            size: layer.size,
            diff_id: Some(layer.diff_id),
            compression,
            kind: match layer.kind {
                // By its media type.
                LayerKind::Tar => LayerKind::Erofs,
                kind => kind,
            },
            alone: false,
        }
    }

    /// The image of a root filesystem, of which nothing is known.
    pub(crate) fn root(reader: Box<dyn Read + Send>, compression: Compression) -> Self {
        Self {
            reader,
            at: None,
            digest: None,
            size: None,
            diff_id: None,
            compression,
            kind: LayerKind::Erofs,
            alone: true,
        }
    }

    /// Reads everything and compares digests and sizes. The image is written to `copy`; without, it is read in place or
    /// kept in a file without a name.
    pub(super) fn verify(
        mut self,
        copy: Option<&Arc<File>>,
        session: &Session,
        budgets: &Budgets,
        failed: impl Fn(NativeLayerError) -> Error,
    ) -> Result<Verified, Error> {
        let mut counted = vec![budgets.tar_bytes.clone()];
        // What is copied is used as it is.
        counted.extend(copy.map(|_| budgets.output_bytes.clone()));
        let in_place = self
            .at
            .take()
            .filter(|_| self.compression == Compression::None);
        let (file, source): (Option<Arc<File>>, RandomAccess) = match (copy, in_place) {
            (Some(copy), _) => (Some(Arc::clone(copy)), Arc::clone(copy) as RandomAccess),
            (None, Some(source)) => (None, source),
            (None, None) => {
                let scratch =
                    scratch_file(None).map_err(|e| failed(NativeLayerError::Scratch(e)))?;
                let scratch = Arc::new(scratch);
                (Some(Arc::clone(&scratch)), scratch)
            }
        };
        let (size, diff_id) =
            self.copy(file.as_deref(), session, &counted)
                .map_err(|e| match e {
                    Stopped::Cancelled => Error::cancelled(),
                    Stopped::Failed(e) => failed(e),
                })?;
        Ok(Verified {
            source,
            size,
            diff_id,
        })
    }

    /// Returns the image's size and digest.
    fn copy(
        self,
        out: Option<&File>,
        session: &Session,
        budgets: &[Budget],
    ) -> Result<(u64, Digest), Stopped> {
        let plain = self.compression == Compression::None;
        let algorithm = self.diff_id.map_or(Algorithm::Sha256, |d| d.algorithm());
        // The blob of an image without compression is the image: one digest tells both.
        let same = plain && self.digest.is_none_or(|d| d.algorithm() == algorithm);
        let verifier = Verifier::promised(self.digest.filter(|_| !same), self.size);
        let checked = Checked::new(self.reader, &session.cancel);
        let mut blob = Blob {
            inner: VerifiedReader::new(checked, verifier),
            error: None,
        };
        let mut image = Image {
            out,
            hasher: Hasher::new(algorithm),
            written: 0,
            limit: session.limits.layer.tar_bytes,
            budgets,
        };
        let copied = match self.compression {
            Compression::Gzip => image.take(&mut GzipReader::new(&mut blob)),
            Compression::Zstd => {
                let window = session.limits.layer.zstd_window_log;
                let buffered = io::BufReader::with_capacity(BUFFER, &mut blob);
                match zstd::stream::read::Decoder::with_buffer(buffered) {
                    Ok(mut decoder) => decoder
                        .window_log_max(window)
                        .map_err(NativeLayerError::Decompress)
                        .and_then(|()| image.take(&mut decoder)),
                    Err(e) => Err(NativeLayerError::Decompress(e)),
                }
            }
            _ => image.take(&mut blob),
        };
        // Another blob explains whatever is wrong with its content, and a decoder need not have seen its end.
        if let Ok(()) | Err(NativeLayerError::Decompress(_)) = &copied {
            // The error is kept by the blob.
            io::copy(&mut blob, &mut io::sink()).ok();
        }
        if session.cancel.is_cancelled() {
            return Err(Stopped::Cancelled);
        }
        let fail = |e| Err(Stopped::Failed(e));
        if let Some(error) = blob.error {
            return fail(match Mismatch::in_error(&error) {
                Some(mismatch) => NativeLayerError::Mismatch(mismatch.clone()),
                None => NativeLayerError::Read(error),
            });
        }
        copied.map_err(Stopped::Failed)?;
        let found = image.hasher.finish();
        let compare = |expected: Option<Digest>| match expected {
            Some(expected) => Mismatch::of_digests(&expected, &found),
            None => Ok(()),
        };
        compare(self.digest.filter(|_| same))
            .map_err(NativeLayerError::Mismatch)
            .and_then(|()| compare(self.diff_id).map_err(NativeLayerError::DiffId))
            .map_err(Stopped::Failed)?;
        Ok((image.written, found))
    }
}

/// A blob's reader that keeps its error: a decoder would report it in its own words only.
struct Blob<R> {
    inner: R,
    error: Option<io::Error>,
}

impl<R: Read> Read for Blob<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.error.is_some() {
            return Err(io::ErrorKind::Other.into());
        }
        read_some(&mut self.inner, buffer).map_err(|error| {
            self.error = Some(error);
            io::ErrorKind::Other.into()
        })
    }
}

/// The image as it is written.
struct Image<'a> {
    out: Option<&'a File>,
    hasher: Hasher,
    written: u64,
    limit: u64,
    /// What its bytes count for.
    budgets: &'a [Budget],
}

impl Image<'_> {
    fn take(&mut self, source: &mut dyn Read) -> Result<(), NativeLayerError> {
        let mut buffer = vec![0; BUFFER];
        loop {
            // Of what is not compressed, faults of reading are known to the blob.
            let n = read_some(source, &mut buffer).map_err(NativeLayerError::Decompress)?;
            if n == 0 {
                return Ok(());
            }
            let data = &buffer[..n];
            if self.written + n as u64 > self.limit {
                return Err(NativeLayerError::Limit {
                    what: "bytes",
                    limit: self.limit,
                    option: "tar_bytes",
                });
            }
            for budget in self.budgets {
                budget.take(n as u64)?;
            }
            self.hasher.update(data);
            if let Some(out) = self.out {
                out.write_all_at(data, self.written)
                    .map_err(NativeLayerError::Scratch)?;
            }
            self.written += n as u64;
        }
    }
}
