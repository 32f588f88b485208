//! The errors of writing images.

use std::io;

use lithify_escape::Escaped;

/// The reasons for which a backing file cannot have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// No name at all.
    #[error("it is empty")]
    Empty,
    /// More bytes than the first cluster, or QEMU, has room for.
    #[error("it has {found} bytes: at most {max} fit")]
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// Bytes possible.
        max: usize,
    },
    /// A zero byte, where QEMU's names end.
    #[error("it contains a zero byte")]
    Zero,
    /// A colon in the first component means other things than files to QEMU.
    #[error("it looks like a protocol, with `:` in its first component: put `./` before it")]
    Protocol,
}

/// The errors of writing an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A size of the disk that no image has.
    #[error("a disk of {found} bytes: expected a multiple of 512 below 2⁶³")]
    Size {
        /// The size in bytes.
        found: u64,
    },
    /// A disk that is too large for its clusters.
    #[error(
        "a disk of {found} bytes: with clusters of {cluster} bytes it has at most {max}, \
         use larger ones"
    )]
    TooLarge {
        /// The size of the disk in bytes.
        found: u64,
        /// The cluster size in bytes.
        cluster: u64,
        /// The size possible in bytes.
        max: u64,
    },
    /// A name that no backing file can have here.
    #[error("the backing file cannot be called `{}`: {problem}", Escaped(.name))]
    BackingName {
        /// The name.
        name: Vec<u8>,
        /// The problem.
        problem: NameProblem,
    },
    /// An extent that starts before the last one ended.
    #[error("an extent at byte {offset}: expected one from {expected} on")]
    Order {
        /// The start of the extent on the disk, in bytes.
        offset: u64,
        /// The end of the last one on the disk, in bytes.
        expected: u64,
    },
    /// An extent behind the end of the disk.
    #[error("an extent of {length} bytes at byte {offset}: expected it on the disk of {size}")]
    OutOfRange {
        /// The start of the extent on the disk, in bytes.
        offset: u64,
        /// Its length in bytes.
        length: u64,
        /// The size of the disk in bytes.
        size: u64,
    },
    /// A cluster that is there in part, over a backing file which has the rest.
    #[error(
        "bytes {offset} to {end} of the disk are missing: \
         over a backing file, clusters of {cluster} bytes are written whole"
    )]
    PartOfCluster {
        /// The first missing byte.
        offset: u64,
        /// The byte behind the last missing one.
        end: u64,
        /// The cluster size in bytes.
        cluster: u64,
    },
    /// A file that is too large for its clusters.
    #[error(
        "the file has more than {max} bytes, which is all that clusters of {cluster} \
         bytes can count: use larger ones"
    )]
    FileTooLarge {
        /// The cluster size in bytes.
        cluster: u64,
        /// The size possible in bytes.
        max: u64,
    },
    /// The image could not be written. A full disk shows as [`io::ErrorKind::StorageFull`] in
    /// `source`.
    #[error("cannot write the image at byte {offset}")]
    Io {
        /// The offset in the file, in bytes.
        offset: u64,
        /// The storage's error.
        source: io::Error,
    },
}
