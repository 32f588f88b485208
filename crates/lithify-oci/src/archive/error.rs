//! What can be wrong with an archive.

use std::io;

use lithify_escape::Escaped;
use lithify_tar::TarError;

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
    /// A tar that cannot be read, or that readers would not agree on; the rules are those of layers.
    #[error("cannot be read: {0}")]
    Tar(Box<TarError>),
    /// A name with `..` or a NUL byte.
    #[error("has the name `{}` at byte {offset}, with a `..` component or a NUL byte", Escaped(.name))]
    Name {
        /// Where the header starts.
        offset: u64,
        /// The name.
        name: Vec<u8>,
    },
    /// A name or link target longer than Linux allows for paths.
    #[error("has a name of {found} bytes at byte {offset}, at most {MAX_NAME} are allowed")]
    NameTooLong {
        /// Where the header starts.
        offset: u64,
        /// Its length.
        found: u64,
    },
    /// Longer extended headers before one member than allowed.
    #[error(
        "has {found} bytes of extended headers for one member at byte {offset}, at most {limit} are allowed (limit `archive_header_bytes`)"
    )]
    ExtensionTooLarge {
        /// Where the last of them starts.
        offset: u64,
        /// Bytes of them together.
        found: u64,
        /// The limit.
        limit: u64,
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

impl From<TarError> for Error {
    fn from(error: TarError) -> Self {
        Self::Tar(Box::new(error))
    }
}
