//! Reading a splitstream chunk by chunk.

use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use lithify_storage::ReadAt;
use lithify_verity::file::{FileAlgorithm, FileDigest};

use super::format::{HEADER, Header, INFORMATION, Information};
use super::references::References;
use super::{ContentType, NamedReference, StreamError, named};

/// Binary logarithm of the most memory Zstandard's window may take. Level 3, which writers use,
/// takes 21 at most.
pub(super) const WINDOW_BITS_MAX: u32 = 24;

/// Names of the parts in errors.
const INFORMATION_PART: &str = "information";
const STREAMS_PART: &str = "stream references";
const OBJECTS_PART: &str = "object references";
const NAMES_PART: &str = "named references";
const BODY_PART: &str = "chunks";

/// A part of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// So many bytes, which [`StreamReader::read_inline`] gives.
    Inline(u64),
    /// An object.
    Object(FileDigest),
}

/// The reader of one splitstream.
///
/// It knows no objects: [`Rebuilt`](super::Rebuilt) puts the whole together.
pub struct StreamReader<R: ReadAt> {
    source: Arc<R>,
    algorithm: FileAlgorithm,
    content_type: ContentType,
    size: u64,
    objects: References,
    names: Vec<NamedReference>,
    body: zstd::Decoder<'static, BufReader<Section<R>>>,
    /// Bytes of the chunk that [`read_inline`](Self::read_inline) has still to give.
    inline_left: u64,
    /// Bytes of all chunks of bytes so far.
    inline: u64,
}

impl<R: ReadAt> std::fmt::Debug for StreamReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamReader")
            .field("algorithm", &self.algorithm)
            .field("content_type", &self.content_type)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl<R: ReadAt> StreamReader<R> {
    /// Reads what stands before the body, and checks that all parts are inside the file.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn open(source: R) -> Result<Self, StreamError> {
        let source = Arc::new(source);
        let file = source.size()?;
        let mut header = [0; HEADER];
        let short = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => StreamError::Magic,
            _ => e.into(),
        };
        source.read_exact_at(&mut header, 0).map_err(short)?;
        let Header {
            algorithm,
            information,
        } = Header::parse(&header)?;
        let information = inside(information, INFORMATION_PART, file)?;
        let found = information.end - information.start;
        if found < INFORMATION as u64 {
            return Err(StreamError::ShortInformation {
                expected: INFORMATION as u64,
                found,
            });
        }
        let mut bytes = [0; INFORMATION];
        source.read_exact_at(&mut bytes, information.start)?;
        let information = Information::parse(&bytes);
        let streams = inside(information.streams, STREAMS_PART, file)?;
        let objects = inside(information.objects, OBJECTS_PART, file)?;
        let names = inside(information.names, NAMES_PART, file)?;
        let body = inside(information.body, BODY_PART, file)?;
        let mut streams = References::new(STREAMS_PART, algorithm, streams)?;
        let objects = References::new(OBJECTS_PART, algorithm, objects)?;
        let names = Section::new(&source, names);
        let names = resolve(named::parse(names)?, &mut streams, &*source)?;
        let unpack = |source| StreamError::Zstandard {
            part: BODY_PART,
            source,
        };
        let body = Section::new(&source, body);
        let mut body = zstd::Decoder::new(body).map_err(unpack)?;
        body.window_log_max(WINDOW_BITS_MAX).map_err(unpack)?;
        Ok(Self {
            algorithm,
            content_type: information.content_type,
            size: information.size,
            objects,
            names,
            body,
            source,
            inline_left: 0,
            inline: 0,
        })
    }

    /// Checks that the content is of this kind, and its digests of this algorithm.
    ///
    /// # Errors
    /// [`StreamError::ContentType`], [`StreamError::OtherAlgorithm`].
    pub fn expect(
        &self,
        content_type: ContentType,
        algorithm: FileAlgorithm,
    ) -> Result<(), StreamError> {
        if self.algorithm != algorithm {
            return Err(StreamError::OtherAlgorithm {
                expected: algorithm,
                found: self.algorithm,
            });
        }
        match self.content_type == content_type {
            true => Ok(()),
            false => Err(StreamError::ContentType {
                expected: content_type,
                found: self.content_type,
            }),
        }
    }

    /// Returns the algorithm of the digests.
    #[must_use]
    pub fn algorithm(&self) -> FileAlgorithm {
        self.algorithm
    }

    /// Returns the kind of content.
    #[must_use]
    pub fn content_type(&self) -> ContentType {
        self.content_type
    }

    /// Returns the bytes that the whole has by its own account.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the splitstreams and images it needs, sorted by name.
    #[must_use]
    pub fn names(&self) -> &[NamedReference] {
        &self.names
    }

    /// Returns what a name means.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<FileDigest> {
        let found = self.names.binary_search_by(|n| n.name.as_str().cmp(name));
        found.ok().map(|at| self.names[at].id)
    }

    /// Returns the number of object references.
    #[must_use]
    pub fn object_count(&self) -> u64 {
        self.objects.len()
    }

    /// Returns an object reference by its number.
    ///
    /// # Errors
    /// [`StreamError::Index`] if there is none, [`StreamError::Io`].
    pub fn object(&mut self, index: u64) -> Result<FileDigest, StreamError> {
        self.objects.get(&*self.source, index)
    }

    /// Returns the next chunk; what was not read of the one before is passed over.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, StreamError> {
        while self.inline_left > 0 {
            self.read_inline(&mut [0; 8192])?;
        }
        let mut number = [0; size_of::<i64>()];
        let mut have = 0;
        while have < number.len() {
            match self.body.read(&mut number[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(StreamError::Truncated),
                Ok(read) => have += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(broken(e)),
            }
        }
        let number = i64::from_le_bytes(number);
        if let Ok(index) = u64::try_from(number) {
            return self.object(index).map(|id| Some(Chunk::Object(id)));
        }
        let length = number.unsigned_abs();
        let found = self.inline.saturating_add(length);
        if found > self.size {
            return Err(StreamError::Size {
                expected: self.size,
                found,
                is_more: true,
            });
        }
        self.inline = found;
        self.inline_left = length;
        Ok(Some(Chunk::Inline(length)))
    }

    /// Reads on in a chunk of bytes; 0 at its end.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn read_inline(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        let left = usize::try_from(self.inline_left).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        if most == 0 {
            return Ok(0);
        }
        let read = loop {
            match self.body.read(&mut buffer[..most]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(broken(e)),
                Ok(read) => break read,
            }
        };
        if read == 0 {
            return Err(StreamError::Truncated);
        }
        self.inline_left -= read as u64;
        Ok(read)
    }
}

