//! Options of making a tree.

use std::num::NonZeroUsize;

/// Options of [`append`](crate::append) and [`TreeBuilder`](crate::TreeBuilder). The defaults are containerd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerityOptions {
    /// Size of the blocks that are hashed, in bytes: a power of two from 512 to 524288, on Linux not more than a page.
    pub data_block: u32,
    /// Size of the tree's blocks, in bytes: likewise.
    pub hash_block: u32,
    /// Bytes hashed before each block, at most [`SALT_MAX`](crate::SALT_MAX). A salt keeps one image's hashes from being of
    /// use for another's; where images are public and shared, a fixed one keeps equal images equal.
    pub salt: Vec<u8>,
    /// UUID for the superblock. Without one it is derived from the root hash, the salt and the sizes (version 8 of
    /// RFC 9562), so that equal images have equal superblocks.
    pub uuid: Option<[u8; 16]>,
    /// Threads that hash. Default 1: none but the caller's. The result does not depend on it.
    pub threads: NonZeroUsize,
}

impl Default for VerityOptions {
    fn default() -> Self {
        Self {
            data_block: 4096,
            hash_block: 4096,
            salt: vec![0; 32],
            uuid: None,
            threads: NonZeroUsize::MIN,
        }
    }
}
