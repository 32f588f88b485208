//! Reasons why a delta cannot be applied.

use std::io;

use lithify_cancel::Cancelled;
use lithify_tree::TreePath;

use crate::format::FormatError;

/// The reason why a delta cannot be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The delta.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An operation on a source, before one was opened.
    #[error("operation {op} reads from a file, and none was opened before it")]
    NoSource {
        /// The operation's number, from 0.
        op: u64,
    },
    /// A file that the old image should have.
    #[error("operation {op} reads `{path}`")]
    Source {
        /// The operation's number, from 0.
        op: u64,
        /// The file.
        path: TreePath,
        /// The fault.
        source: SourceError,
    },
    /// Bytes behind the end of a file.
    #[error(
        "operation {op} reads {length} bytes at {position} of `{path}`, which has {size}: the delta is for another image"
    )]
    PastEnd {
        /// The operation's number, from 0.
        op: u64,
        /// The file.
        path: TreePath,
        /// The position of the read, in bytes.
        position: u64,
        /// Bytes to read.
        length: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// Operations that make nothing, far more than any writer needs.
    #[error(
        "operation {op} is one of too many for the {made} bytes that were made: a delta has no use for so many"
    )]
    Idle {
        /// The operation's number, from 0.
        op: u64,
        /// Bytes that were made before it.
        made: u64,
    },
    /// A dictionary that takes too much memory.
    #[error("operation {op} needs {found} bytes of memory for `{path}`, and {max} are allowed")]
    Dictionary {
        /// The operation's number, from 0.
        op: u64,
        /// The file that is the dictionary.
        path: TreePath,
        /// Bytes needed.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// A frame that a dictionary does not fit.
    #[error("operation {op} has a frame that `{path}` is no dictionary of")]
    Frame {
        /// The operation's number, from 0.
        op: u64,
        /// The file that is the dictionary.
        path: TreePath,
        /// The decoder's error.
        source: io::Error,
    },
    /// Stopped from outside.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The patch was read on after an error.
    #[error("this delta could not be applied, as an earlier error said")]
    Failed,
}

/// The reason why a file of the old image cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Nothing has that path.
    #[error("the old image has no such file: the delta is for another one")]
    Missing,
    /// Something else has that path.
    #[error("it is no regular file there: the delta is for another image")]
    NotAFile,
    /// The storage.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
}
