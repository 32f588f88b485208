//! The tar, as it is read.

use std::fmt;
use std::io::{self, BufRead, Read};

use lithify_cancel::CancelToken;
use lithify_storage::ReadAt;
use lithify_tree::TreePath;
use zstd::stream::read::Decoder;

use super::ahead::Ahead;
use super::error::PatchError;
use super::sources::Sources;
use crate::format::{DeltaReader, FormatError, Limits, Op, window_limit};

/// First bytes of a file that zstd would take for one of its own dictionaries.
const DICTIONARY_MAGIC: [u8; 4] = 0xec30_a437_u32.to_le_bytes();

/// Operations that any delta may have, and those it may have for each byte that it makes. A byte by itself takes a file that is opened, a
/// position, and the byte; bsdiff writes two more that make nothing.
const IDLE: u64 = 1 << 20;
const IDLE_PER_BYTE: u64 = 8;

/// Bounds, and who may stop the work.
#[derive(Clone, Debug)]
pub struct PatchOptions {
    /// Bounds on what the delta may ask for.
    pub limits: Limits,
    /// Most bytes of memory for an operation *dictionary*: the file that is the dictionary, and its frame. Default: 1 GiB, since others
    /// take files of 512 MiB and frames as long as these.
    pub dictionary_bytes: u64,
    /// Base-2 logarithm of the longest window of such a frame.
    pub dictionary_window_log: u32,
    /// Stops the work.
    pub cancel: CancelToken,
}

impl Default for PatchOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            dictionary_bytes: 1 << 30,
            dictionary_window_log: 29,
            cancel: CancelToken::default(),
        }
    }
}

/// Makes a tar of a delta and old files, as it is read.
///
/// Errors of its [`Read`] have a [`PatchError`] inside. Memory: the window of the delta, and for an operation *dictionary* the
/// whole old file.
pub struct Patch<R: BufRead, S> {
    delta: DeltaReader<R>,
    sources: S,
    options: PatchOptions,
    source: Option<Source>,
    /// The source's next byte.
    position: u64,
    /// Bytes that were made.
    made: u64,
    state: State,
    /// The error to return next.
    failure: Option<PatchError>,
}

struct Source {
    path: TreePath,
    file: Ahead<Box<dyn ReadAt + Send>>,
    size: u64,
}

enum State {
    /// Between two operations.
    Next,
    Data,
    Copy(u64),
    Add,
    /// What the frame still holds.
    Dictionary(Box<dyn Read + Send>),
    End,
    Failed,
}

impl<R: BufRead, S> fmt::Debug for Patch<R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patch({:?})", self.delta)
    }
}

impl<R: BufRead, S: Sources> Patch<R, S> {
    /// Starts to apply a delta.
    ///
    /// # Errors
    /// [`PatchError`].
    pub fn new(delta: R, sources: S, options: &PatchOptions) -> Result<Self, PatchError> {
        Ok(Self {
            delta: DeltaReader::new(delta, &options.limits)?,
            sources,
            options: options.clone(),
            source: None,
            position: 0,
            made: 0,
            state: State::Next,
            failure: None,
        })
    }

