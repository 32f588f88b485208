//! What can go wrong writing an image.

use std::fmt;
use std::io;

use lithify_cancel::BudgetExceeded;
use lithify_tree::{ContentId, Escaped};

/// What the storage was used for when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Writing file data.
    WriteData,
    /// Moving file data to close gaps.
    MoveData,
    /// Writing everything else.
    WriteMetadata,
}

impl Operation {
    pub(crate) fn failed(self) -> impl Fn(io::Error) -> WriteError + Copy {
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

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteData => "write file data",
            Self::MoveData => "move file data",
            Self::WriteMetadata => "write metadata",
        })
    }
}

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
    /// More than this image and others may take together ([`DataOptions::budget`](crate::DataOptions::budget)).
    #[error(transparent)]
    Budget(#[from] BudgetExceeded),
    /// Block numbers have 32 bits here: 16 TiB with blocks of 4 KiB.
    #[error("the image would have more than 2³² blocks of {block_size} bytes")]
    TooLarge {
        /// Bytes of a block.
        block_size: u32,
    },
    /// The size that was asked for is too small for what is in the image.
    #[error(
        "a filesystem of {size} bytes has no room for what is in the image: {needed} bytes would do"
    )]
    TooSmall {
        /// The size asked for.
        size: u64,
        /// One that would do.
        needed: u64,
    },
    /// The size that was asked for is too small even for a filesystem without files.
    #[error(
        "a filesystem of {size} bytes has no room for its own inodes, directories and journal: {needed} bytes would do for one without files"
    )]
    TooSmallEmpty {
        /// The size asked for.
        size: u64,
        /// One that would do where nothing is in it.
        needed: u64,
    },
    /// Without a size that is asked for, descriptors have room for so much only.
    #[error(
        "the filesystem would be larger than {most} bytes, the most unless a size is asked for: ask for one"
    )]
    SizeNeeded {
        /// The most bytes.
        most: u64,
    },
    /// Fewer inodes were asked for than there are files.
    #[error("{asked} inodes are too few for what is in the image: {needed} would do")]
    TooFewInodes {
        /// The inodes asked for.
        asked: u32,
        /// The inodes used, those of the filesystem included.
        needed: u32,
    },
    /// Fewer inodes were asked for than every filesystem has.
    #[error(
        "a filesystem of {asked} inodes is not made: expected at least the {own} every one has"
    )]
    Inodes {
        /// The inodes asked for.
        asked: u32,
        /// The inodes that are not for files.
        own: u32,
    },
    /// More inodes were asked for than groups of blocks can have, in a filesystem of any size.
    #[error(
        "{asked} inodes are more than a filesystem can have: a group of {group} bytes has at most {per_group}, and their \
         numbers have 32 bits; in {size} bytes up to {most} would do"
    )]
    InodesAsked {
        /// The inodes asked for.
        asked: u32,
        /// Bytes of a group of blocks.
        group: u64,
        /// The most inodes of one.
        per_group: u32,
        /// The size asked for.
        size: u64,
        /// The most inodes with that size.
        most: u32,
    },
    /// A size no filesystem of that kind has.
    #[error("a filesystem of {size} bytes is not made: expected {least} bytes to {most}")]
    Size {
        /// The size asked for.
        size: u64,
        /// The smallest.
        least: u64,
        /// The largest.
        most: u64,
    },
    /// A journal of a size the kernel does not take.
    #[error(
        "a journal of {found} bytes is not made: expected at least {least} bytes, at most {most}, or none"
    )]
    Journal {
        /// The bytes asked for.
        found: u64,
        /// The bytes of the smallest.
        least: u64,
        /// The bytes of the largest.
        most: u64,
    },
    /// More bytes for each inode, or fewer, than make sense.
    #[error("an inode for every {found} bytes is not made: expected 1024 to 67108864")]
    BytesPerInode {
        /// What was asked for.
        found: u64,
    },
    /// A label that does not fit, or that would end early.
    #[error(
        "the label `{}` has {} bytes: expected at most 16, none of them zero",
        Escaped(.label),
        .label.len()
    )]
    Label {
        /// The label.
        label: Vec<u8>,
    },
    /// Content numbers have 32 bits.
    #[error("more than 2³² file contents")]
    TooManyContents,
    /// Inode numbers have 32 bits.
    #[error("{found} inodes are more than a filesystem can have")]
    TooManyInodes {
        /// How many there are.
        found: u64,
    },
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
    /// A file's blocks are counted in 32 bits.
    #[error("a file of {size} bytes is over the limit of 2³² blocks of {block_size} bytes")]
    FileTooLarge {
        /// Size of the file.
        size: u64,
        /// Bytes of a block.
        block_size: u32,
    },
    /// The tree names a content this writer never gave out, or none for a file that is not empty.
    #[error("`/{}` refers to a content this writer does not know ({content:?})", Escaped(.path))]
    UnknownContent {
        /// The file.
        path: Vec<u8>,
        /// What the tree says.
        content: Option<ContentId>,
    },
    /// Two files refer to the same content: in ext4 each has its own blocks.
    #[error(
        "`/{}` refers to a content another file has: in ext4 each file needs its own, or a hard link",
        Escaped(.path)
    )]
    SharedContent {
        /// The second file.
        path: Vec<u8>,
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
    /// ext4 counts links in 16 bits, and takes 65,000.
    #[error("`/{}` has {found} names, ext4 takes 65000", Escaped(.path))]
    Links {
        /// One of the names.
        path: Vec<u8>,
        /// How many there are.
        found: u32,
    },
    /// ext4 stores attribute names by prefix, and Linux shows those with `user.`, `trusted.` and `security.` and the two ACLs.
    #[error(
        "`/{}` has the extended attribute `{}`, which ext4 cannot hold: only user.*, trusted.*, security.* and POSIX ACLs",
        Escaped(.path),
        Escaped(.name)
    )]
    XattrName {
        /// The file.
        path: Vec<u8>,
        /// The attribute.
        name: Vec<u8>,
    },
    /// ext4 stores POSIX ACLs in a form of its own, and no other value under their names.
    #[error(
        "the value of the extended attribute `{}` of `/{}` is no valid POSIX ACL: ext4 cannot hold another there",
        Escaped(.name),
        Escaped(.path)
    )]
    Acl {
        /// The file.
        path: Vec<u8>,
        /// The attribute.
        name: Vec<u8>,
    },
    /// Attributes that fit neither behind the inode nor in a block.
    #[error("`/{}` has {found} bytes of extended attributes, ext4 holds {limit}", Escaped(.path))]
    Xattrs {
        /// The file.
        path: Vec<u8>,
        /// The bytes they take.
        found: usize,
        /// The bytes there are.
        limit: usize,
    },
    /// A symbolic link's target has to fit a block.
    #[error("the target of `/{}` has {found} bytes, there is room for {limit}", Escaped(.path))]
    SymlinkTarget {
        /// The link.
        path: Vec<u8>,
        /// Bytes of the target.
        found: usize,
        /// The most there can be.
        limit: usize,
    },
    /// A device number ext4 cannot hold.
    #[error("`/{}` is device {major}:{minor}, ext4 holds up to 4095:1048575", Escaped(.path))]
    Device {
        /// The device node.
        path: Vec<u8>,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// More names than two levels of hashes lead to.
    #[error("the directory `/{}` has too many names for ext4", Escaped(.path))]
    DirectoryTooLarge {
        /// The directory.
        path: Vec<u8>,
    },
    /// A file where `e2fsck` needs a directory.
    #[error("`/lost+found` is no directory: ext4 needs one of that name")]
    LostAndFound,
}
