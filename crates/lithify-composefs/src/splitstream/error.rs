//! The errors of reading splitstreams.

use std::io;

use lithify_escape::Escaped;
use lithify_verity::file::{FileAlgorithm, FileDigest};

use super::ContentType;

/// Faults of a splitstream, or of the objects it is put together from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Neither of the two headers.
    #[error("it is no splitstream: `SplitStream` stands neither at byte 0 nor at byte 18")]
    Magic,
    /// A version nobody here knows.
    #[error("the splitstream is of version {found}, expected 0")]
    Version {
        /// The version.
        found: u8,
    },
    /// Digests that no repository has.
    #[error(
        "the splitstream's digests are of algorithm {found}, expected 1 (SHA-256) or 2 (SHA-512)"
    )]
    Algorithm {
        /// The algorithm's number.
        found: u8,
    },
    /// Digests of another algorithm than the repository's.
    #[error("the splitstream's digests are {found}, the repository's are {expected}")]
    OtherAlgorithm {
        /// The repository's.
        expected: FileAlgorithm,
        /// The splitstream's.
        found: FileAlgorithm,
    },
    /// Digests of blocks that are not of 4096 bytes.
    #[error("the splitstream's digests are of blocks of 2^{found} bytes, expected 2^12")]
    BlockSize {
        /// The binary logarithm found.
        found: u8,
    },
    /// A part that is not inside the file.
    #[error("the {part} are at bytes {start} to {end} of a splitstream of {size} bytes")]
    Range {
        /// The part.
        part: &'static str,
        /// The byte at which it begins.
        start: u64,
        /// The byte at which it ends.
        end: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// Information that lacks fields.
    #[error("the splitstream's information has {found} bytes, expected at least {expected}")]
    ShortInformation {
        /// Bytes it needs.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// References that are not whole digests.
    #[error("the {part} have {found} bytes, no multiple of a digest's {digest}")]
    PartialDigest {
        /// The references.
        part: &'static str,
        /// Bytes found.
        found: u64,
        /// Bytes of a digest.
        digest: usize,
    },
    /// Another content than the one asked for.
    #[error("the splitstream's content is `{found}`, expected `{expected}`")]
    ContentType {
        /// The content asked for.
        expected: ContentType,
        /// The content there is.
        found: ContentType,
    },
    /// Named references that unpack to more than any have.
    #[error("the named references have more than {limit} bytes")]
    NamedReferencesTooLong {
        /// The limit.
        limit: u64,
    },
    /// A named reference that is not `NUMBER:NAME` with a NUL behind it.
    #[error("`{}` is no named reference: expected NUMBER:NAME", Escaped(.record))]
    NamedReference {
        /// The record.
        record: Vec<u8>,
    },
    /// Two named references of one name.
    #[error("the named reference `{}` is there twice", Escaped(.name))]
    NamedTwice {
        /// The name.
        name: String,
    },
    /// A number that no reference has.
    #[error("reference {index} of {count} {part}")]
    Index {
        /// The references.
        part: &'static str,
        /// The number.
        index: u64,
        /// References there are.
        count: u64,
    },
    /// Data that Zstandard does not unpack.
    #[error("the {part} are not Zstandard")]
    Zstandard {
        /// The part.
        part: &'static str,
        /// The error of the decoder.
        #[source]
        source: io::Error,
    },
    /// A body that ends inside a chunk.
    #[error("the body ends inside a chunk")]
    Truncated,
    /// Chunks that are too long or too short for the whole.
    #[error("put together, the splitstream has {} {found} bytes, expected {expected}", match .is_more { true => "at least", false => "only" })]
    Size {
        /// Bytes the header says.
        expected: u64,
        /// Bytes there are.
        found: u64,
        /// The end was not looked for.
        is_more: bool,
    },
    /// More empty objects than any file has parts.
    #[error("the body has more than {limit} objects without a byte")]
    EmptyObjects {
        /// The limit.
        limit: u64,
    },
    /// An object that is not what its name says.
    #[error(
        "the object {expected} is damaged: its digest is {found}; import what it is part of once more"
    )]
    Object {
        /// Its name.
        expected: Box<FileDigest>,
        /// The digest of its bytes.
        found: Box<FileDigest>,
    },
    /// An object that cannot be read.
    #[error("the object {id} cannot be read")]
    OpenObject {
        /// Its name.
        id: Box<FileDigest>,
        /// The error of the system, or of the repository.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StreamError {
    /// Returns the error that a reader of the whole reported through `error`, if that is what the
    /// error is about.
    #[must_use]
    pub fn in_error(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Io(e) => e,
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
