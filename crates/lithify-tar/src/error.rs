//! What can be wrong with a tar.

use std::fmt;

use lithify_tree::{Escaped, XattrError};

use crate::LimitExceeded;

/// A fault and where in the tar it is.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("tar entry {entry}{} (byte {offset}): {fault}", Named(.path))]
pub struct Located<F> {
    /// How many entries came before this one, skipped ones included.
    pub entry: u64,
    /// Where in the decompressed tar: the entry's own header where that was read, else the block at fault.
    pub offset: u64,
    /// The entry's name as written, where it was known; `None` when the fault lies in the header before.
    pub path: Option<Vec<u8>>,
    /// What is wrong.
    pub fault: F,
}

/// A tar that cannot be read, or that readers would not agree on, and where.
pub type TarError = Located<TarFault>;

struct Named<'a>(&'a Option<Vec<u8>>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, " `{}`", Escaped(path)),
            None => Ok(()),
        }
    }
}

/// What is wrong with a tar.
///
/// Strictness has one reason: where tar readers differ, an image has two meanings, and what was scanned or signed is
/// not what runs (CVE-2025-62518 "TARmageddon", GHSA-3pv8-6f4r-ffg2). Everything honest tools write is accepted.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TarFault {
    /// The header's checksum is neither the unsigned nor the signed sum of its bytes.
    #[error("not a header: the checksum should be {computed:o} (octal)")]
    Checksum {
        /// The unsigned sum.
        computed: u64,
    },
    /// Neither v7 nor POSIX nor GNU.
    #[error("unknown magic `{}`: expected `ustar` or none", Escaped(.magic))]
    Magic {
        /// Magic and version.
        magic: [u8; 8],
    },
    /// A header marked as star's, whose prefix ends where star keeps times, and that goes on where POSIX has it end.
    #[error(
        "a star header whose prefix fills all of its 131 bytes: other readers take the times behind it for more of it"
    )]
    StarPrefix,
    /// A header field that is neither octal nor base-256.
    #[error("the {field} field holds `{}`, expected octal digits or base-256", Escaped(.bytes))]
    Number {
        /// The field.
        field: &'static str,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A number outside its range, negative ones included.
    #[error("{field} is {found}, expected 0 to {max}")]
    NumberRange {
        /// The field or PAX key.
        field: &'static str,
        /// The number.
        found: i64,
        /// The largest accepted.
        max: u64,
    },
    /// A kind of entry that has no meaning in an image.
    #[error("type `{}` ({meaning}) is not supported", Escaped(&[*.typeflag]))]
    UnsupportedType {
        /// The type flag.
        typeflag: u8,
        /// What it stands for.
        meaning: &'static str,
    },
    /// A type flag that the header's format does not define, such as a PAX header in a v7 tar.
    #[error("type `{}` does not exist in a {format} header", Escaped(&[*.typeflag]))]
    TypeOutsideFormat {
        /// The type flag.
        typeflag: u8,
        /// The format, by its magic.
        format: &'static str,
    },
    /// A link, directory, device or pipe with data, by a PAX record; or a file whose name makes it a directory, or a volume
    /// label, with data.
    /// Some readers skip that many bytes, some read headers there.
    ///
    /// The size field of the header alone is accepted on what has no data, and means nothing: Go, Python and GNU tar, when it
    /// extracts, look for the next header right behind. libarchive does too, but not at a hard link behind PAX records.
    #[error("a {kind} has no data, its size is {size}")]
    SizeWithoutData {
        /// The kind of entry.
        kind: &'static str,
        /// Its size in bytes.
        size: u64,
    },
    /// A regular file whose name ends in a slash: a directory to some readers, a file to others.
    #[error("a regular file's name ends in a slash")]
    TrailingSlash,
    /// No name at all.
    #[error("the name is empty")]
    EmptyPath,
    /// A link to nothing.
    #[error("the link target is empty")]
    EmptyLinkTarget,
    /// A link target with a NUL byte.
    #[error("the link target `{}` has a NUL byte", Escaped(.target))]
    LinkTargetNul {
        /// The target.
        target: Vec<u8>,
    },
    /// An extended attribute that cannot exist.
    #[error("{0}; leave such attributes out with --drop-xattrs")]
    Xattr(XattrError),
    /// A `LIBARCHIVE.xattr.` record whose name is not URL-encoded or whose value is not Base64.
    #[error("the record `{}` is not URL-encoded or its value not Base64", Escaped(.key))]
    XattrEncoding {
        /// The PAX key.
        key: Vec<u8>,
    },
    /// One zero block, then more: the end to some readers, not to others.
    #[error("a single zero block stands before more data: the archive's end is ambiguous")]
    StrayZeroBlock,
    /// Something other than zeros behind the end of the archive: nothing to most readers, further entries to those that
    /// read on over zero blocks, and perhaps the filesystem somebody else mounts.
    #[error(
        "data follows the end of the archive (its first byte that is not zero is byte {at}): only zeros may, as some readers ignore the rest and others read on"
    )]
    DataAfterEnd {
        /// Where in the decompressed tar.
        at: u64,
    },
    /// The tar ends too early.
    #[error("the tar ends within {what}: {missing} more bytes were expected")]
    Truncated {
        /// Within what.
        what: &'static str,
        /// How many bytes are missing at least.
        missing: u64,
    },
    /// An extended header with no entry after it.
    #[error("{what} is not followed by the entry it describes")]
    DanglingExtension {
        /// The extended header.
        what: &'static str,
    },
    /// Two extended headers of one kind before one entry: some readers take the first, some the last.
    #[error("{what} and another one stand before the same entry")]
    DuplicateExtension {
        /// The extended header.
        what: &'static str,
    },
    /// A PAX record and a GNU long name that say different things.
    #[error("the PAX {key} and the GNU long name differ")]
    ConflictingNames {
        /// `path` or `linkpath`.
        key: &'static str,
    },
    /// A GNU long name with bytes after its NUL.
    #[error("{what} has bytes after its NUL")]
    LongNameNul {
        /// The extended header.
        what: &'static str,
    },
    /// A PAX record that is not `LENGTH KEY=VALUE\n`.
    #[error("PAX record at byte {offset} of the extended header: {reason}")]
    PaxRecord {
        /// Offset in the extended header's data.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A PAX value of the wrong form.
    #[error("PAX `{}` is `{}`, expected {expected}", Escaped(.key), Escaped(.value))]
    PaxValue {
        /// The key.
        key: Vec<u8>,
        /// The value, at most its first 64 bytes.
        value: Vec<u8>,
        /// What was expected.
        expected: &'static str,
    },
    /// A global PAX record that would give every entry the same name, size or sparse map.
    #[error("global PAX record `{}` cannot hold for every entry", Escaped(.key))]
    GlobalKey {
        /// The key.
        key: Vec<u8>,
    },
    /// A sparse file where members have to lie in one piece ([`Detail::Placement`](crate::Detail::Placement)).
    #[error("a sparse file, which does not lie in one piece: pack the archive without `--sparse`")]
    SparsePlacement,
    /// A sparse file whose map is wrong.
    #[error("sparse file: {0}")]
    Sparse(#[from] SparseFault),
    /// More than the limits allow.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl From<XattrError> for TarFault {
    fn from(error: XattrError) -> Self {
        Self::Xattr(error)
    }
}

/// What is wrong with a sparse map.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SparseFault {
    /// `GNU.sparse.*` records that are no complete sparse file of any version, or on something that is not a regular file.
    #[error("GNU.sparse records without {missing}")]
    Incomplete {
        /// What is missing.
        missing: &'static str,
    },
    /// Not 0.0, 0.1 or 1.0.
    #[error("sparse format {major}.{minor} is unknown")]
    Version {
        /// `GNU.sparse.major`.
        major: u64,
        /// `GNU.sparse.minor`.
        minor: u64,
    },
    /// The map of a 1.0 file is not lines of decimal numbers, or is longer than the entry.
    #[error("the map is malformed")]
    Map,
    /// A segment before or over the one in front of it.
    #[error("segment {index} starts at {offset}, before byte {expected}")]
    Overlap {
        /// Index of the segment.
        index: u64,
        /// Its offset.
        offset: u64,
        /// Where it may start at the earliest.
        expected: u64,
    },
    /// A segment beyond the file's end.
    #[error("segment {index} ends beyond the file's {size} bytes")]
    BeyondEnd {
        /// Index of the segment.
        index: u64,
        /// Apparent size of the file.
        size: u64,
    },
    /// A segment, not the last, whose length is no multiple of the block size. GNU tar looks for the next segment's data
    /// in the next block, every other reader right behind.
    #[error("segment {index} has {length} bytes, not a multiple of 512, and is not the last")]
    Unaligned {
        /// Index of the segment.
        index: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// The segments' lengths do not add up to the data in the archive.
    #[error("the segments hold {segments} bytes, the archive {archived}")]
    DataSize {
        /// Sum of the segments.
        segments: u64,
        /// Bytes in the archive.
        archived: u64,
    },
    /// The number of segments is not what the header says.
    #[error("{found} segments, the header says {expected}")]
    Count {
        /// As announced.
        expected: u64,
        /// As found.
        found: u64,
    },
    /// Two records name different apparent sizes.
    #[error("the apparent size is given as {first} and as {second}")]
    Size {
        /// One.
        first: u64,
        /// The other.
        second: u64,
    },
}
