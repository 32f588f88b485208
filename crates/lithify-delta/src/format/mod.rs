//! The tar-diff format.
//!
//! ```text
//! delta      = magic (8 bytes), zstd frames
//! magic      = "tardf1\n\0" | "tardf2\n\0"
//! contents of the frames = operations, one behind the other, to their end
//! operation  = opcode (1 byte), uvarint, payload
//!
//! opcode  name        uvarint               payload   meaning
//!      0  data        length                length    these bytes
//!      1  open        length of the path    path      reads from this file now, from its beginning
//!      2  copy        length                -         bytes of that file, which its position moves over
//!      3  add         length                length    the same, each with a byte of the payload added, modulo 256
//!      4  seek        position              -         reads on from there
//!      5  dictionary  length                length    what this zstd frame holds, the whole file being its dictionary (tardf2)
//! ```
//!
//! A uvarint has seven bits in each byte, the lowest first; all bytes but the last have the highest bit set; it is less than 2⁶⁴.
//! The format has no lengths or checksums of the whole: whoever has a delta knows by what digest its result is verified.

mod encode; // operations to bytes
mod error; // why a delta cannot be read or written
mod op; // operations
mod read; // bytes to operations
mod varint; // numbers
mod write; // the file

pub use encode::{Encoder, Ops};
pub use error::{FormatError, WriteError};
pub use op::Op;
pub(crate) use read::window_limit;
pub use read::{DeltaReader, Limits};
pub use write::{Compression, DeltaWriter};

/// The media type of a delta of either version.
pub const MEDIA_TYPE: &str = "application/vnd.tar-diff";

/// Length of the magic in bytes.
const MAGIC_LEN: usize = 8;

/// Longest path of a source, in bytes, that other readers take.
pub const PATH_MAX: u64 = 4096;

/// Most bytes that one *add* may have for other readers: they hold its payload in memory. Longer ones are written as several.
pub const ADD_MAX: u64 = 64 << 20;

/// Base-2 logarithm of the longest window that all readers decode without asking.
pub const WINDOW_LOG_MAX: u32 = 27;

/// A version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `tardf1`.
    V1,
    /// `tardf2`: with the operation *dictionary*.
    V2,
}

impl Version {
    const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// Returns the bytes a delta begins with.
    #[must_use]
    pub const fn magic(self) -> &'static [u8; MAGIC_LEN] {
        match self {
            Self::V1 => b"tardf1\n\0",
            Self::V2 => b"tardf2\n\0",
        }
    }
}
