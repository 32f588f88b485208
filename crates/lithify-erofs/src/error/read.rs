//! What can go wrong reading an image.

use std::io;

use lithify_tree::{Escaped, LayerFull};

use crate::DataLayout;

/// Why an image cannot be read. Nothing in an image is trusted: whatever it says is checked before it is used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The source failed.
    #[error("cannot read {length} bytes at offset {offset} of the image")]
    Io {
        /// Offset in bytes.
        offset: u64,
        /// Number of bytes.
        length: usize,
        /// What the source said.
        source: io::Error,
    },
    /// The source's length is unknown.
    #[error("cannot tell the length of the image")]
    Length {
        /// What the source said.
        source: io::Error,
    },
    /// Shorter than any image.
    #[error("an EROFS image has at least {expected} bytes, found {found}")]
    TooShort {
        /// Bytes up to the end of the superblock.
        expected: u64,
        /// Length of the source.
        found: u64,
    },
    /// Another kind of file.
    #[error(
        "not an EROFS image: expected magic number 0x{expected:08x} at offset 1024, found 0x{found:08x}"
    )]
    Magic {
        /// The magic number of EROFS.
        expected: u32,
        /// What is there.
        found: u32,
    },
    /// The superblock's block is damaged.
    #[error(
        "the superblock's checksum is 0x{expected:08x}, computed 0x{found:08x}: the image is damaged"
    )]
    Checksum {
        /// Stored.
        expected: u32,
        /// Computed.
        found: u32,
    },
    /// A block size outside 512 to 65536.
    #[error("block size 2^{bits} is not between 512 and 65536 bytes")]
    BlockSize {
        /// Binary logarithm of the block size.
        bits: u8,
    },
    /// The image needs a feature this reader does not have.
    #[error(
        "the image uses features 0x{bits:x} this version cannot read: check it with a newer one"
    )]
    Features {
        /// The bits of `feature_incompat` that are unknown.
        bits: u32,
    },
    /// Directory blocks of other than one block, which nobody writes.
    #[error("directory blocks of 2^{bits} blocks are not supported")]
    DirectoryBlocks {
        /// Binary logarithm of blocks per directory block.
        bits: u8,
    },
    /// The file ends before the image does.
    #[error("the image has {expected} bytes, the file ends at {found}: it is cut short")]
    Truncated {
        /// Length by the superblock.
        expected: u64,
        /// Length of the source.
        found: u64,
    },
    /// Something lies outside the image.
    #[error("inode {nid}: {what} at {offset} with {length} bytes is outside the image of {size}")]
    OutOfRange {
        /// What it is.
        what: &'static str,
        /// The inode it belongs to.
        nid: u64,
        /// Offset in bytes, [`u64::MAX`] when no number can say it.
        offset: u64,
        /// Length in bytes.
        length: u64,
        /// Size of the image in bytes.
        size: u64,
    },
    /// An inode of a form that does not exist.
    #[error("inode {nid} has format 0x{format:04x}, which is unknown")]
    InodeFormat {
        /// The inode.
        nid: u64,
        /// Its format field.
        format: u16,
    },
    /// Type bits of a mode that mean nothing.
    #[error("inode {nid} has mode 0o{mode:o}, which is no file type")]
    Mode {
        /// The inode.
        nid: u64,
        /// Its mode.
        mode: u16,
    },
    /// A size no file has.
    #[error("inode {nid} has {size} bytes, the limit is {limit}")]
    Size {
        /// The inode.
        nid: u64,
        /// Its size.
        size: u64,
        /// The limit for its type.
        limit: u64,
    },
    /// A symbolic link whose target is empty or has a NUL in it, where Linux would cut it.
    #[error(
        "the target of symbolic link {nid} is empty or has a NUL in it, which no link of Linux does"
    )]
    Target {
        /// The inode.
        nid: u64,
    },
    /// More than 999 999 999 nanoseconds.
    #[error("inode {nid} has {found} nanoseconds in its time")]
    Nanoseconds {
        /// The inode.
        nid: u64,
        /// What it has.
        found: u32,
    },
    /// Data behind an inode that reaches into the next block.
    #[error("the data behind inode {nid} crosses a block boundary")]
    InlineCrossesBlock {
        /// The inode.
        nid: u64,
    },
    /// A data layout its type cannot have.
    #[error("inode {nid} is a {file_type}, whose data cannot be stored as {layout:?}")]
    Layout {
        /// The inode.
        nid: u64,
        /// What it is.
        file_type: &'static str,
        /// How its data is stored.
        layout: DataLayout,
    },
    /// A chunk format that does not exist.
    #[error("inode {nid} has chunk format 0x{format:x}, which is unknown")]
    ChunkFormat {
        /// The inode.
        nid: u64,
        /// Its chunk format.
        format: u32,
    },
    /// Data on another device, which is not at hand.
    #[error(
        "data of inode {nid} lies on extra device {device}, which is not at hand: open the image with its devices"
    )]
    ExtraDevice {
        /// The inode.
        nid: u64,
        /// The device's number.
        device: u16,
    },
    /// A device table that is not in the image.
    #[error(
        "the device table at offset {offset} with {length} bytes is outside the image of {size} bytes"
    )]
    DeviceTable {
        /// Offset in bytes.
        offset: u64,
        /// Length in bytes.
        length: u64,
        /// Size of the image in bytes.
        size: u64,
    },
    /// More or fewer devices given than the image has.
    #[error("the image has {expected} extra devices, given were {found}")]
    DeviceCount {
        /// By the superblock.
        expected: u16,
        /// Given.
        found: usize,
    },
    /// A device that is shorter than the image says.
    #[error("extra device {device} has {expected} bytes, what was given has {found}")]
    DeviceTooShort {
        /// The device's number, from 1 on.
        device: u16,
        /// By the device table.
        expected: u64,
        /// Length of what was given.
        found: u64,
    },
    /// Data on a device the image does not have.
    #[error("data of inode {nid} lies on extra device {device}, the image has {count}")]
    UnknownDevice {
        /// The inode.
        nid: u64,
        /// The device's number.
        device: u16,
        /// Number of extra devices.
        count: usize,
    },
    /// Data outside its device.
    #[error(
        "data of inode {nid} at {offset} with {length} bytes is outside extra device {device} of {size} bytes"
    )]
    DeviceRange {
        /// The inode.
        nid: u64,
        /// The device's number.
        device: u16,
        /// Offset on the device, in bytes.
        offset: u64,
        /// Length in bytes.
        length: u64,
        /// Size of the device in bytes, by the device table.
        size: u64,
    },
    /// An attribute by which overlayfs would show something else than what is here.
    #[error(
        "inode {nid} has the attribute `{}`, which gives it another meaning in an overlay: no layer has that",
        Escaped(.name)
    )]
    OverlayXattr {
        /// The inode.
        nid: u64,
        /// Name of the attribute.
        name: Vec<u8>,
    },
    /// More names in a layer than can be kept.
    #[error(transparent)]
    LayerFull(#[from] LayerFull),
    /// Data compressed in a way this reader does not know. Names and metadata can be read.
    #[error("data of inode {nid} is compressed with {method}, which is not supported")]
    Compressed {
        /// The inode.
        nid: u64,
        /// The algorithm, or what else is unknown.
        method: &'static str,
    },
    /// The place of compressed data was asked for.
    #[error(
        "data of inode {nid} is compressed: it has no place of its own in the image, only contents"
    )]
    NoExtent {
        /// The inode.
        nid: u64,
    },
    /// Compressed data by an algorithm the superblock does not mention.
    #[error(
        "data of inode {nid} is compressed with {method}, but the superblock does not say so: Linux refuses it"
    )]
    Method {
        /// The inode.
        nid: u64,
        /// The algorithm.
        method: &'static str,
    },
    /// An index of compressed data that makes no sense.
    #[error("the index of inode {nid} is damaged at cluster {cluster}: {reason}")]
    Index {
        /// The inode.
        nid: u64,
        /// Number of the logical cluster.
        cluster: u64,
        /// What is wrong.
        reason: IndexDamage,
    },
    /// Compressed data that makes no sense.
    #[error(
        "data of inode {nid} from offset {offset} on cannot be decompressed: the image is damaged"
    )]
    Decompress {
        /// The inode.
        nid: u64,
        /// Offset in the file, in bytes.
        offset: u64,
        /// What the decoder said.
        source: io::Error,
    },
    /// A call for another type of file.
    #[error("inode {nid} is not a {expected}")]
    Type {
        /// The inode.
        nid: u64,
        /// What it should be.
        expected: &'static str,
    },
    /// A directory block that makes no sense.
    #[error("block {block} of directory {nid} is damaged: {reason}")]
    Directory {
        /// The directory's inode.
        nid: u64,
        /// Number of the block in the directory.
        block: u64,
        /// What is wrong.
        reason: DirectoryDamage,
    },
    /// Attributes that make no sense.
    #[error("extended attributes of inode {nid} are damaged: {reason}")]
    Xattrs {
        /// The inode.
        nid: u64,
        /// What is wrong.
        reason: XattrDamage,
    },
    /// An attribute prefix stored in the image.
    #[error(
        "an extended attribute of inode {nid} uses a name prefix stored in the image, which is not supported"
    )]
    XattrPrefix {
        /// The inode.
        nid: u64,
    },
    /// More entries than the image has room for: directories are used more than once, or contain themselves.
    #[error(
        "more than {limit} directory entries: directories contain themselves or are reached more than once"
    )]
    TooManyEntries {
        /// The most entries an image of this size can have.
        limit: u64,
    },
    /// Inodes with what stands behind them take more bytes than the image has.
    #[error("the inodes take more bytes than the image has: they overlap")]
    MetadataOverlaps,
    /// A path longer than Linux can name.
    #[error("a path in the image is longer than {limit} bytes")]
    PathTooLong {
        /// The limit.
        limit: usize,
    },
    /// A file over the caller's limit.
    #[error("inode {nid} has {size} bytes, only {limit} were to be read")]
    Limit {
        /// The inode.
        nid: u64,
        /// Its size.
        size: u64,
        /// The caller's limit.
        limit: u64,
    },
}