/// Returns a range, if it is one inside a file.
fn inside(range: Range<u64>, part: &'static str, size: u64) -> Result<Range<u64>, StreamError> {
    match range.start <= range.end && range.end <= size {
        true => Ok(range),
        false => Err(StreamError::Range {
            part,
            start: range.start,
            end: range.end,
            size,
        }),
    }
}

fn resolve(
    records: Vec<(u64, String)>,
    streams: &mut References,
    source: &impl ReadAt,
) -> Result<Vec<NamedReference>, StreamError> {
    let mut names = Vec::with_capacity(records.len());
    for (index, name) in records {
        let id = streams.get(source, index)?;
        names.push(NamedReference { name, id });
    }
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|two| two[0].name == two[1].name) {
        return Err(StreamError::NamedTwice {
            name: twice[0].name.clone(),
        });
    }
    Ok(names)
}

/// The error for a body that cannot be unpacked.
fn broken(source: io::Error) -> StreamError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => StreamError::Truncated,
        _ => StreamError::Zstandard {
            part: BODY_PART,
            source,
        },
    }
}

/// Part of a file, read in order.
struct Section<R> {
    source: Arc<R>,
    range: Range<u64>,
}

impl<R: ReadAt> Section<R> {
    /// Takes a range that is inside the file.
    fn new(source: &Arc<R>, range: Range<u64>) -> Self {
        Self {
            source: Arc::clone(source),
            range,
        }
    }
}

impl<R: ReadAt> Read for Section<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        self.source
            .read_exact_at(&mut buffer[..most], self.range.start)?;
        self.range.start += most as u64;
        Ok(most)
    }
}
