//! Digests of the content of disks.
//!
//! A disk is cut into blocks of 64 KiB; what the last one has too little is zeros. The digests of 128 blocks are a node, the digests of
//! 128 nodes are one of the next level, until one digest is left. What a level has too little are digests of zeros, as if the disk
//! went on with zeros. With the disk's size that is hashed to the content digest. All digests are SHA-256, each behind a salt of 64
//! bytes by which blocks, nodes and the whole cannot be taken for one another.
//!
//! Blocks of zeros have a known digest, and so have nodes of nothing else: holes are not read, and cost a few nodes, however long they are.
//! SHA-256 and no other algorithm, because everything else that names an image or a layer is one, and processors have instructions
//! for it.

mod digest; // names of contents
mod error; // reasons why there is no digest
mod hasher; // data in order
mod parallel; // disks that are read
mod tree; // blocks to one digest

pub use digest::{ContentDigest, ParseContentDigestError};
pub use error::ContentError;
pub use hasher::ContentHasher;
pub use parallel::{ContentOptions, digest};

/// The size of a block, in bytes.
pub const BLOCK: usize = 64 << 10;

/// Digests in a node.
pub const FANOUT: usize = 128;

/// Bytes of a digest.
const DIGEST: usize = 32;

/// Bytes of a salt: as many as SHA-256 takes at a time, so that it is hashed once for all.
const SALT: usize = 64;

/// The salts of blocks, of nodes and of the whole. Behind their words they are zeros.
const BLOCK_SALT: [u8; SALT] = salt(b"lithify disk content 1, block");
const NODE_SALT: [u8; SALT] = salt(b"lithify disk content 1, node");
const DISK_SALT: [u8; SALT] = salt(b"lithify disk content 1, disk");

const fn salt(words: &[u8]) -> [u8; SALT] {
    let mut salt = [0; SALT];
    let mut at = 0;
    while at < words.len() {
        salt[at] = words[at];
        at += 1;
    }
    salt
}
