//! What can be wrong with an archive.

use std::io;

use super::{MAX_LINKS, MAX_NAME};

/// Why an archive cannot be read. Names are printed escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A directory where a file was expected.
    #[error("is a directory: use oci:DIR for an image layout, rootfs:DIR for a file tree")]
    IsDirectory,
    /// The first block is no tar header.
    #[error("is not a tar archive, nor one compressed with gzip or zstd")]
    NotTar,
    /// Compressed in a way lithify does not read.
    #[error("is compressed with {format}: decompress it first, or use gzip or zstd")]
    Compression {
        /// The format.
        format: &'static str,
    },
    /// Decompression failed.
    #[error("cannot decompress: {source}")]
    Decompress {
        /// The decoder's error.
        source: io::Error,
    },
    /// What it is read from failed.
    #[error("cannot be read: {source}")]
    Read {
        /// The reader's error.
        source: io::Error,
    },
    /// More bytes than allowed once decompressed or received.
    #[error("has more than {limit} bytes once decompressed (limit `spool_bytes`)")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// More entries than allowed.
    #[error("has more than {limit} entries (limit `archive_entries`)")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// More bytes of names and link targets than allowed.
    #[error("has more than {limit} bytes of names (limit `archive_names`)")]
    TooManyNames {
        /// The limit.
        limit: usize,
    },
    /// The archive stops within an entry.
    #[error("is truncated: {what} at byte {offset} goes past the end at byte {len}")]
    Truncated {
        /// What is incomplete.
        what: &'static str,
        /// Where that starts.
        offset: u64,
        /// Bytes of the archive.
        len: u64,
    },
    /// Something other than zeros behind the end mark: nothing to some readers, further entries to others.
    #[error(
        "data follows the end of the archive at byte {offset}: only zeros may, as some readers ignore the rest and others read on"
    )]
    DataAfterEnd {
        /// Where the first such byte is, once decompressed.
        offset: u64,
    },
    /// A header that breaks the format or contradicts another.
    #[error("header at byte {offset}: {problem}")]
    Header {
        /// Where the header starts.
        offset: u64,
        /// What is wrong.
        problem: HeaderProblem,
    },
    /// Links that lead back to themselves or on for too long.
    #[error("`{}` leads through more than {MAX_LINKS} links", .name.escape_ascii())]
    LinkLoop {
        /// The name looked up.
        name: Vec<u8>,
    },
    /// A link to outside the archive.
    #[error("`{}` links to `{}`, outside the archive", .name.escape_ascii(), .target.escape_ascii())]
    LinkEscapes {
        /// The link.
        name: Vec<u8>,
        /// Its target.
        target: Vec<u8>,
    },
    /// A link to nothing.
    #[error("`{}` links to `{}`, which is not in the archive", .name.escape_ascii(), .target.escape_ascii())]
    LinkDangles {
        /// The link.
        name: Vec<u8>,
        /// Its target.
        target: Vec<u8>,
    },
    /// A directory, device or FIFO where a file was expected.
    #[error("`{}` is not a regular file", .name.escape_ascii())]
    NotRegular {
        /// The name looked up.
        name: Vec<u8>,
    },
    /// A path that `manifest.json` gives and that cannot be one within an archive.
    #[error("path `{}` does not stay within the archive", .path.escape_ascii())]
    PathEscapes {
        /// The path as written.
        path: Vec<u8>,
    },
}

/// What is wrong with a tar header.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderProblem {
    /// The sum of the header's bytes is not the one it says.
    #[error("checksum is {found}, expected {expected}")]
    Checksum {
        /// Computed.
        expected: u64,
        /// In the header.
        found: u64,
    },
    /// A numeric field with other characters than octal digits, or out of range.
    #[error("field `{field}` is not a number in range")]
    Number {
        /// The field.
        field: &'static str,
    },
    /// A member type that cannot be skipped over with certainty.
    #[error("member type `{}` is not supported", .kind.escape_ascii())]
    Kind {
        /// The type byte.
        kind: u8,
    },
    /// A sparse member: what it holds is not stored in one piece.
    #[error("sparse members are not supported here: pack the archive without `--sparse`")]
    Sparse,
    /// A link, directory or device with content, by a PAX record. A size in the header alone means nothing there.
    #[error("member type `{}` cannot have content, but its PAX size is {size}", .kind.escape_ascii())]
    HasContent {
        /// The type byte.
        kind: u8,
        /// The size given.
        size: u64,
    },
    /// PAX records that break their format.
    #[error("malformed PAX records")]
    Pax,
    /// Something said twice about one member, or by a global header.
    #[error("`{what}` is given in a place or number that readers take differently")]
    Conflict {
        /// What is given.
        what: &'static str,
    },
    /// An extension header longer than allowed.
    #[error(
        "extension of {size} bytes, at most {limit} are allowed (limit `archive_header_bytes`)"
    )]
    ExtensionTooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// An extension header that no member follows.
    #[error("an extension header is followed by no member")]
    Dangling,
    /// One block of zeroes within the archive; readers differ in whether it ends there.
    #[error("a single block of zeroes within the archive")]
    LoneZeroBlock,
    /// A name or link target longer than Linux allows for paths.
    #[error("a name of {found} bytes, at most {MAX_NAME} are allowed")]
    NameTooLong {
        /// Its length.
        found: usize,
    },
    /// A name with `..` or a NUL byte.
    #[error("name `{}` has a `..` component or a NUL byte", .name.escape_ascii())]
    Name {
        /// The name.
        name: Vec<u8>,
    },
}
