//! The errors of single structures.

use std::fmt;
use std::io;

use lithify_escape::Escaped;

/// A structure that a header refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Structure {
    /// The L1 table of the active state.
    L1Table,
    /// The table of the blocks of reference counts.
    RefcountTable,
    /// The table of internal snapshots.
    SnapshotTable,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L1Table => "L1 table",
            Self::RefcountTable => "refcount table",
            Self::SnapshotTable => "snapshot table",
        })
    }
}

/// A header extension this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extension {
    /// The format of the backing file.
    BackingFormat,
    /// Names of features.
    FeatureNames,
    /// Bitmaps of changes.
    Bitmaps,
    /// The place of the header of the encryption.
    Encryption,
    /// The name of the data file.
    DataFile,
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BackingFormat => "backing file format",
            Self::FeatureNames => "feature name table",
            Self::Bitmaps => "bitmaps",
            Self::Encryption => "encryption header",
            Self::DataFile => "data file name",
        })
    }
}

/// The errors of reading a header.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The file could not be read.
    #[error("cannot read the header at byte {offset}")]
    Io {
        /// The offset in the file, in bytes.
        offset: u64,
        /// The storage's error.
        source: io::Error,
    },
    /// The file ends within its header.
    #[error("the file has {found} bytes, expected a qcow2 header of at least {expected}")]
    Short {
        /// The file's size in bytes.
        found: u64,
        /// The header's size in bytes.
        expected: u64,
    },
    /// Another first word.
    #[error("no qcow2 image: it starts with {found:#010x}, expected 0x514649fb (`QFI` and fb)")]
    Magic {
        /// The first word.
        found: u32,
    },
    /// Another version than 2 and 3.
    #[error("qcow2 version {found}: expected 2 or 3")]
    Version {
        /// The version.
        found: u32,
    },
    /// Clusters of a size that QEMU does not open either.
    #[error("`cluster_bits` is {found}: expected 9 (512 bytes) to 21 (2 MiB)")]
    ClusterBits {
        /// The binary logarithm of the cluster size.
        found: u32,
    },
    /// A feature without which the image cannot be understood.
    #[error(
        "the image needs the feature `{}` (bit {bit}), which is unknown: convert it with qemu-img",
        Escaped(.name)
    )]
    Feature {
        /// Its bit in `incompatible_features`.
        bit: u32,
        /// Its name by the image's own table of names, or `unknown`.
        name: Vec<u8>,
    },
    /// Encrypted data.
    #[error("the image is encrypted (`crypt_method` {method}): decrypt it with qemu-img convert")]
    Encrypted {
        /// 1 for AES, 2 for LUKS.
        method: u32,
    },
    /// A header length that no header has.
    #[error("a header of {found} bytes: expected a multiple of 8 from 104 to {max}")]
    HeaderLength {
        /// The length in bytes.
        found: u32,
        /// The size of the first cluster in bytes.
        max: u64,
    },
    /// A size of the disk that is not possible.
    #[error("a disk of {found} bytes: expected a multiple of 512 below 2⁶³")]
    Size {
        /// The size in bytes.
        found: u64,
    },
    /// A structure that is not where one can be.
    #[error(
        "the {structure} is at byte {offset} with {length} bytes: \
         expected it cluster by cluster in the {file} bytes of the file"
    )]
    Place {
        /// The structure.
        structure: Structure,
        /// Its offset in the file, in bytes.
        offset: u64,
        /// Its length in bytes.
        length: u64,
        /// The size of the file in bytes.
        file: u64,
    },
    /// A structure of another size than it can have.
    #[error("the {structure} has {found} entries: expected {min} to {max}")]
    Entries {
        /// The structure.
        structure: Structure,
        /// Its number of entries.
        found: u64,
        /// Fewest possible.
        min: u64,
        /// Most possible.
        max: u64,
    },
    /// A width of reference counts that is not possible.
    #[error("`refcount_order` is {found}: expected 0 (1 bit) to 6 (64 bits)")]
    RefcountOrder {
        /// The binary logarithm of the width.
        found: u32,
    },
    /// A name of a backing file that is not in the first cluster, or too long.
    #[error(
        "the name of the backing file is at byte {offset} with {length} bytes: \
         expected 1 to 1023 behind the header, in the first cluster of {cluster}"
    )]
    BackingName {
        /// Its offset in the file, in bytes.
        offset: u64,
        /// Its length in bytes.
        length: u32,
        /// The cluster size in bytes.
        cluster: u64,
    },
    /// A method of compression that is unknown, or not announced.
    #[error(
        "`compression_type` is {found}: expected 0 (zlib) without feature bit 3, \
         or 1 (zstd) with it"
    )]
    CompressionType {
        /// The method.
        found: u8,
    },
    /// Subclusters in clusters that are too small for them.
    #[error("clusters of {found} bytes have subclusters: expected at least 16384")]
    ExtendedL2 {
        /// The cluster size in bytes.
        found: u64,
    },
    /// A raw data file that is none.
    #[error("the image says its data file is raw, but {problem}")]
    RawDataFile {
        /// The contradiction.
        problem: &'static str,
    },
    /// Header extensions that leave the first cluster.
    #[error(
        "a header extension of {length} bytes at byte {offset}: expected it to end by byte {end}"
    )]
    ExtensionLength {
        /// Its offset in the file, in bytes.
        offset: u64,
        /// The length of its data, in bytes.
        length: u32,
        /// The end of all extensions, in bytes.
        end: u64,
    },
    /// A header extension that is there twice.
    #[error("the header extension `{0}` is there twice")]
    ExtensionAgain(Extension),
    /// A header extension that contradicts the header.
    #[error("the header extension `{extension}` has {length} bytes: expected {expected}")]
    ExtensionData {
        /// The extension.
        extension: Extension,
        /// The length of its data, in bytes.
        length: usize,
        /// The length expected.
        expected: &'static str,
    },
}

