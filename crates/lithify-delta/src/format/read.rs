//! Bytes to operations.

use std::io::{self, BufRead, BufReader, Read};

use lithify_tree::TreePath;
use zstd::stream::read::Decoder;
use zstd::zstd_safe::get_error_name;

use super::error::FormatError;
use super::op::{Op, code};
use super::varint::{self, BadNumber};
use super::{MAGIC_LEN, PATH_MAX, Version, WINDOW_LOG_MAX};

/// Decompressed bytes held at a time.
const BUFFER: usize = 128 << 10;

/// What zstd's decoder returns for a window over the limit: `ZSTD_error_frameParameter_windowTooLarge`, negated.
const WINDOW_TOO_LARGE: usize = 16_usize.wrapping_neg();

/// Bounds on what a delta may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Base-2 logarithm of the longest window, in bytes, which is memory. One that zstd does not have is the nearest that it has.
    pub window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_log: WINDOW_LOG_MAX,
        }
    }
}

/// Returns the limit nearest to one that the decoder has. Its own meaning of 0 is another one.
pub(crate) fn window_limit(log: u32) -> u32 {
    log.clamp(10, if usize::BITS >= 64 { 31 } else { 30 })
}

/// Reads the operations of a delta. It takes as much memory as the window of its zstd frames, whatever lengths operations have.
pub struct DeltaReader<R: BufRead> {
    version: Version,
    input: BufReader<Decoder<'static, R>>,
    window_log: u32,
    /// Operations begun.
    ops: u64,
    /// Bytes of the last operation's payload that were not read.
    payload: u64,
}

impl<R: BufRead> std::fmt::Debug for DeltaReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (version, ops) = (self.version, self.ops);
        write!(f, "DeltaReader({version:?}, {ops} operations)")
    }
}

impl<R: BufRead> DeltaReader<R> {
    /// Starts reading a delta.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn new(mut input: R, limits: &Limits) -> Result<Self, FormatError> {
        let mut magic = Vec::with_capacity(MAGIC_LEN);
        let begin = (&mut input).take(MAGIC_LEN as u64);
        { begin }
            .read_to_end(&mut magic)
            .map_err(FormatError::Read)?;
        let version = Version::ALL.into_iter().find(|v| v.magic()[..] == magic);
        let version = version.ok_or(FormatError::Magic { found: magic })?;
        let mut frames = Decoder::with_buffer(input).map_err(FormatError::Read)?;
        let window_log = window_limit(limits.window_log);
        frames
            .window_log_max(window_log)
            .map_err(FormatError::Read)?;
        Ok(Self {
            version,
            input: BufReader::with_capacity(BUFFER, frames),
            window_log,
            ops: 0,
            payload: 0,
        })
    }

    /// Returns the version of the format.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the number of operations begun.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.ops
    }

    /// Reads the next operation, after all of the last one's payload, which is passed over if it was not read; `None` at the end.
    ///
    /// # Errors
    /// [`FormatError`].
    #[allow(
        clippy::should_implement_trait,
        reason = "it fails, and its payload is read in between"
    )]
    pub fn next(&mut self) -> Result<Option<Op>, FormatError> {
        while self.payload > 0 {
            let passed = self.peek()?.len();
            self.consume(passed);
        }
        let Some(&code) = self.fill()?.first() else {
            return Ok(None);
        };
        self.input.consume(1);
        let op = self.ops;
        self.ops += 1;
        let number = varint::read(&mut self.input).map_err(|e| match e {
            BadNumber::TooLarge => FormatError::Number { op },
            BadNumber::Read(e) => read_failed(e, "an operation", self.window_log),
        })?;
        let known = match self.version {
            Version::V1 => code::SEEK,
            Version::V2 => code::DICTIONARY,
        };
        self.payload = match code {
            code::DATA | code::ADD | code::DICTIONARY => number,
            _ => 0,
        };
        Ok(Some(match code {
            code::DATA => Op::Data(number),
            code::OPEN => Op::Open(self.path(op, number)?),
            code::COPY => Op::Copy(number),
            code::ADD => Op::Add(number),
            code::SEEK => Op::Seek(number),
            code::DICTIONARY if known == code::DICTIONARY => Op::Dictionary(number),
            code => return Err(FormatError::Opcode { op, code, known }),
        }))
    }

    fn path(&mut self, op: u64, length: u64) -> Result<TreePath, FormatError> {
        let too_long = FormatError::PathLength {
            op,
            length,
            max: PATH_MAX,
        };
        if length > PATH_MAX {
            return Err(too_long);
        }
        // At most 4096.
        let mut path = vec![0; usize::try_from(length).map_err(|_| too_long)?];
        self.input
            .read_exact(&mut path)
            .map_err(|e| read_failed(e, "a path", self.window_log))?;
        TreePath::clean(&path).map_err(|source| FormatError::Path { op, source })
    }

    /// Returns some bytes of the payload that come next; none at its end.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn peek(&mut self) -> Result<&[u8], FormatError> {
        let left = usize::try_from(self.payload).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(&[]);
        }
        let bytes = self.fill()?;
        if bytes.is_empty() {
            let what = "the payload of an operation";
            return Err(FormatError::Truncated { what });
        }
        Ok(&bytes[..left.min(bytes.len())])
    }

    /// Moves over bytes of the payload, of those that [`Self::peek`] gave.
    pub fn consume(&mut self, count: usize) {
        self.payload = self.payload.saturating_sub(count as u64);
        self.input.consume(count);
    }

    fn fill(&mut self) -> Result<&[u8], FormatError> {
        self.input
            .fill_buf()
            .map_err(|e| read_failed(e, "a zstd frame", self.window_log))
    }
}

fn read_failed(error: io::Error, what: &'static str, max_log: u32) -> FormatError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FormatError::Truncated { what },
        // The decoder's errors are only their texts by now.
        io::ErrorKind::Other if error.to_string() == get_error_name(WINDOW_TOO_LARGE) => {
            FormatError::Window { max_log }
        }
        _ => FormatError::Read(error),
    }
}
