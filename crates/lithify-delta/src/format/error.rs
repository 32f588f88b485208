//! Reasons why a delta cannot be read or written.

use std::io;

use lithify_escape::Escaped;
use lithify_tree::PathError;

/// The reason why a delta cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Something else than a delta.
    #[error("it is no tar-diff: it begins with `{}`, expected `tardf1` or `tardf2`", Escaped(.found))]
    Magic {
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// The delta ends too early.
    #[error("the delta is cut: it ends within {what}")]
    Truncated {
        /// The part that is not whole.
        what: &'static str,
    },
    /// A number that has no meaning.
    #[error("operation {op}: a number of it is 2^64 or more")]
    Number {
        /// The operation's number, from 0.
        op: u64,
    },
    /// An operation this version of the format does not have.
    #[error("operation {op} is of kind {code}, and the delta's version has none above {known}")]
    Opcode {
        /// The operation's number, from 0.
        op: u64,
        /// Its kind.
        code: u8,
        /// The largest number of a kind.
        known: u8,
    },
    /// A path that is too long for any file.
    #[error("operation {op}: the path of a source has {length} bytes, at most {max} are read")]
    PathLength {
        /// The operation's number, from 0.
        op: u64,
        /// Length of the path in bytes.
        length: u64,
        /// The limit.
        max: u64,
    },
    /// A path that no file of an image has.
    #[error("operation {op}: the path of a source cannot be one")]
    Path {
        /// The operation's number, from 0.
        op: u64,
        /// The fault.
        source: PathError,
    },
    /// A frame that takes more memory than allowed.
    #[error(
        "a zstd frame of the delta has a window of more than 2^{max_log} bytes, the most allowed"
    )]
    Window {
        /// Base-2 logarithm of the limit in bytes.
        max_log: u32,
    },
    /// What is compressed, or the delta's source.
    #[error("the delta cannot be read")]
    Read(#[source] io::Error),
}

/// The reason why a delta cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A source that readers do not take.
    #[error("`{}` cannot be the path of a source: {reason}", Escaped(.path))]
    Path {
        /// The path.
        path: Vec<u8>,
        /// The fault.
        reason: &'static str,
    },
    /// The output.
    #[error("the delta cannot be written")]
    Write(#[source] io::Error),
}
