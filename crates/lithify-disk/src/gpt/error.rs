//! What can go wrong reading a table.

use std::fmt;
use std::io;

/// One of a table's two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// At the disk's start.
    Primary,
    /// At the disk's end.
    Backup,
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
        })
    }
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderProblem {
    /// Not `EFI PART`.
    #[error("expected `EFI PART` at its start")]
    Signature,
    /// Another revision than 1.0.
    #[error("revision {found:#x}: expected 0x10000")]
    Revision {
        /// Revision found.
        found: u32,
    },
    /// A size that is not that of a header.
    #[error("a header of {found} bytes: expected 92 to 512")]
    Size {
        /// Size found, in bytes.
        found: u32,
    },
    /// The checksum of the header is not that of its bytes.
    #[error("its checksum is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// What it should be.
        expected: u32,
        /// What it says.
        found: u32,
    },
    /// A header that says it is elsewhere, or that the other copy is where it cannot be.
    #[error("it says that it and its copy are at sectors {here} and {other}")]
    Place {
        /// Its own sector.
        here: u64,
        /// The other copy's.
        other: u64,
    },
    /// Usable sectors that are none, or where the tables are.
    #[error("sectors {first} to {last} cannot be the usable ones")]
    Usable {
        /// First usable sector.
        first: u64,
        /// Last usable sector.
        last: u64,
    },
    /// Entries of another size, too many, or where they cannot be.
    #[error("{count} entries of {size} bytes at sector {start} are not possible here")]
    Entries {
        /// Sector of the first.
        start: u64,
        /// Their number.
        count: u32,
        /// Size of each, in bytes.
        size: u32,
    },
    /// The checksum of the entries is not that of their bytes.
    #[error("the checksum of its entries is {found:08x}, expected {expected:08x}")]
    EntriesChecksum {
        /// What it should be.
        expected: u32,
        /// What the header says.
        found: u32,
    },
}

/// Why a disk has no usable partition table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GptError {
    /// The disk could not be read.
    #[error("cannot read the disk at byte {offset}")]
    Io {
        /// Where, in bytes.
        offset: u64,
        /// What the storage said.
        source: io::Error,
    },
    /// Not whole sectors, or too few.
    #[error("a disk of {found} bytes: expected a multiple of 512, from 34816 on")]
    DiskSize {
        /// Its size in bytes.
        found: u64,
    },
    /// The first sector has no entry that protects the table.
    #[error("no protective MBR: its partition 1 should be of type ee, from sector 1 to the end")]
    ProtectiveMbr,
    /// One of the headers, or its entries.
    #[error("the {copy} header of the partition table cannot be used: {problem}")]
    Header {
        /// Which one.
        copy: Copy,
        /// What is wrong with it.
        problem: HeaderProblem,
    },
    /// The two copies say different things.
    #[error("the two copies of the partition table differ")]
    CopiesDiffer,
    /// A partition outside the usable sectors, or one that ends before it starts.
    #[error("partition {number} is from sector {first} to {last}, where none can be")]
    Partition {
        /// Its number, from 1.
        number: usize,
        /// Its first sector.
        first: u64,
        /// Its last sector.
        last: u64,
    },
    /// Two partitions share sectors.
    #[error("partitions {first} and {second} overlap")]
    Overlap {
        /// The one that starts first.
        first: usize,
        /// The other.
        second: usize,
    },
}
