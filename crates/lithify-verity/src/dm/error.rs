//! What can go wrong.

use std::io;

use lithify_digest::ParseError;

use super::geometry::BlockKind;
use super::hash::Hash;
use super::superblock::SALT_MAX;
use super::verify::Place;

/// Why there is no tree of these measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// dm-verity has no tree over nothing, and `veritysetup` makes none.
    #[error("there is no data to make a hash tree over: at least one block is needed")]
    NoData,
    /// Block sizes are powers of two from 512 bytes to 512 KiB.
    #[error("a {kind} block size of {found} bytes: expected a power of two from 512 to 524288")]
    BlockSize {
        /// Which of the two block sizes.
        kind: BlockKind,
        /// What was asked for, in bytes.
        found: u32,
    },
    /// More than 2⁶³ − 1 bytes.
    #[error(
        "{data_blocks} blocks of {data_block} bytes are more than a file can have (2⁶³ − 1 bytes)"
    )]
    TooLarge {
        /// Number of data blocks.
        data_blocks: u64,
        /// Size of each, in bytes.
        data_block: u32,
    },
}

/// Why bytes are not a superblock that lithify can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuperblockError {
    /// Not `verity` and two zero bytes at the start.
    #[error("no dm-verity superblock: expected `verity\\0\\0`, found `{}`", .found.escape_ascii())]
    Magic {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// Superblocks have version 1.
    #[error("superblock version {found}: expected 1")]
    Version {
        /// Version found.
        found: u32,
    },
    /// Type 0 is what Chrome OS once used, 1 the one everybody uses.
    #[error("hash type {found}: expected 1 (salt first, digests at powers of two)")]
    HashType {
        /// Type found.
        found: u32,
    },
    /// Another algorithm than SHA-256, or no name.
    #[error("hash algorithm `{}`: expected sha256", .found.escape_ascii())]
    Algorithm {
        /// The whole field up to its last byte that is not zero.
        found: Vec<u8>,
    },
    /// A salt longer than the field for it.
    #[error("a salt of {found} bytes: at most {SALT_MAX} fit")]
    SaltSize {
        /// Length found.
        found: u16,
    },
    /// Bytes without meaning that are not zero.
    #[error("byte {offset} of the superblock is not used and has to be zero, found 0x{found:02x}")]
    NotZero {
        /// Offset within the superblock.
        offset: usize,
        /// The byte.
        found: u8,
    },
    /// Block sizes or number that make no tree.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
}

/// Why a tree could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The storage failed. A full disk shows as [`io::ErrorKind::StorageFull`] in `source`.
    #[error("cannot {operation} at byte {offset}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// Where, in bytes from the storage's start.
        offset: u64,
        /// What the storage said.
        source: io::Error,
    },
    /// Sizes that make no tree.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The superblock has no room for more.
    #[error("a salt of {found} bytes: at most {SALT_MAX} fit")]
    SaltTooLong {
        /// Length of the salt, in bytes.
        found: usize,
    },
    /// The builder was fed other than the announced number of bytes.
    #[error("an image announced with {announced} bytes got {found}")]
    DataLength {
        /// Bytes announced.
        announced: u64,
        /// Bytes fed, or more than that.
        found: u64,
    },
    /// The storage ends before the image does.
    #[error("the image should have {expected} bytes, the storage has {found}")]
    Short {
        /// Size of the image, in bytes.
        expected: u64,
        /// Size of the storage, in bytes.
        found: u64,
    },
}

/// Why an image was not found good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The image could not be read.
    #[error("cannot read {length} bytes at byte {offset}")]
    Io {
        /// Where, in bytes from the image's start.
        offset: u64,
        /// How many bytes.
        length: usize,
        /// What the storage said.
        source: io::Error,
    },
    /// The superblock makes no sense.
    #[error("no usable dm-verity superblock at byte {offset}")]
    Superblock {
        /// Where it was looked for.
        offset: u64,
        /// What is wrong with it.
        source: SuperblockError,
    },
    /// Superblocks stand at multiples of 512.
    #[error("a hash offset of {found}: expected a multiple of 512")]
    HashOffset {
        /// The offset asked for, in bytes.
        found: u64,
    },
    /// The data the superblock speaks of would reach into the tree.
    #[error(
        "the superblock at byte {hash_offset} speaks of {data_size} bytes of data, which would reach into it"
    )]
    Overlap {
        /// Offset of the superblock.
        hash_offset: u64,
        /// Data bytes it announces.
        data_size: u64,
    },
    /// The tree would end behind the image's end.
    #[error("the image ends at byte {found}, its hash tree should reach to {expected}")]
    Short {
        /// End of the tree, in bytes; [`u64::MAX`] when it is more.
        expected: u64,
        /// Size of the image, in bytes.
        found: u64,
    },
    /// The tree is not the one that was asked for. Nothing below its root was looked at.
    #[error("the root hash is {found}, expected {expected}")]
    Root {
        /// The root hash asked for.
        expected: Hash,
        /// The root hash of the tree.
        found: Hash,
    },
    /// A block is not what the level above says; all blocks before it, and all levels above, are.
    #[error("{place} has the hash {found}, expected {expected}")]
    Mismatch {
        /// The block.
        place: Place,
        /// What the level above says.
        expected: Hash,
        /// The hash of the block's bytes.
        found: Hash,
    },
    /// Bytes behind the last digest of a level that are not zero.
    #[error("byte {offset} in the unused end of level {level} of the hash tree is not zero")]
    Spare {
        /// The level; 0 is the one over the data.
        level: usize,
        /// Where, in bytes from the image's start.
        offset: u64,
    },
}

/// Why a sidecar file is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SidecarError {
    /// More bytes than any sidecar has.
    #[error("a dm-verity sidecar of {found} bytes: expected at most {max}")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not the JSON object expected.
    #[error("no dm-verity sidecar: expected {{\"roothash\":HEX,\"hashoffset\":NUMBER}}")]
    Json {
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A root hash that is no SHA-256 digest.
    #[error("the sidecar's root hash is not usable")]
    RootHash {
        /// What is wrong with it.
        source: ParseError,
    },
    /// Superblocks stand at multiples of 512.
    #[error("the sidecar's hash offset is {found}: expected a multiple of 512")]
    HashOffset {
        /// The offset found, in bytes.
        found: u64,
    },
}
