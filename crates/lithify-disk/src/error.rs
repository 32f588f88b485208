//! What can go wrong.

use std::io;
use std::path::PathBuf;

use lithify_escape::Escaped;

/// Why parts make no disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// A disk of nothing.
    #[error("a disk needs at least one part")]
    NoParts,
    /// A part without bytes has no place on a disk.
    #[error("{} is empty", Escaped::path(.path))]
    EmptyPart {
        /// The part's file.
        path: PathBuf,
    },
    /// Disks are made of sectors.
    #[error("{} has {size} bytes: pad it to a multiple of 512 first", Escaped::path(.path))]
    PartSize {
        /// The part's file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// Over 2⁶³ − 1 bytes.
    #[error("the parts make a disk of more than 2⁶³ − 1 bytes")]
    TooLarge,
    /// More partitions than fit between the header and the first partition at 1 MiB.
    #[error("{found} parts: a partition table here has room for {max}")]
    TooManyPartitions {
        /// Number of parts.
        found: usize,
        /// Number of partitions possible.
        max: usize,
    },
    /// Names of partitions have at most 36 UTF-16 units.
    #[error("the partition name `{}` has {found} UTF-16 units: at most 36 fit", Escaped(.name))]
    NameTooLong {
        /// The name.
        name: String,
        /// Its length in UTF-16 units.
        found: usize,
    },
    /// Control characters have no place in names of partitions.
    #[error("the partition name `{}` contains a control character", Escaped(.name))]
    NameCharacter {
        /// The name.
        name: String,
    },
}

/// Why a raw disk could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RawError {
    /// One source for each part.
    #[error("the disk has {expected} parts, {found} were given")]
    Sources {
        /// Number of parts.
        expected: usize,
        /// Number of sources.
        found: usize,
    },
    /// A file is not as large as the part was said to be: it may have changed since.
    #[error("{} has {found} bytes, expected {expected}", Escaped::path(.path))]
    SourceSize {
        /// The part's file.
        path: PathBuf,
        /// Its size by the part, in bytes.
        expected: u64,
        /// Its size, in bytes.
        found: u64,
    },
    /// A part could not be read.
    #[error("cannot read {}", Escaped::path(.path))]
    Read {
        /// The part's file.
        path: PathBuf,
        /// What the storage said.
        source: io::Error,
    },
    /// The disk could not be written. A full disk shows as [`io::ErrorKind::StorageFull`] in `source`.
    #[error("cannot write the disk at byte {offset}")]
    Write {
        /// Where, in bytes.
        offset: u64,
        /// What the storage said.
        source: io::Error,
    },
    /// Part of the disk could not be copied by the kernel, which does not say which side failed.
    #[error("cannot copy {} to byte {offset} of the disk", Escaped::path(.path))]
    Copy {
        /// The part's file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// What the kernel said.
        source: io::Error,
    },
}
