//! What can go wrong reading an image.

use std::io;

use lithify_tree::Escaped;

use crate::Compressor;

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
    /// No decompressor for want of memory.
    #[error("cannot set up decompression of {compressor}")]
    Decoder {
        /// How the image is compressed.
        compressor: Compressor,
        /// What the decompressor said.
        source: io::Error,
    },
    /// Shorter than any image.
    #[error("a squashfs image has at least {expected} bytes, found {found}")]
    TooShort {
        /// Length of the superblock.
        expected: u64,
        /// Length of the source.
        found: u64,
    },
    /// Another kind of file.
    #[error(
        "not a squashfs image: expected magic number 0x{expected:08x} at its start, found 0x{found:08x}"
    )]
    Magic {
        /// The magic number of squashfs.
        expected: u32,
        /// What is there.
        found: u32,
    },
    /// A version before 4.0, or one yet to come.
    #[error("squashfs version {major}.{minor} is not supported: expected 4.0")]
    Version {
        /// Major number.
        major: u16,
        /// Minor number.
        minor: u16,
    },
    /// A compressor this reader does not know.
    #[error("compressor {code} is unknown: expected 1 (gzip) to 6 (zstd)")]
    UnknownCompressor {
        /// Its number.
        code: u16,
    },
    /// A block size outside 4 KiB to 1 MiB, or that the superblock's two fields for it do not agree about.
    #[error(
        "block size {size}, of logarithm {bits}, is no power of two from 4096 to 1048576 bytes"
    )]
    BlockSize {
        /// The size.
        size: u32,
        /// Its binary logarithm by the other field.
        bits: u16,
    },
    /// The file ends before the image does.
    #[error("the image has {expected} bytes, the file ends at {found}: it is cut short")]
    Truncated {
        /// Length by the superblock.
        expected: u64,
        /// Length of the source.
        found: u64,
    },
    /// Something in the image makes no sense.
    #[error("{what} at offset {offset} of the image is damaged: {reason}")]
    Damaged {
        /// What it is.
        what: &'static str,
        /// Where it is or should be, in bytes.
        offset: u64,
        /// What is wrong with it.
        reason: Damage,
    },
    /// An inode makes no sense.
    #[error("inode {number} is damaged: {reason}")]
    Inode {
        /// Its number, or what it is referred to by if that is unknown.
        number: u64,
        /// What is wrong with it.
        reason: Damage,
    },
    /// A call for another type of file.
    #[error("inode {number} is not a {expected}")]
    Type {
        /// Its number.
        number: u32,
        /// What it should be.
        expected: &'static str,
    },
    /// More names than the image has room for: directories are used more than once, or contain themselves.
    #[error(
        "the directories have more names than the image has room for: they contain themselves or are reached more than once"
    )]
    TooManyEntries,
    /// Inodes with what stands behind them take more bytes than the image has room for.
    #[error("the inodes take more bytes than the image has room for: they overlap")]
    InodesOverlap,
    /// An attribute by which overlayfs would show something else than what is here.
    #[error(
        "inode {number} has the attribute `{}`, which gives it another meaning in an overlay: no layer has that",
        Escaped(.name)
    )]
    OverlayXattr {
        /// The inode's number.
        number: u32,
        /// Name of the attribute.
        name: Vec<u8>,
    },
    /// A path longer than Linux can name.
    #[error("a path in the image is longer than {limit} bytes")]
    PathTooLong {
        /// The limit.
        limit: usize,
    },
    /// A file over the caller's limit.
    #[error("inode {number} has {size} bytes, only {limit} were to be read")]
    Limit {
        /// Its number.
        number: u32,
        /// Its size.
        size: u64,
        /// The caller's limit.
        limit: u64,
    },
}

/// What is wrong with a part of an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It reaches past the end of the image.
    #[error("{length} bytes reach past the end of the image at {size}")]
    OutOfRange {
        /// Its length in bytes.
        length: u64,
        /// Length of the image in bytes.
        size: u64,
    },
    /// A length no block has.
    #[error("a length of {length} bytes, the limit is {limit}")]
    BlockLength {
        /// The length.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// It cannot be decompressed.
    #[error("it does not decompress: {0}")]
    Decompress(#[source] io::Error),
    /// Another length after decompression than it should have.
    #[error("it has {found} bytes uncompressed, expected {expected}")]
    Uncompressed {
        /// Bytes it should have, or at least should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// An inode type that does not exist.
    #[error("type {code} is unknown")]
    InodeType {
        /// The type number.
        code: u16,
    },
    /// An index into a table that is not so long.
    #[error("it refers to entry {index} of the {table} table, which has {count}")]
    Index {
        /// The table.
        table: &'static str,
        /// The index.
        index: u64,
        /// Number of entries.
        count: u64,
    },
    /// A size no file has.
    #[error("a size of {size} bytes, the limit is {limit}")]
    Size {
        /// The size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A file whose size is a multiple of the block size, which has no end to be in a fragment block.
    #[error("it has a fragment, but its size of {size} bytes leaves nothing for it")]
    NoTail {
        /// The size.
        size: u64,
    },
    /// Inode number 0, which Linux takes for none.
    #[error("it has number 0")]
    NumberZero,
    /// A run of more entries than a run has.
    #[error("a run of {count} names, the limit is 256")]
    RunLength {
        /// The count.
        count: u32,
    },
    /// A listing that ends inside an entry.
    #[error("it ends inside an entry")]
    CutShort,
    /// A name Linux could not have.
    #[error("a name that is empty, too long, `.` or `..`, or has a slash or NUL")]
    Name,
    /// An attribute's prefix that does not exist.
    #[error("the attribute name prefix {prefix} is unknown")]
    XattrPrefix {
        /// The prefix.
        prefix: u16,
    },
    /// Attributes of one inode no Linux would have let anyone set.
    #[error("its extended attributes are over {limit} bytes long")]
    XattrsTooLong {
        /// The limit.
        limit: usize,
    },
    /// An attribute with no possible name or value, or that occurs twice.
    #[error("an extended attribute's name occurs twice, or name or value is too long")]
    Xattr,
    /// Options of a compressor that are compressed themselves.
    #[error("they are compressed")]
    CompressedOptions,
    /// The target of a symbolic link is empty or has a NUL in it, where Linux would cut it.
    #[error("a target that is empty or has a NUL in it, which no link of Linux does")]
    Target,
    /// Options of xz no reader has a decoder for.
    #[error("a dictionary size that xz in squashfs does not have")]
    XzOptions,
    /// LZ4 of a form other than version 1.
    #[error("lz4 of a form that is unknown")]
    Lz4Form,
}
