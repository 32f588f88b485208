//! The digest of bytes that stream past.

use super::{FileAlgorithm, FileDigest, FileOptions, FileOptionsError, FileTree};

/// Computes a file digest from the file's bytes, in pieces of any length.
///
/// It holds one block for each level of the tree that has begun: for blocks of 4096 bytes and SHA-256 8 KiB up to 512 KiB of
/// data, 4 KiB more for each factor of 128. A block that is given whole is hashed where it lies.
#[derive(Clone, Debug)]
pub struct FileHasher {
    tree: FileTree,
    /// The block of data that has begun; never whole.
    data: Vec<u8>,
}

impl FileHasher {
    /// Starts the digest of an empty file.
    ///
    /// # Errors
    /// [`FileOptionsError`].
    pub fn new(options: &FileOptions) -> Result<Self, FileOptionsError> {
        Ok(Self::from(FileTree::new(options)?))
    }

    /// Returns the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> FileAlgorithm {
        self.tree.options().algorithm
    }

    /// Returns the bytes seen so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.blocks() * self.block() as u64 + self.data.len() as u64
    }

    /// Adds the file's next bytes.
    pub fn update(&mut self, mut data: &[u8]) {
        let block = self.block();
        if !self.data.is_empty() {
            let missing = (block - self.data.len()).min(data.len());
            let (head, rest) = data.split_at(missing);
            self.data.extend_from_slice(head);
            data = rest;
            if self.data.len() < block {
                return;
            }
            self.push(block);
        }
        let (whole, rest) = data.split_at(data.len() - data.len() % block);
        let salted = self.tree.salted().clone();
        for digest in salted.blocks(whole, block) {
            self.tree.push(&digest);
        }
        self.data.extend_from_slice(rest);
    }

    /// Adds as many zeros: a hole. It takes time by the number of levels of the tree, not by its length.
    pub fn zeros(&mut self, length: u64) {
        let block = self.block() as u64;
        let to_boundary = (block - self.data.len() as u64) % block;
        let head = length.min(to_boundary);
        let tail = (length - head) % block;
        // Both are less than a block.
        let zeros = vec![0; usize::try_from(head.max(tail)).unwrap_or(0)];
        self.update(&zeros[..usize::try_from(head).unwrap_or(0)]);
        self.tree.zeros((length - head) / block);
        self.update(&zeros[..usize::try_from(tail).unwrap_or(0)]);
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(mut self) -> FileDigest {
        let size = self.size();
        if !self.data.is_empty() {
            self.push(self.block());
        }
        self.tree.finish(size)
    }

    /// Adds the block of data that has begun, with zeros behind it.
    fn push(&mut self, block: usize) {
        self.data.resize(block, 0);
        let digest = self.tree.salted().digest(&self.data);
        self.tree.push(&digest);
        self.data.clear();
    }

    const fn block(&self) -> usize {
        self.tree.block()
    }
}

impl From<FileTree> for FileHasher {
    /// Goes on behind the blocks that a tree has.
    fn from(tree: FileTree) -> Self {
        Self {
            tree,
            data: Vec::new(),
        }
    }
}