/// The ways in which an entry of a table is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProblem {
    /// Bits that have no meaning.
    #[error("the reserved bits {found:#x} are set")]
    Reserved {
        /// These bits.
        found: u64,
    },
    /// An offset within a cluster.
    #[error("it points to byte {offset}: expected a multiple of {cluster}")]
    Unaligned {
        /// The offset in the file, in bytes.
        offset: u64,
        /// The cluster size in bytes.
        cluster: u64,
    },
    /// An offset behind the end of the file.
    #[error(
        "it points to {length} bytes at byte {offset}, but the file has {file}: \
         it is cut short or damaged"
    )]
    Beyond {
        /// The offset in the file, in bytes.
        offset: u64,
        /// Bytes needed from there on.
        length: u64,
        /// The size of the file in bytes.
        file: u64,
    },
    /// A reference count of one for what is nowhere.
    #[error("it says that its cluster is referred to once, but names none")]
    CopiedNowhere,
    /// A cluster of zeros where the format has none.
    #[error("it has the zero bit, which images of version 2 and with subclusters do not have")]
    ZeroBit,
    /// A compressed cluster where the format has none.
    #[error("it is compressed, but the image has a data file")]
    CompressedInDataFile,
    /// A cluster that is elsewhere in the data file than on the disk.
    #[error(
        "it points to byte {found} of the data file: expected {expected}, its place on the disk"
    )]
    NotInPlace {
        /// The offset in the data file, in bytes.
        found: u64,
        /// The offset on the disk, in bytes.
        expected: u64,
    },
    /// Subclusters that have data and are zeros.
    #[error("the subclusters {both:#x} have data and are zeros")]
    Subclusters {
        /// These subclusters, a bit each.
        both: u32,
    },
    /// Subclusters that have data without a cluster.
    #[error("the subclusters {found:#x} have data, but the cluster is nowhere")]
    SubclustersNowhere {
        /// These subclusters, a bit each.
        found: u32,
    },
}
