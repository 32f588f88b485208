//! What can go wrong writing an image.

use std::io;

use lithify_cancel::BudgetExceeded;
use lithify_tree::{ContentId, Escaped};

use crate::format::inode::{MAJOR_MAX, MINOR_MAX, SYMLINK_TARGET_MAX};
use crate::format::superblock::VOLUME_NAME_LEN;
use crate::format::xattr::VALUE_MAX;

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
    /// Block numbers have 32 bits: 16 TiB.
    #[error("the image would have more than 2³² blocks of 4096 bytes")]
    TooLarge,
    /// More than this image and others may take together ([`DataOptions::budget`](crate::DataOptions::budget)).
    #[error(transparent)]
    Budget(#[from] BudgetExceeded),
    /// Metadata is addressed by 32-bit slot numbers in here: 128 GiB.
    #[error("the image's inodes would take more than 128 GiB")]
    TooMuchMetadata,
    /// Content numbers have 32 bits.
    #[error("more than 2³² file contents")]
    TooManyContents,
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
    /// EROFS stores attribute names by prefix and knows `user.`, `trusted.`, `security.`, `lustre.` and the two ACLs.
    #[error(
        "`/{}` has the extended attribute `{}`, which EROFS cannot hold: only user.*, trusted.*, security.*, lustre.* and POSIX ACLs",
        Escaped(.path),
        Escaped(.name)
    )]
    XattrName {
        /// The file.
        path: Vec<u8>,
        /// The attribute.
        name: Vec<u8>,
    },
    /// An attribute value of 65536 bytes: EROFS counts in 16 bits.
    #[error(
        "extended attribute `{}` of `/{}` has {length} bytes, EROFS holds {VALUE_MAX}",
        Escaped(.name),
        Escaped(.path)
    )]
    XattrValue {
        /// The file.
        path: Vec<u8>,
        /// The attribute.
        name: Vec<u8>,
        /// Length of the value.
        length: usize,
    },
    /// More attributes than fit behind one inode.
    #[error("the {count} extended attributes of `/{}` do not fit behind its inode", Escaped(.path))]
    XattrCount {
        /// The file.
        path: Vec<u8>,
        /// How many there are.
        count: usize,
    },
    /// A symbolic link no kernel could follow.
    #[error(
        "the target of symbolic link `/{}` has {length} bytes, Linux follows at most {SYMLINK_TARGET_MAX}",
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
        "device `/{}` has number {major}:{minor}, EROFS holds up to {MAJOR_MAX}:{MINOR_MAX}",
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
    /// A cluster size that is no power of two or out of range.
    #[error("cluster size {size} is no power of two between {min} and 1048576")]
    ClusterSize {
        /// The size, in bytes.
        size: u32,
        /// The least for the method.
        min: u32,
    },
    /// A Zstandard level that does not exist.
    #[error("Zstandard has no level {level}, only 1 to 22")]
    CompressionLevel {
        /// The level.
        level: i32,
    },
    /// Compression failed, for want of memory.
    #[error("cannot compress file data")]
    Compress {
        /// What the library said.
        source: io::Error,
    },
    /// A thread ended without its work done: a bug.
    #[error("a compressing thread ended before its work was done")]
    ThreadLost,
    /// A volume name that is too long or has a NUL.
    #[error("volume name `{}` is not at most {} bytes without NUL", Escaped(.name), VOLUME_NAME_LEN - 1)]
    VolumeName {
        /// The name.
        name: Vec<u8>,
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
    /// Creating the temporary file for file tails.
    CreateSpill,
    /// Writing file tails to their temporary file.
    WriteSpill,
    /// Reading file tails back from their temporary file.
    ReadSpill,
    /// Reading short files from a layer's image.
    ReadLayer,
    /// Moving data over what later layers removed.
    MoveData,
    /// Writing inodes and directories.
    WriteMetadata,
    /// Cutting the image to its length.
    SetLength,
    /// Writing the superblock.
    WriteSuperblock,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WriteData => "write file data to the image",
            Self::CreateSpill => "create the temporary file for file tails",
            Self::WriteSpill => "write file tails to their temporary file",
            Self::ReadSpill => "read file tails from their temporary file",
            Self::ReadLayer => "read short files from the image of a layer",
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
