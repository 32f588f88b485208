//! A layer's tar as it is, out of its blob.

use std::io::Read;

use lithify_digest::Digest;

use crate::blob::{Chunk, Pipeline};
use crate::{BlobError, Compression, Expected, Options};

/// Decompresses a blob and verifies it, without looking at what it holds.
///
/// Nothing it gave out may be trusted before [`Self::next`] returned `None`: until then the blob may still turn out to be
/// another one. Dropping it stops it and its threads.
///
/// ```
/// use lithify_layer::{Decoded, Expected, Options};
///
/// let blob = vec![0; 1024];
/// let mut decoded = Decoded::new(std::io::Cursor::new(blob), Expected::nothing(), Options::default())?;
/// let mut size = 0;
/// while let Some(bytes) = decoded.next()? {
///     size += bytes.len() as u64;
/// }
/// assert_eq!(decoded.summary().unwrap().size, size);
/// # Ok::<(), lithify_layer::BlobError>(())
/// ```
#[derive(Debug)]
pub struct Decoded {
    /// What was given out last. Before `pipeline`, so that it is dropped first.
    chunk: Option<Chunk>,
    pipeline: Pipeline,
}

/// What a blob turned out to be. It says that everything in [`Expected`] was found true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodedSummary {
    /// Digest of the decompressed bytes; SHA-256 unless another algorithm was expected.
    pub diff_id: Digest,
    /// Decompressed bytes.
    pub size: u64,
    /// How the blob is compressed.
    pub compression: Compression,
}

impl Decoded {
    /// Starts reading a blob. With [`crate::Threading::Pipelined`] its threads begin at once.
    ///
    /// # Errors
    /// [`BlobError::Thread`] if the system has no thread to give; nothing is read yet.
    pub fn new(
        blob: impl Read + Send + 'static,
        expected: Expected,
        options: Options,
    ) -> Result<Self, BlobError> {
        let Options {
            limits,
            threading,
            cancel,
            names: _,
            tar_budget,
        } = options;
        let pipeline = Pipeline::new(
            Box::new(blob),
            expected,
            limits,
            tar_budget,
            threading,
            cancel,
        )?;
        Ok(Self {
            chunk: None,
            pipeline,
        })
    }

    /// The next bytes; `None` when there are no more and everything expected of the blob was found true.
    ///
    /// # Errors
    /// [`BlobError`] as soon as the blob is found wrong.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it gives out borrows from it"
    )]
    pub fn next(&mut self) -> Result<Option<&[u8]>, BlobError> {
        // First, so that its buffer can be used again.
        self.chunk = None;
        self.chunk = self.pipeline.next()?;
        Ok(self.chunk.as_deref())
    }

    /// What the blob turned out to be, once [`Self::next`] gave `None`.
    #[must_use]
    pub fn summary(&self) -> Option<DecodedSummary> {
        self.pipeline.verified().map(|verified| DecodedSummary {
            diff_id: verified.diff_id,
            size: verified.tar_size,
            compression: verified.compression,
        })
    }
}
