//! What can go wrong with descriptors.

use std::io;
use std::path::PathBuf;

use lithify_escape::Escaped;

use super::DESCRIPTOR_MAX;

/// Why a descriptor may not name a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathProblem {
    /// No name at all.
    #[error("it is empty")]
    Empty,
    /// Descriptors are text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// A character that would end or change the line.
    #[error("it contains {0:?}")]
    Character(char),
    /// More bytes than QEMU reads.
    #[error("it has {found} bytes, at most {max} are read")]
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// Bytes possible.
        max: usize,
    },
    /// The descriptor could not be moved with its files.
    #[error("it is absolute: expected one relative to the descriptor")]
    Absolute,
    /// It leaves the descriptor's directory.
    #[error("it contains `..`")]
    Parent,
    /// A colon in the first component means other things than files to QEMU and Windows.
    #[error("it looks like a protocol or a drive, with `:` in its first component")]
    Protocol,
}

/// Why a descriptor could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A file whose path cannot stand in a descriptor.
    #[error("a VMDK cannot name the file `{path}`: {problem}", path = Escaped::path(.path))]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// Extents have at least one sector and at most 2 GiB.
    #[error(
        "extents of at most {found} bytes: expected a multiple of 512 from 512 to 2147483648 (2 GiB)"
    )]
    ExtentMax {
        /// The size asked for, in bytes.
        found: u64,
    },
    /// More text than QEMU reads.
    #[error("the descriptor would have {found} bytes, {DESCRIPTOR_MAX} are read: use a raw disk")]
    TooLarge {
        /// Length of the text, in bytes.
        found: usize,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// Neither a comment, nor a setting, nor an extent.
    #[error("expected a comment, KEY=VALUE or an extent")]
    Unknown,
    /// A setting this reader does not know, whose meaning may matter.
    #[error("unknown setting `{}`", Escaped(.0))]
    Setting(String),
    /// A setting given twice.
    #[error("`{0}` is set a second time")]
    Again(&'static str),
    /// A setting with another value than can be used.
    #[error("`{key}` is `{}`: expected {expected}", Escaped(.found))]
    Value {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// What can be used.
        expected: &'static str,
    },
    /// No `RW SECTORS FLAT "FILE" OFFSET`. Others (read-only, sparse, zero) are left out by QEMU without a word, so that
    /// all data behind is at another place.
    #[error("expected an extent as RW SECTORS FLAT \"FILE\" OFFSET")]
    Extent,
    /// A number of sectors that is 0 or too large.
    #[error("an extent of {sectors} sectors at sector {offset}: no file has that")]
    Range {
        /// Length in sectors.
        sectors: u64,
        /// Offset in sectors.
        offset: u64,
    },
    /// A path that breaks the rule.
    #[error("the file `{}` cannot be used: {problem}", Escaped(.path))]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
}

/// Why a text is not a usable descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// More text than QEMU reads.
    #[error("a descriptor of {found} bytes: at most {DESCRIPTOR_MAX} are read")]
    TooLarge {
        /// Its length in bytes.
        found: usize,
    },
    /// Not UTF-8.
    #[error("byte {offset} of the descriptor is not UTF-8")]
    NotUtf8 {
        /// Offset of the first such byte.
        offset: usize,
    },
    /// Another first line.
    #[error("no VMDK descriptor: expected `# Disk DescriptorFile` in the first line")]
    Signature,
    /// A line that cannot be used.
    #[error("line {line} of the descriptor: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// A setting that has to be there.
    #[error("the descriptor has no `{key}`")]
    Missing {
        /// The setting.
        key: &'static str,
    },
    /// A disk without extents.
    #[error("the descriptor lists no extents")]
    NoExtents,
    /// Over 2⁶³ − 1 bytes.
    #[error("the extents make a disk of more than 2⁶³ − 1 bytes")]
    DiskTooLarge,
}

/// Why a descriptor does not go with its files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A file that cannot be looked at or opened.
    #[error("cannot use `{}`, which the descriptor names", Escaped(.path))]
    File {
        /// The path in the descriptor.
        path: String,
        /// What the filesystem said.
        source: io::Error,
    },
    /// A file that ends before an extent does.
    #[error("`{}` has {found} bytes, the descriptor uses {expected}", Escaped(.path))]
    Short {
        /// The path in the descriptor.
        path: String,
        /// Bytes used of it.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
}
