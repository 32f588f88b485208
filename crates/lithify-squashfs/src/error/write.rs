//! What can go wrong writing an image.

use std::io;

use lithify_cancel::BudgetExceeded;
use lithify_tree::{ContentId, Escaped};

use crate::Compression;
use crate::format::inode::{MAJOR_MAX, MINOR_MAX, TARGET_MAX};
use crate::format::{BLOCK_BITS, IDS_MAX};

/// Why an image could not be written. Paths are relative to the image root and shown escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The storage failed. A full disk shows as [`io::ErrorKind::StorageFull`] in `source`.
    #[error("cannot {operation}")]
    Io {
        /// What was being done.
        operation: Operation,
        /// What the storage said.
        source: io::Error,
    },
    /// A compressor failed, which only happens without memory.
    #[error("cannot compress a block with {compression}")]
    Compress {
        /// The compression asked for.
        compression: Compression,
        /// What the compressor said.
        source: io::Error,
    },
    /// A thread ended without its work done: a bug.
    #[error("a compressing thread ended before its work was done")]
    ThreadLost,
    /// A block size that is no power of two, or too small or large.
    #[error(
        "a block size of {found} bytes is not supported: expected a power of two from {} to {}",
        1 << BLOCK_BITS.start(),
        1 << BLOCK_BITS.end()
    )]
    BlockSize {
        /// The block size asked for.
        found: u32,
    },
    /// A compression level that does not exist.
    #[error("{compression} is no level of compression")]
    Level {
        /// The compression asked for.
        compression: Compression,
    },
    /// Inodes and names are addressed by 32-bit offsets of compressed metadata.
    #[error("the image's {what} would take more than 4 GiB compressed")]
    TooMuchMetadata {
        /// Inodes, directories, or attributes.
        what: &'static str,
    },
    /// A listing has a 32-bit length.
    #[error("the names in directory `/{}` take more than 4 GiB", Escaped(.path))]
    DirectoryTooLarge {
        /// The directory.
        path: Vec<u8>,
    },
    /// Content numbers have 32 bits.
    #[error("more than 2³² file contents")]
    TooManyContents,
    /// Every block takes four bytes of metadata, holes too.
    #[error("all files together have more than {limit} blocks: use a larger block size")]
    TooManyBlocks {
        /// The limit.
        limit: u64,
    },
    /// More than this image and others may take together ([`DataOptions::budget`](crate::DataOptions::budget)).
    #[error(transparent)]
    Budget(#[from] BudgetExceeded),
    /// Owners and groups are numbered by 16 bits.
    #[error("more than {IDS_MAX} different owners and groups")]
    TooManyIds,
    /// [`begin`](lithify_tree::ContentSink::begin) while a file is open, or a call that needs one without.
    #[error("{call} was called {state}: the order is begin, write, finish")]
    CallOrder {
        /// The call.
        call: &'static str,
        /// While a file was open or not.
        state: &'static str,
    },
    /// A file got other than the announced number of data bytes.
    #[error("a file announced with {announced} bytes of data got {found}")]
    DataLength {
        /// Data bytes announced.
        announced: u64,
        /// Data bytes written, or more than that.
        found: u64,
    },
    /// Data segments that do not ascend, overlap or reach past the file's end.
    #[error(
        "the data segment at {offset} with {length} bytes overlaps the one before or reaches past the file's {size} bytes"
    )]
    Segment {
        /// Offset of the segment.
        offset: u64,
        /// Length of the segment.
        length: u64,
        /// Size of the file.
        size: u64,
    },
    /// Files over 2⁶³ − 1 bytes do not exist on Linux.
    #[error("a file of {size} bytes is over the limit of 2⁶³ − 1")]
    FileTooLarge {
        /// Size of the file.
        size: u64,
    },
    /// The tree names a content this writer never gave out, or none for a file that is not empty.
    #[error("`/{}` refers to {}, which this writer does not know", Escaped(.path), Shown(*.content))]
    UnknownContent {
        /// The file.
        path: Vec<u8>,
        /// What the tree says.
        content: Option<ContentId>,
    },
    /// The tree says another size than was written.
    #[error("`/{}` has {expected} bytes, its content was written with {found}", Escaped(.path))]
    ContentSize {
        /// The file.
        path: Vec<u8>,
        /// Size by the tree.
        expected: u64,
        /// Size by the content.
        found: u64,
    },
    /// squashfs stores attribute names by prefix and knows three; POSIX ACLs are not among them.
    #[error(
        "`/{}` has the extended attribute `{}`, which squashfs cannot hold: only user.*, trusted.* and security.*",
        Escaped(.path),
        Escaped(.name)
    )]
    XattrName {
        /// The file.
        path: Vec<u8>,
        /// The attribute.
        name: Vec<u8>,
    },
    /// A symbolic link over the limit.
    #[error(
        "the target of symbolic link `/{}` has {length} bytes, the limit is {TARGET_MAX}",
        Escaped(.path)
    )]
    SymlinkTarget {
        /// The link.
        path: Vec<u8>,
        /// Length of the target.
        length: usize,
    },
    /// A device number over 12 bits of major and 20 of minor.
    #[error(
        "device `/{}` has number {major}:{minor}, squashfs holds up to {MAJOR_MAX}:{MINOR_MAX}",
        Escaped(.path)
    )]
    Device {
        /// The device.
        path: Vec<u8>,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// A content id or its absence, for people.
struct Shown(Option<ContentId>);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(id) => write!(f, "content {}", id.0),
            None => f.write_str("no content"),
        }
    }
}

/// What the writer was doing when its storage failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Writing file data.
    WriteData,
    /// Reading data back, to compare or to repack it.
    ReadData,
    /// Moving data over what later layers removed.
    MoveData,
    /// Writing inodes, directories and tables.
    WriteMetadata,
    /// Setting the length of the image.
    SetLength,
    /// Writing the superblock.
    WriteSuperblock,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WriteData => "write file data to the image",
            Self::ReadData => "read file data back from the image",
            Self::MoveData => "move file data inside the image",
            Self::WriteMetadata => "write the image's metadata",
            Self::SetLength => "set the length of the image",
            Self::WriteSuperblock => "write the superblock",
        })
    }
}

impl Operation {
    /// The error for a failure during this operation.
    pub(crate) fn failed(self) -> impl FnOnce(io::Error) -> WriteError {
        move |source| WriteError::Io {
            operation: self,
            source,
        }
    }
}

impl lithify_fskit::Operation for Operation {
    type Error = WriteError;

    fn failed(self, source: io::Error) -> WriteError {
        WriteError::Io {
            operation: self,
            source,
        }
    }
}
