//! A layer's entries, out of its blob.

use std::io::Read;

use lithify_digest::Digest;
use lithify_tar::TarFault;
use lithify_tree::{ContentId, ContentSink, Entry};

use crate::blob::{Chunk, Pipeline};
use crate::entries::File;
use crate::error::CopyError;
use crate::{Compression, Error, Expected, Options, Step, TarEntries};

/// Reads a layer: verifies its blob, decompresses it, and gives out its entries and their data.
///
/// Nothing it gave out may be trusted before [`Self::finish`] returned `Ok`: until then the blob may still turn out to be
/// another one, or corrupt, or to go on with something that is no tar. Whoever writes an artifact publishes it after that.
///
/// Dropping the reader stops it and its threads.
///
/// ```
/// use lithify_layer::{Expected, LayerReader, Options};
/// use lithify_tar::TarWriter;
/// use lithify_tree::{Entry, EntryKind, Metadata, TreePath};
///
/// let mut tar = TarWriter::new(Vec::new());
/// let path = TreePath::clean(b"hello")?;
/// tar.append(&Entry { path, metadata: Metadata::default(), kind: EntryKind::File { size: 5, segments: None } })?;
/// tar.data(b"world")?;
/// let blob = tar.finish()?;
///
/// let expected = Expected { size: Some(blob.len() as u64), ..Expected::nothing() };
/// let mut layer = LayerReader::new(std::io::Cursor::new(blob), expected, Options::default())?;
/// while let Some(entry) = layer.next_entry()? {
///     let mut data = Vec::new();
///     while let Some(bytes) = layer.next_data()? {
///         data.extend_from_slice(bytes);
///     }
///     assert_eq!((entry.path.as_bytes(), &data[..]), (&b"hello"[..], &b"world"[..]));
/// }
/// let summary = layer.finish()?;
/// assert_eq!(summary.entries, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LayerReader {
    /// The chunk being parsed and how much of it is done. Before `pipeline`, so that it is dropped first.
    chunk: Option<Chunk>,
    at: usize,
    tar: TarEntries,
    state: State,
    expected: Expected,
    pipeline: Pipeline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// The end-of-archive mark was read, or the blob ended.
    Ended,
    Failed,
}

/// A part of a tar besides the data of files, as it is read ([`LayerReader::next_entry_with`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw<'a> {
    /// Headers, padding, the end and what follows it, data of members that are no entries: in their order, in pieces of any length.
    Bytes(&'a [u8]),
    /// The headers of a member end here.
    Member,
}

/// What a layer turned out to be. It says that everything in [`Expected`] was found true.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Digest of the blob as stored; SHA-256 unless a digest of another algorithm was expected.
    pub digest: Digest,
    /// Size of the blob as stored, in bytes.
    pub size: u64,
    /// Digest of the decompressed tar, to the blob's last byte; SHA-256 unless another algorithm was expected.
    pub diff_id: Digest,
    /// Size of the decompressed tar in bytes, everything after its end mark included.
    pub tar_size: u64,
    /// How the blob is compressed, whatever its media type said.
    pub compression: Compression,
    /// Members of the tar, skipped ones included.
    pub entries: u64,
    /// Members that lost an attribute Linux cannot hold, by its name ([`Limits::drop_xattrs`](crate::Limits::drop_xattrs)); those
    /// of many names are one.
    pub dropped_xattrs: std::collections::BTreeMap<Vec<u8>, u64>,
}

