//! The errors of opening and reading images.

use std::io;

use lithify_escape::Escaped;

use crate::qcow2::format::{EntryProblem, HeaderError};

/// The errors of opening an image, or one it builds on. Depth 0 is the image itself, 1 its
/// backing file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file without a usable header.
    #[error("the file at depth {depth} of the chain is no usable qcow2 image")]
    Header {
        /// Its depth.
        depth: usize,
        /// The problem of its header.
        source: HeaderError,
    },
    /// An image that is in use, or was when its machine ended.
    #[error(
        "the image at depth {depth} was not closed: stop what uses it, run \
         `qemu-img check -r all`, or allow dirty images"
    )]
    Dirty {
        /// Its depth.
        depth: usize,
    },
    /// An image that another program found to be damaged.
    #[error(
        "the image at depth {depth} is marked as corrupt: run `qemu-img check`, \
         or allow corrupt images"
    )]
    Corrupt {
        /// Its depth.
        depth: usize,
    },
    /// A disk that is larger than allowed.
    #[error("the image at depth {depth} is a disk of {found} bytes: at most {max} are allowed")]
    TooLarge {
        /// Its depth.
        depth: usize,
        /// Its size in bytes.
        found: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// A chain that is longer than allowed, or has no end.
    #[error("the chain has more than {max} files: flatten it, or allow more")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// An image whose data is elsewhere.
    #[error(
        "the image at depth {depth} keeps its data in another file{}: allow data files, \
         or convert it",
        shown(.name.as_deref())
    )]
    DataFile {
        /// Its depth.
        depth: usize,
        /// The data file as the image names it.
        name: Option<Vec<u8>>,
    },
    /// A backing file whose format the image does not say.
    #[error(
        "the image at depth {depth} names no format for its backing file `{}`: \
         say which it is (`qemu-img rebase -u -F FORMAT`)",
        Escaped(.name)
    )]
    NoBackingFormat {
        /// Its depth.
        depth: usize,
        /// The backing file as the image names it.
        name: Vec<u8>,
    },
    /// A backing file in a format that cannot be read.
    #[error(
        "the backing file `{}` of the image at depth {depth} has the format `{}`: \
         expected raw or qcow2",
        Escaped(.name),
        Escaped(.format)
    )]
    BackingFormat {
        /// Its depth.
        depth: usize,
        /// The backing file as the image names it.
        name: Vec<u8>,
        /// The format as the image names it.
        format: Vec<u8>,
    },
    /// A file that the caller does not have, or does not give.
    #[error(
        "the image at depth {depth} needs a file that was not given{}",
        shown(.name.as_deref())
    )]
    NotGiven {
        /// Its depth.
        depth: usize,
        /// The file as the image names it.
        name: Option<Vec<u8>>,
    },
    /// A file that the caller could not open.
    #[error("cannot open a file that the image at depth {depth} needs{}", shown(.name.as_deref()))]
    Resolve {
        /// Its depth.
        depth: usize,
        /// The file as the image names it.
        name: Option<Vec<u8>>,
        /// The caller's error.
        source: io::Error,
    },
    /// A file that could not be read.
    #[error("cannot read the file at depth {depth} of the chain at byte {offset}")]
    Io {
        /// Its depth.
        depth: usize,
        /// The offset in its file, in bytes.
        offset: u64,
        /// The storage's error.
        source: io::Error,
    },
    /// An entry of an L1 table that cannot be.
    #[error("entry {entry} of the L1 table of the image at depth {depth} is damaged: {problem}")]
    L1Entry {
        /// Its depth.
        depth: usize,
        /// The number of the entry, from 0.
        entry: u64,
        /// The problem.
        problem: EntryProblem,
    },
    /// More L2 tables than the file has room for: some are there twice.
    #[error(
        "the L1 table of the image at depth {depth} names more L2 tables than its \
         {file} bytes have room for"
    )]
    TablesAgain {
        /// Its depth.
        depth: usize,
        /// The size of its file in bytes.
        file: u64,
    },
}

/// A name behind what is said, if there is one.
fn shown(name: Option<&[u8]>) -> String {
    name.map_or_else(String::new, |name| format!(" (`{}`)", Escaped(name)))
}

/// The errors of reading a disk. Depth 0 is the image itself, 1 its backing file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Bytes that the disk does not have.
    #[error("{length} bytes at byte {offset} of a disk of {size}: expected a place on it")]
    OutOfRange {
        /// The first byte asked for.
        offset: u64,
        /// The number of bytes asked for.
        length: u64,
        /// The size of the disk in bytes.
        size: u64,
    },
    /// A file that could not be read.
    #[error("cannot read the file at depth {depth} of the chain at byte {offset}")]
    Io {
        /// Its depth.
        depth: usize,
        /// The offset in its file, in bytes.
        offset: u64,
        /// The storage's error.
        source: io::Error,
    },
    /// An entry of a table that cannot be.
    #[error(
        "the entry for byte {guest} of the disk in the image at depth {depth} is damaged: {problem}"
    )]
    Entry {
        /// Its depth.
        depth: usize,
        /// The first byte on the disk of the cluster, or of all the clusters of an L2 table.
        guest: u64,
        /// The problem.
        problem: EntryProblem,
    },
    /// A compressed cluster that cannot be decompressed.
    #[error("the compressed cluster at byte {host} of the image at depth {depth} is damaged")]
    Compressed {
        /// Its depth.
        depth: usize,
        /// The offset in its file, in bytes.
        host: u64,
        /// The problem.
        source: CompressedError,
    },
    /// More data than the file has room for: some is there twice.
    #[error(
        "the tables of the image at depth {depth} name more data than its file has room \
         for: it is damaged"
    )]
    DataAgain {
        /// Its depth.
        depth: usize,
    },
}

/// The ways in which a compressed cluster is damaged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressedError {
    /// A stream that breaks the rules of deflate.
    #[error("it is no deflate stream")]
    Deflate(#[source] lithify_inflate::DeflateError),
    /// A stream that breaks the rules of Zstandard, or needs a window over 8 MiB.
    #[error("it is no zstd stream with a window of at most 8 MiB")]
    Zstd(#[source] io::Error),
    /// A stream that is not as long as a cluster.
    #[error("it decompresses to {found} bytes, expected a cluster of {expected}")]
    Length {
        /// Bytes it gave.
        found: usize,
        /// The cluster size in bytes.
        expected: usize,
    },
    /// A zstd stream that goes on where its cluster is full.
    #[error("its zstd frame goes on after a cluster of {expected} bytes")]
    TooLong {
        /// The cluster size in bytes.
        expected: usize,
    },
}
