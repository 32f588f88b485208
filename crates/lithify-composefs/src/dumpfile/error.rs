//! Text that is no dumpfile.

use std::io;

use lithify_escape::Escaped;
use lithify_tree::{MergeError, PathError, XattrError};

use super::line::LINE_MAX;
use crate::source::INLINE_CONTENT_MAX;

/// Why a dumpfile could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// The file could not be read.
    #[error("cannot read the dumpfile")]
    Read(#[source] io::Error),
    /// The work was cancelled.
    #[error(transparent)]
    Cancelled(#[from] lithify_cancel::Cancelled),
    /// A line that says nothing an image could have.
    #[error("line {line} of the dumpfile")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        #[source]
        fault: LineFault,
    },
    /// There is no line for the root directory.
    #[error("the dumpfile has no line for the root directory, `/`")]
    NoRoot,
    /// Lines that make no tree together.
    #[error("the lines of the dumpfile make no tree")]
    Tree(#[from] MergeError),
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// The line is too long.
    #[error("it has more than {LINE_MAX} bytes")]
    TooLong,
    /// There are too few fields.
    #[error("it has {found} fields: expected 11 and attributes")]
    Fields {
        /// Fields found.
        found: usize,
    },
    /// A backslash with something else behind it than it may have.
    #[error("the {field} `{}` has a backslash without `xHH`, `n`, `r`, `t` or another backslash behind it", Escaped(.text))]
    Escape {
        /// The field.
        field: &'static str,
        /// Its text.
        text: Vec<u8>,
    },
    /// A field that should be a number.
    #[error("the {field} is `{}`: expected {expected}", Escaped(.text))]
    Number {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// Its text.
        text: Vec<u8>,
    },
    /// A path that does not begin with a slash, or has empty, `.` or `..` components.
    #[error("the path `{}` is not absolute, or has an empty, `.` or `..` component", Escaped(.path))]
    NotAbsolute {
        /// The path.
        path: Vec<u8>,
    },
    /// A path that no image has.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A path that an earlier line has.
    #[error("`{}` is there already", Escaped(.path))]
    Twice {
        /// The path.
        path: Vec<u8>,
    },
    /// A path below something that no earlier line calls a directory.
    #[error("no line before it says that the parent of `{}` is a directory", Escaped(.path))]
    NoParent {
        /// The path.
        path: Vec<u8>,
    },
    /// A mode that is no kind of file.
    #[error("the mode {mode:o} of `{}` is of no kind of file", Escaped(.path))]
    Mode {
        /// The path.
        path: Vec<u8>,
        /// The mode.
        mode: u32,
    },
    /// A symbolic or hard link without a target.
    #[error("the link `{}` has no payload, which is its target", Escaped(.path))]
    NoTarget {
        /// The path.
        path: Vec<u8>,
    },
    /// A second name for a directory.
    #[error("`{}` is a hard link to a directory", Escaped(.path))]
    DirectoryLink {
        /// The path.
        path: Vec<u8>,
    },
    /// Content of another length than the file's size, or too long.
    #[error("the content of `{}` has {found} bytes: expected {expected}, the size, and at most {INLINE_CONTENT_MAX}", Escaped(.path))]
    Content {
        /// The path.
        path: Vec<u8>,
        /// The size.
        expected: u64,
        /// The content's length in bytes.
        found: u64,
    },
    /// A digest that is none.
    #[error("the digest of `{}` is not 64 (SHA-256) or 128 (SHA-512) lower-case hexadecimal digits", Escaped(.path))]
    Digest {
        /// The path.
        path: Vec<u8>,
    },
    /// An attribute without `=`.
    #[error("the attribute `{}` has no `=`", Escaped(.text))]
    NoValue {
        /// Its text.
        text: Vec<u8>,
    },
    /// An attribute Linux does not have.
    #[error(transparent)]
    Xattr(#[from] XattrError),
    /// There are more entries than can be counted.
    #[error(transparent)]
    Full(#[from] lithify_tree::LayerFull),
}
