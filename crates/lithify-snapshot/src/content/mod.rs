//! Digests of the content of disks.
//!
//! The content digest of a disk is its fs-verity digest with SHA-256 and blocks of 64 KiB: what
//! `fsverity digest --hash-alg=sha256 --block-size=65536` says of the raw disk
//! ([`lithify_verity::file`] has the layout). Each block is hashed by itself, so that several are hashed at the same time; and blocks of
//! zeros have a known digest, so that holes are not read, and cost some digests of the tree, however long they are.
//!
//! It is SHA-256 and no other algorithm because everything else that names an image or a layer is one, and processors have
//! instructions for it; and fs-verity's tree and no other because other programs know it.

mod digest; // names of contents
mod error; // reasons why there is no digest
mod hasher; // data in order
mod parallel; // disks that are read

use lithify_verity::file::{FileAlgorithm, FileOptions, FileTree};

pub use digest::{ContentDigest, ParseContentDigestError};
pub use error::ContentError;
pub use hasher::ContentHasher;
pub use parallel::{ContentOptions, digest};

/// The size of a block, in bytes: the largest that fs-verity has.
pub const BLOCK: usize = 64 << 10;

/// Returns a tree without blocks.
fn tree() -> FileTree {
    let options = FileOptions {
        block_size: BLOCK as u32,
        ..FileOptions::new(FileAlgorithm::Sha256)
    };
    match FileTree::new(&options) {
        Ok(tree) => tree,
        Err(e) => unreachable!("fs-verity has these blocks: {e}"),
    }
}
