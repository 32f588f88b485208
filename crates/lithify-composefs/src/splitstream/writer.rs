//! Writing a splitstream while its content passes.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use lithify_verity::file::{FileAlgorithm, FileDigest};

use super::ContentType;
use super::format::{HEADER, Header, INFORMATION, Information};
use super::named;

/// Bytes in one chunk after which it ends at the next place where it may.
const RUN: usize = 4 << 20;
/// Bytes in one chunk after which it ends wherever it is: readers take a chunk into memory.
const RUN_MAX: usize = 64 << 20;

/// The writer of one splitstream.
///
/// The body, compressed, goes to `body` as it is made; what stands before it is known only at the
/// end.
///
/// ```
/// use lithify_composefs::splitstream::{ContentType, StreamReader, StreamWriter};
/// use lithify_verity::file::{FileAlgorithm, FileHasher, FileOptions};
///
/// let algorithm = FileAlgorithm::Sha256;
/// let mut hasher = FileHasher::new(&FileOptions::new(algorithm))?;
/// hasher.update(&[7; 100]);
/// let mut writer = StreamWriter::new(algorithm, ContentType::LAYER, Vec::new())?;
/// writer.inline(b"header")?;
/// writer.object(hasher.finish(), 100)?;
/// let (head, body) = writer.finish()?;
/// let stream = [head.into_bytes(), body].concat();
/// assert_eq!(StreamReader::open(&stream[..])?.size(), 106);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StreamWriter<W: Write> {
    algorithm: FileAlgorithm,
    content_type: ContentType,
    body: zstd::Encoder<'static, Counted<W>>,
    /// Bytes that are in the body, but whose chunk has not ended.
    run: Vec<u8>,
    size: u64,
    objects: Digests,
    streams: Digests,
    /// Numbers of stream references by name.
    names: BTreeMap<String, usize>,
}

/// All that stands before the body of a splitstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHead(Vec<u8>);

impl StreamHead {
    /// Returns the bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl<W: Write> std::fmt::Debug for StreamWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamWriter")
            .field("content_type", &self.content_type)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl<W: Write> StreamWriter<W> {
    /// Starts a splitstream whose body goes to `body`.
    ///
    /// # Errors
    /// The error of the compressor.
    pub fn new(algorithm: FileAlgorithm, content_type: ContentType, body: W) -> io::Result<Self> {
        let counted = Counted {
            inner: body,
            count: 0,
        };
        Ok(Self {
            algorithm,
            content_type,
            body: zstd::Encoder::new(counted, zstd::DEFAULT_COMPRESSION_LEVEL)?,
            run: Vec::new(),
            size: 0,
            objects: Digests::default(),
            streams: Digests::default(),
            names: BTreeMap::new(),
        })
    }

    /// Returns the bytes of the whole so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes that are kept in the splitstream. Those between two objects are one chunk.
    ///
    /// # Errors
    /// The error of `body`.
    pub fn inline(&mut self, mut data: &[u8]) -> io::Result<()> {
        self.size += data.len() as u64;
        while self.run.len() + data.len() > RUN_MAX {
            let (now, later) = data.split_at(RUN_MAX - self.run.len());
            self.run.extend_from_slice(now);
            self.end_run()?;
            data = later;
        }
        self.run.extend_from_slice(data);
        Ok(())
    }

    /// Says that a chunk may end here: a reader that takes the content apart needs nothing that
    /// lies on both sides at once. Without such places a chunk of any length waits in memory.
    ///
    /// # Errors
    /// The error of `body`.
    pub fn boundary(&mut self) -> io::Result<()> {
        match self.run.len() < RUN {
            true => Ok(()),
            false => self.end_run(),
        }
    }

    /// Adds an object of so many bytes.
    ///
    /// # Errors
    /// The error of `body`; [`io::ErrorKind::InvalidInput`] for a digest of another algorithm.
    pub fn object(&mut self, id: FileDigest, size: u64) -> io::Result<()> {
        self.check(&id)?;
        self.end_run()?;
        let index = self.objects.number(id);
        self.body.write_all(&(index as i64).to_le_bytes())?;
        self.size += size;
        Ok(())
    }

    /// Says that an object is needed, although it is no part of the whole.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a digest of another algorithm.
    pub fn keep(&mut self, id: FileDigest) -> io::Result<()> {
        self.check(&id)?;
        self.objects.number(id);
        Ok(())
    }

    /// Says that a splitstream or an image is needed, by a name. A name that is there already gets
    /// another meaning.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a digest of another algorithm, or a name with a NUL.
    pub fn name(&mut self, name: impl Into<String>, id: FileDigest) -> io::Result<()> {
        self.check(&id)?;
        let name = name.into();
        if name.contains('\0') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let index = self.streams.number(id);
        self.names.insert(name, index);
        Ok(())
    }

    /// Ends the splitstream: returns what stands before the body, and the body.
    ///
    /// # Errors
    /// The error of `body`.
    pub fn finish(mut self) -> io::Result<(StreamHead, W)> {
        self.end_run()?;
        let body = self.body.finish()?;
        let names = named::pack(self.names.iter().map(|(name, at)| (name.as_str(), *at)))?;
        let digest = self.algorithm.digest_size() as u64;
        let mut at = 0;
        let mut next = |length: u64| {
            let start = at;
            at += length;
            start..at
        };
        next(HEADER as u64);
        let header = Header {
            algorithm: self.algorithm,
            information: next(INFORMATION as u64),
        };
        let information = Information {
            streams: next(self.streams.list.len() as u64 * digest),
            objects: next(self.objects.list.len() as u64 * digest),
            names: next(names.len() as u64),
            body: next(body.count),
            content_type: self.content_type,
            size: self.size,
        };
        let mut head = Vec::with_capacity(usize::try_from(information.body.start).unwrap_or(0));
        head.extend_from_slice(&header.to_bytes());
        head.extend_from_slice(&information.to_bytes());
        for id in self.streams.list.iter().chain(&self.objects.list) {
            head.extend_from_slice(id.as_bytes());
        }
        head.extend_from_slice(&names);
        Ok((StreamHead(head), body.inner))
    }

    fn check(&self, id: &FileDigest) -> io::Result<()> {
        match id.algorithm() == self.algorithm {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn end_run(&mut self) -> io::Result<()> {
        if self.run.is_empty() {
            return Ok(());
        }
        // At most `RUN_MAX`.
        let length = -(self.run.len() as i64);
        self.body.write_all(&length.to_le_bytes())?;
        self.body.write_all(&self.run)?;
        self.run.clear();
        Ok(())
    }
}

/// Digests in the order in which they first appeared.
#[derive(Debug, Default)]
struct Digests {
    list: Vec<FileDigest>,
    numbers: HashMap<FileDigest, usize>,
}

impl Digests {
    fn number(&mut self, id: FileDigest) -> usize {
        *self.numbers.entry(id).or_insert_with(|| {
            self.list.push(id);
            self.list.len() - 1
        })
    }
}

/// A writer that counts.
struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