    /// Fills the front of a buffer with the next bytes of the tar; returns how many, 0 at the end.
    ///
    /// # Errors
    /// [`PatchError`]; nothing more is read after it.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, PatchError> {
        let filled = self.some(buffer);
        if filled.is_err() {
            self.state = State::Failed;
        }
        filled
    }

    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, PatchError> {
        self.options.cancel.check()?;
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut filled = 0;
        // Operations may make a few bytes each.
        while filled < buffer.len() {
            match self.piece(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                // What was made before is given first.
                Err(e) if filled > 0 => {
                    self.failure = Some(e);
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    /// Makes bytes of one operation; none at the end.
    fn piece(&mut self, buffer: &mut [u8]) -> Result<usize, PatchError> {
        loop {
            let filled = match &mut self.state {
                State::Next => {
                    self.begin()?;
                    continue;
                }
                State::Data => {
                    let bytes = self.delta.peek()?;
                    let count = bytes.len().min(buffer.len());
                    buffer[..count].copy_from_slice(&bytes[..count]);
                    self.delta.consume(count);
                    count
                }
                State::Copy(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX);
                    let count = count.min(buffer.len());
                    *left -= count as u64;
                    self.read(&mut buffer[..count])?;
                    count
                }
                State::Add => {
                    let count = self.delta.peek()?.len().min(buffer.len());
                    self.read(&mut buffer[..count])?;
                    let bytes = self.delta.peek()?;
                    for (byte, more) in buffer[..count].iter_mut().zip(bytes) {
                        *byte = byte.wrapping_add(*more);
                    }
                    self.delta.consume(count);
                    count
                }
                State::Dictionary(frame) => match frame.read(buffer) {
                    Ok(count) => count,
                    Err(source) => {
                        let op = self.op();
                        let path = self.source.as_ref().map(|s| s.path.clone());
                        return Err(PatchError::Frame {
                            op,
                            path: path.ok_or(PatchError::NoSource { op })?,
                            source,
                        });
                    }
                },
                State::End => return Ok(0),
                State::Failed => return Err(PatchError::Failed),
            };
            if filled > 0 {
                self.made += filled as u64;
                return Ok(filled);
            }
            self.state = State::Next;
        }
    }

    /// Begins the next operation.
    fn begin(&mut self) -> Result<(), PatchError> {
        let op = self.delta.next()?;
        // Time is bounded by what is made: a few bytes of a frame can be millions of operations.
        if self.delta.ops() > IDLE + self.made.saturating_mul(IDLE_PER_BYTE) {
            return Err(PatchError::Idle {
                op: self.op(),
                made: self.made,
            });
        }
        self.state = match op {
            None => State::End,
            Some(Op::Data(_)) => State::Data,
            Some(Op::Open(path)) => {
                self.open(path)?;
                State::Next
            }
            Some(Op::Copy(length)) => {
                self.check(length)?;
                State::Copy(length)
            }
            Some(Op::Add(length)) => {
                self.check(length)?;
                State::Add
            }
            Some(Op::Seek(position)) => {
                if self.source.is_none() {
                    return Err(PatchError::NoSource { op: self.op() });
                }
                self.position = position;
                State::Next
            }
            Some(Op::Dictionary(length)) => State::Dictionary(self.dictionary(length)?),
        };
        Ok(())
    }

    /// The number of the operation that was read last.
    fn op(&self) -> u64 {
        self.delta.ops().saturating_sub(1)
    }

    fn open(&mut self, path: TreePath) -> Result<(), PatchError> {
        let opened = self.sources.open(&path).and_then(|file| {
            let size = file.size()?;
            Ok((file, size))
        });
        match opened {
            Ok((file, size)) => {
                let file = Ahead::new(file, size);
                self.source = Some(Source { path, file, size });
            }
            Err(source) => {
                let op = self.op();
                return Err(PatchError::Source { op, path, source });
            }
        }
        self.position = 0;
        Ok(())
    }

    /// Tells whether the source has as many bytes more.
    fn check(&self, length: u64) -> Result<(), PatchError> {
        let op = self.op();
        let source = self.source.as_ref().ok_or(PatchError::NoSource { op })?;
        let end = self.position.checked_add(length);
        if end.is_some_and(|end| end <= source.size) {
            return Ok(());
        }
        Err(PatchError::PastEnd {
            op,
            path: source.path.clone(),
            position: self.position,
            length,
            size: source.size,
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), PatchError> {
        let op = self.op();
        let source = self.source.as_mut().ok_or(PatchError::NoSource { op })?;
        let read = source.file.read(buffer, self.position);
        read.map_err(|e| PatchError::Source {
            op,
            path: source.path.clone(),
            source: e.into(),
        })?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    /// Reads the source, and the frame that it is the dictionary of.
    fn dictionary(&mut self, length: u64) -> Result<Box<dyn Read + Send>, PatchError> {
        let op = self.op();
        let source = self.source.as_ref().ok_or(PatchError::NoSource { op })?;
        let needed = source.size.saturating_add(length);
        let too_large = || PatchError::Dictionary {
            op,
            path: source.path.clone(),
            found: needed,
            max: self.options.dictionary_bytes,
        };
        if needed > self.options.dictionary_bytes {
            return Err(too_large());
        }
        let mut dictionary = vec![0; usize::try_from(source.size).map_err(|_| too_large())?];
        self.position = 0;
        self.read(&mut dictionary)?;
        if dictionary.starts_with(&DICTIONARY_MAGIC) {
            // With a byte before them they are bytes like others. The frame counts from the end.
            dictionary.insert(0, 0);
        }
        // Not reserved at once: it may be longer than the delta.
        let mut frame = Vec::new();
        loop {
            let bytes = self.delta.peek()?;
            if bytes.is_empty() {
                break;
            }
            frame.extend_from_slice(bytes);
            let count = bytes.len();
            self.delta.consume(count);
        }
        self.position = 0;
        let begin = || {
            let mut decoder = Decoder::with_dictionary(io::Cursor::new(frame), &dictionary)?;
            decoder.window_log_max(window_limit(self.options.dictionary_window_log))?;
            Ok(decoder.single_frame())
        };
        match begin() {
            Ok(decoder) => Ok(Box::new(decoder)),
            Err(e) => Err(PatchError::Format(FormatError::Read(e))),
        }
    }
}

impl<R: BufRead, S: Sources> Read for Patch<R, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill(buffer).map_err(io::Error::other)
    }
}