/// What is wrong with a directory block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryDamage {
    /// The first name's offset, which tells the number of entries, is impossible.
    #[error("its first name is at offset {offset}")]
    FirstName {
        /// The offset.
        offset: u16,
    },
    /// A name that is empty, over 255 bytes, or outside the block.
    #[error("the name of entry {index} is at {start} to {end}")]
    NameRange {
        /// Number of the entry in the block.
        index: usize,
        /// Start of the name.
        start: usize,
        /// End of the name.
        end: usize,
    },
    /// A name with a slash or NUL.
    #[error("the name of entry {index} has a slash or NUL")]
    NameByte {
        /// Number of the entry in the block.
        index: usize,
    },
    /// A file type that does not exist.
    #[error("entry {index} has file type {found}")]
    FileType {
        /// Number of the entry in the block.
        index: usize,
        /// The type.
        found: u8,
    },
}

/// What is wrong with the index of a compressed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexDamage {
    /// An entry that does not exist or contradicts its neighbours.
    #[error("its entry contradicts those around it")]
    Entry,
    /// An extent that starts behind the end of its cluster.
    #[error("an extent starts {offset} bytes into it, behind its end")]
    HeadOffset {
        /// Bytes from the start of the cluster.
        offset: u16,
    },
    /// A distance to where an extent starts that leads nowhere.
    #[error("its extent is said to start {back} clusters before")]
    Distance {
        /// In clusters.
        back: u16,
    },
    /// A number of blocks that is missing, where none belongs, or impossible.
    #[error("the number of compressed blocks is missing, out of place or impossible")]
    BlockCount,
    /// An extent longer than possible.
    #[error("its extent has more than {limit} bytes")]
    ExtentLength {
        /// The limit, in bytes.
        limit: u64,
    },
}

/// What is wrong with attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XattrDamage {
    /// The shared ids do not fit the length.
    #[error("{count} shared ids in {length} bytes")]
    SharedCount {
        /// Number of shared ids.
        count: usize,
        /// Length of ids and entries.
        length: usize,
    },
    /// An entry reaches past the end.
    #[error("an entry reaches past their end")]
    EntryRange,
    /// A name prefix that does not exist.
    #[error("name index {index} is unknown")]
    NameIndex {
        /// The index.
        index: u8,
    },
    /// A name Linux could not have.
    #[error("a name is empty, longer than 255 bytes, or has a NUL")]
    Name,
    /// The same name twice.
    #[error("a name occurs twice")]
    Duplicate,
}