impl LayerReader {
    /// Starts reading a blob. With [`crate::Threading::Pipelined`] its threads begin at once.
    ///
    /// # Errors
    /// [`crate::BlobError::Thread`] if the system has no thread to give; nothing is read yet.
    pub fn new(
        blob: impl Read + Send + 'static,
        expected: Expected,
        options: Options,
    ) -> Result<Self, Error> {
        let Options {
            limits,
            threading,
            cancel,
            names,
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
            at: 0,
            tar: TarEntries::new(&limits, names),
            state: State::Reading,
            expected,
            pipeline,
        })
    }

    /// The next entry, past whatever data of the last was not read; `None` at the end of the tar.
    ///
    /// # Errors
    /// [`Error`] as soon as the blob or the tar is found wrong. A fault in the tar of a blob of known size and digest (or
    /// diff_id) is reported only after the rest of the blob was read: if it is another blob, that is the error.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.next_entry_with(|_| Ok(())).map_err(unheard)
    }

    /// Like [`Self::next_entry`], and hands what is no file's data to `raw`: with the data that [`Self::next_data`] and
    /// [`Self::copy_into`] give these bytes are the tar, once [`Self::finish_with`] handed on the rest.
    ///
    /// # Errors
    /// As [`Self::next_entry`], and those of `raw`.
    pub fn next_entry_with<E>(
        &mut self,
        mut raw: impl FnMut(Raw<'_>) -> Result<(), E>,
    ) -> Result<Option<Entry>, CopyError<E>> {
        loop {
            match self.state {
                State::Reading => {}
                State::Ended => return Ok(None),
                State::Failed => return Err(Error::Failed.into()),
            }
            let chunk = self.chunk.as_deref().unwrap_or(&[]);
            let input = &chunk[self.at..];
            let mut rest = input;
            let step = self.tar.next(&mut rest);
            let used = &input[..input.len() - rest.len()];
            self.at += used.len();
            if !used.is_empty() && step.is_ok() {
                raw(Raw::Bytes(used)).map_err(CopyError::Sink)?;
            }
            match step {
                Ok(Step::Entry(entry)) => {
                    raw(Raw::Member).map_err(CopyError::Sink)?;
                    return Ok(Some(entry));
                }
                Ok(Step::Passed) => raw(Raw::Member).map_err(CopyError::Sink)?,
                Ok(Step::NeedInput) => {
                    if !self.next_chunk()? {
                        self.tar.finish().map_err(|error| self.failed(error))?;
                        self.state = State::Ended;
                    }
                }
                Ok(Step::End) => self.state = State::Ended,
                Err(error) => return Err(self.tar_error(error).into()),
            }
        }
    }

    /// The next data bytes of the last entry, where they lie in the decoder's buffer; `None` when there are no more.
    ///
    /// Of a sparse file these are the bytes of its segments, one after the other; holes are not delivered.
    ///
    /// # Errors
    /// As [`Self::next_entry`].
    pub fn next_data(&mut self) -> Result<Option<&[u8]>, Error> {
        if self.state == State::Failed {
            return Err(Error::Failed);
        }
        let left = self.tar.data_left();
        if left == 0 {
            return Ok(None);
        }
        if self
            .chunk
            .as_ref()
            .is_none_or(|chunk| self.at == chunk.len())
            && !self.next_chunk()?
        {
            let error = self.tar.finish().err().unwrap_or(Error::Failed);
            return Err(self.failed(error));
        }
        let Some(chunk) = &self.chunk else {
            return Err(Error::Failed);
        };
        let start = self.at;
        let count = (chunk.len() - start).min(usize::try_from(left).unwrap_or(usize::MAX));
        self.tar.take_data(count as u64);
        self.at += count;
        Ok(Some(&chunk[start..start + count]))
    }

    /// Copies the data of the last entry into a sink and gives the sink's name for it; `None` if the entry is no regular
    /// file. To be called right after [`Self::next_entry`], before any data is read.
    ///
    /// # Errors
    /// The layer's or the sink's.
    pub fn copy_into<S: ContentSink>(
        &mut self,
        sink: &mut S,
    ) -> Result<Option<ContentId>, CopyError<S::Error>> {
        let Some(File { size, segments }) = self.tar.take_file() else {
            return Ok(None);
        };
        sink.begin(size, segments.as_deref())
            .map_err(CopyError::Sink)?;
        while let Some(data) = self.next_data()? {
            sink.write(data).map_err(CopyError::Sink)?;
        }
        sink.finish().map(Some).map_err(CopyError::Sink)
    }

    /// Reads whatever is left, entries and all, and gives the verdict.
    ///
    /// # Errors
    /// As [`Self::next_entry`].
    pub fn finish(self) -> Result<Summary, Error> {
        self.finish_with(|_| Ok(())).map_err(unheard)
    }

    /// Like [`Self::finish`], and hands what is read to `raw`, data of files included.
    ///
    /// # Errors
    /// As [`Self::next_entry`], and those of `raw`.
    pub fn finish_with<E>(
        mut self,
        mut raw: impl FnMut(Raw<'_>) -> Result<(), E>,
    ) -> Result<Summary, CopyError<E>> {
        while self.next_entry_with(&mut raw)?.is_some() {}
        // Zeros fill up records, as many as a tool likes. Whatever else there is, that this is another blob is the better
        // news.
        let (mut beyond, mut data) = (0, None);
        loop {
            let rest = self.chunk.as_deref().map_or(&[][..], |c| &c[self.at..]);
            if data.is_none() {
                data = rest.iter().position(|&b| b != 0);
                beyond += data.unwrap_or(rest.len()) as u64;
                if data.is_none() && !rest.is_empty() {
                    raw(Raw::Bytes(rest)).map_err(CopyError::Sink)?;
                }
            }
            if !self.next_chunk()? {
                break;
            }
        }
        if data.is_some() {
            let error = self.tar.data_after_end(beyond);
            return Err(self.failed(error).into());
        }
        let verified = self.pipeline.verified().ok_or(Error::Failed)?;
        Ok(Summary {
            digest: verified.digest,
            size: verified.size,
            diff_id: verified.diff_id,
            tar_size: verified.tar_size,
            compression: verified.compression,
            entries: self.tar.members(),
            dropped_xattrs: self.tar.take_dropped(),
        })
    }

    fn next_chunk(&mut self) -> Result<bool, Error> {
        // Given back first: without threads the next chunk may need this one's buffer.
        self.chunk = None;
        self.at = 0;
        match self.pipeline.next() {
            Ok(chunk) => {
                self.chunk = chunk;
                Ok(self.chunk.is_some())
            }
            Err(error) => Err(self.failed(error.into())),
        }
    }

    fn failed(&mut self, error: Error) -> Error {
        self.state = State::Failed;
        self.chunk = None;
        error
    }

    /// Prefers the news that this is another blob to the news that its tar is wrong.
    fn tar_error(&mut self, error: Error) -> Error {
        self.state = State::Failed;
        let Expected {
            digest,
            size,
            diff_id,
            ..
        } = self.expected;
        let verifiable = digest.is_some() || diff_id.is_some();
        let limit = matches!(&error, Error::Tar(e) if matches!(e.fault, TarFault::Limit(_)));
        if limit || !verifiable || size.is_none() {
            self.chunk = None;
            return error;
        }
        loop {
            match self.next_chunk() {
                Ok(true) => {}
                Err(better) if better.is_verification() => return better,
                Ok(false) | Err(_) => return error,
            }
        }
    }
}

/// The error of a reader whose raw bytes nobody hears, and which therefore is the layer's.
fn unheard(error: CopyError<std::convert::Infallible>) -> Error {
    match error {
        CopyError::Layer(error) => error,
        CopyError::Sink(never) => match never {},
    }
}
