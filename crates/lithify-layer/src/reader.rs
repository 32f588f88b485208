//! A layer's entries, out of its blob.

use std::io::Read;

use lithify_digest::Digest;
use lithify_tar::{Detail, Event, MemberKind, Parser, TarFault};
use lithify_tree::{
    ContentId, ContentSink, Convention, DataSegment, Entry, EntryKind, Metadata, TreePath,
};

use crate::blob::{Chunk, Pipeline};
use crate::error::CopyError;
use crate::{Compression, EntryFault, Error, Expected, Names, Options};

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
    parser: Parser,
    /// The file whose data comes next.
    file: Option<File>,
    state: State,
    expected: Expected,
    names: Names,
    pipeline: Pipeline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// The end-of-archive mark was read, or the blob ended.
    Ended,
    Failed,
}

#[derive(Debug)]
struct File {
    size: u64,
    segments: Option<Vec<DataSegment>>,
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
            parser: Parser::new(limits.tar(), Detail::Everything),
            file: None,
            state: State::Reading,
            expected,
            names,
            pipeline,
        })
    }

    /// The next entry, past whatever data of the last was not read; `None` at the end of the tar.
    ///
    /// # Errors
    /// [`Error`] as soon as the blob or the tar is found wrong. A fault in the tar of a blob of known size and digest (or
    /// diff_id) is reported only after the rest of the blob was read: if it is another blob, that is the error.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            match self.state {
                State::Reading => {}
                State::Ended => return Ok(None),
                State::Failed => return Err(Error::Failed),
            }
            let mut input = self
                .chunk
                .as_deref()
                .map_or(&[][..], |chunk| &chunk[self.at..]);
            let before = input.len();
            let event = self.parser.next(&mut input);
            self.at += before - input.len();
            match event {
                Ok(Event::Member) => match self.entry() {
                    Ok(Some(entry)) => return Ok(Some(entry)),
                    Ok(None) => {}
                    Err(fault) => {
                        let error = self.parser.error(fault);
                        return Err(self.tar_error(error.into()));
                    }
                },
                Ok(Event::NeedInput) => {
                    if !self.next_chunk()? {
                        self.parser
                            .finish()
                            .map_err(|error| self.failed(error.into()))?;
                        self.state = State::Ended;
                    }
                }
                Ok(Event::End) => self.state = State::Ended,
                Err(error) => return Err(self.tar_error(error.into())),
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
        let left = self.parser.data_left();
        if left == 0 {
            return Ok(None);
        }
        if self
            .chunk
            .as_ref()
            .is_none_or(|chunk| self.at == chunk.len())
            && !self.next_chunk()?
        {
            let error = match self.parser.finish() {
                Err(error) => error.into(),
                Ok(()) => Error::Failed,
            };
            return Err(self.failed(error));
        }
        let Some(chunk) = &self.chunk else {
            return Err(Error::Failed);
        };
        let start = self.at;
        let count = (chunk.len() - start).min(usize::try_from(left).unwrap_or(usize::MAX));
        self.parser.take_data(count as u64);
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
        let Some(File { size, segments }) = self.file.take() else {
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
    pub fn finish(mut self) -> Result<Summary, Error> {
        while self.next_entry()?.is_some() {}
        // Zeros fill up records, as many as a tool likes. Whatever else there is, that this is another blob is the better
        // news.
        let (mut beyond, mut data) = (0, None);
        loop {
            let rest = self.chunk.as_deref().map_or(&[][..], |c| &c[self.at..]);
            if data.is_none() {
                data = rest.iter().position(|&b| b != 0);
                beyond += data.unwrap_or(rest.len()) as u64;
            }
            if !self.next_chunk()? {
                break;
            }
        }
        if data.is_some() {
            let error = self.parser.data_after_end(beyond);
            return Err(self.failed(error.into()));
        }
        let verified = self.pipeline.verified().ok_or(Error::Failed)?;
        Ok(Summary {
            digest: verified.digest,
            size: verified.size,
            diff_id: verified.diff_id,
            tar_size: verified.tar_size,
            compression: verified.compression,
            entries: self.parser.entries(),
            dropped_xattrs: self.parser.take_dropped(),
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

    /// Makes the present member an entry; `None` if it is none.
    fn entry(&mut self) -> Result<Option<Entry>, EntryFault> {
        let data = self.parser.data_left();
        let member = self.parser.member();
        self.file = None;
        let path = TreePath::clean(&member.path).map_err(EntryFault::Path)?;
        if self.names == Names::Plain && path.has_reserved_name() {
            return Err(EntryFault::ReservedName);
        }
        let path = match Convention::of(path)? {
            Convention::Ordinary(path) => path,
            Convention::Whiteout(path) => return Ok(Some(marker(path, EntryKind::Whiteout))),
            Convention::Opaque(path) => return Ok(Some(marker(path, EntryKind::Opaque))),
            // Hard links lead to these.
            Convention::AufsFile(path) if member.kind == MemberKind::File => path,
            Convention::AufsFile(_) | Convention::AufsLeftover => return Ok(None),
        };
        if path.is_root() && member.kind != MemberKind::Directory {
            return Err(EntryFault::RootNotDirectory {
                kind: member.kind.name(),
            });
        }
        let kind = match member.kind {
            MemberKind::File => {
                let segments = member.segments.take();
                debug_assert!(segments.is_some() || data == member.size);
                self.file = Some(File {
                    size: member.size,
                    segments: segments.clone(),
                });
                EntryKind::File {
                    size: member.size,
                    segments,
                }
            }
            MemberKind::Directory => EntryKind::Directory,
            MemberKind::Symlink => EntryKind::Symlink {
                target: member.link_target.clone(),
            },
            MemberKind::HardLink => {
                let target =
                    TreePath::clean(&member.link_target).map_err(EntryFault::HardLinkTarget)?;
                EntryKind::HardLink { target }
            }
            MemberKind::CharDevice => EntryKind::CharDevice(member.device),
            MemberKind::BlockDevice => EntryKind::BlockDevice(member.device),
            MemberKind::Fifo => EntryKind::Fifo,
        };
        let metadata = Metadata {
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            mtime: member.mtime,
            xattrs: std::mem::take(&mut member.xattrs),
        };
        Ok(Some(Entry {
            path,
            metadata,
            kind,
        }))
    }
}

/// An entry that says something of lower layers and has no properties of its own.
fn marker(path: TreePath, kind: EntryKind) -> Entry {
    Entry {
        path,
        metadata: Metadata::default(),
        kind,
    }
}
