//! The digest of bytes that stream past.

use lithify_digest::{Digest, Salted};

use super::{FileAlgorithm, FileDigest, FileOptions, FileOptionsError};

/// Bytes of the descriptor, and where its fields are (module documentation).
const DESCRIPTOR_SIZE: usize = 256;
const DATA_SIZE_AT: usize = 8;
const ROOT_HASH_AT: usize = DATA_SIZE_AT + 8;
const SALT_AT: usize = ROOT_HASH_AT + 64;
const VERSION: u8 = 1;

/// Computes a file digest from the file's bytes, in pieces of any length.
///
/// It holds one block for each level of the tree that has begun: for blocks of 4096 bytes and SHA-256 8 KiB up to 512 KiB of
/// data, 4 KiB more for each factor of 128. A block that is given whole is hashed where it lies.
#[derive(Clone, Debug)]
pub struct FileHasher {
    options: FileOptions,
    salted: Salted,
    size: u64,
    /// The block of data that has begun; never whole.
    data: Vec<u8>,
    tree: Tree,
}

impl FileHasher {
    /// Starts the digest of an empty file.
    ///
    /// # Errors
    /// [`FileOptionsError`].
    pub fn new(options: &FileOptions) -> Result<Self, FileOptionsError> {
        options.check()?;
        let mut salt = options.salt.clone();
        let whole = salt.len().next_multiple_of(options.algorithm.input_block());
        salt.resize(whole, 0);
        Ok(Self {
            options: options.clone(),
            salted: Salted::new(options.algorithm.hash(), &salt),
            size: 0,
            data: Vec::new(),
            tree: Tree::default(),
        })
    }

    /// Returns the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> FileAlgorithm {
        self.options.algorithm
    }

    /// Returns the bytes seen so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the file's next bytes.
    pub fn update(&mut self, mut data: &[u8]) {
        self.size += data.len() as u64;
        let block = self.block();
        if !self.data.is_empty() {
            let missing = (block - self.data.len()).min(data.len());
            let (head, rest) = data.split_at(missing);
            self.data.extend_from_slice(head);
            data = rest;
            if self.data.len() < block {
                return;
            }
            let digest = self.salted.digest(&self.data);
            self.data.clear();
            self.tree.push(0, &digest, &self.salted, block);
        }
        let mut pairs = data.chunks_exact(2 * block);
        for pair in &mut pairs {
            for digest in self.salted.digests(pair.split_at(block).into()) {
                self.tree.push(0, &digest, &self.salted, block);
            }
        }
        let mut blocks = pairs.remainder().chunks_exact(block);
        for whole in &mut blocks {
            let digest = self.salted.digest(whole);
            self.tree.push(0, &digest, &self.salted, block);
        }
        self.data.extend_from_slice(blocks.remainder());
    }

    /// Adds as many zeros: a hole. It takes time by the number of levels of the tree, not by its length.
    pub fn zeros(&mut self, length: u64) {
        let zeros = vec![0; self.block()];
        let block = zeros.len() as u64;
        let begun = self.data.len() as u64;
        let to_boundary = (block - begun) % block;
        let head = length.min(to_boundary);
        let mut blocks = (length - head) / block;
        let tail = (length - head) % block;
        // Both are less than a block.
        self.update(&zeros[..usize::try_from(head).unwrap_or(0)]);
        self.size += blocks * block;
        let fan_out = self.fan_out() as u64;
        while blocks > 0 {
            // The largest subtree that begins here and holds nothing but zeros.
            let mut digest = self.salted.digest(&zeros);
            let (mut level, mut leaves) = (0, 1);
            while blocks >= leaves * fan_out && self.tree.is_empty(level) {
                digest = self
                    .salted
                    .digest(&digest.as_bytes().repeat(self.fan_out()));
                level += 1;
                leaves *= fan_out;
            }
            self.tree.push(level, &digest, &self.salted, zeros.len());
            blocks -= leaves;
        }
        self.update(&zeros[..usize::try_from(tail).unwrap_or(0)]);
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(mut self) -> FileDigest {
        let block = self.block();
        if !self.data.is_empty() {
            self.data.resize(block, 0);
            let digest = self.salted.digest(&self.data);
            self.tree.push(0, &digest, &self.salted, block);
        }
        let root = self.tree.finish(&self.salted, block);
        let FileOptions {
            algorithm,
            block_size,
            salt,
        } = &self.options;
        let mut descriptor = [0; DESCRIPTOR_SIZE];
        descriptor[0] = VERSION;
        descriptor[1] = algorithm.number();
        // From 10 to 16, and at most 32: checked in `new`.
        descriptor[2] = block_size.trailing_zeros().to_le_bytes()[0];
        descriptor[3] = salt.len().to_le_bytes()[0];
        descriptor[DATA_SIZE_AT..ROOT_HASH_AT].copy_from_slice(&self.size.to_le_bytes());
        descriptor[ROOT_HASH_AT..][..root.len()].copy_from_slice(&root);
        descriptor[SALT_AT..][..salt.len()].copy_from_slice(salt);
        FileDigest::of_descriptor(*algorithm, &descriptor)
    }

    /// Returns the number of digests in a block.
    const fn fan_out(&self) -> usize {
        self.block() / self.options.algorithm.digest_size()
    }

    const fn block(&self) -> usize {
        self.options.block_size as usize
    }
}

/// The blocks of digests that have begun, the lowest level first; none of them whole.
#[derive(Clone, Debug, Default)]
struct Tree {
    levels: Vec<Vec<u8>>,
}

impl Tree {
    /// Adds the digest of a block to the block of a level. Below that level nothing may have begun.
    fn push(&mut self, mut level: usize, digest: &Digest, salted: &Salted, block: usize) {
        let mut digest = *digest;
        loop {
            if self.levels.len() <= level {
                self.levels.resize_with(level + 1, Vec::new);
            }
            let digests = &mut self.levels[level];
            digests.extend_from_slice(digest.as_bytes());
            if digests.len() < block {
                return;
            }
            digest = salted.digest(digests);
            digests.clear();
            level += 1;
        }
    }

    /// Tells whether nothing has begun in a level.
    fn is_empty(&self, level: usize) -> bool {
        self.levels.get(level).is_none_or(Vec::is_empty)
    }

    /// Returns the root hash; nothing, if there is no data.
    fn finish(mut self, salted: &Salted, block: usize) -> Vec<u8> {
        let one = salted.algorithm().len();
        let mut level = 0;
        while level < self.levels.len() {
            let mut digests = std::mem::take(&mut self.levels[level]);
            let is_top = self.levels.iter().all(Vec::is_empty);
            if is_top && digests.len() == one {
                return digests;
            }
            if !digests.is_empty() {
                digests.resize(block, 0);
                self.push(level + 1, &salted.digest(&digests), salted, block);
            }
            level += 1;
        }
        Vec::new()
    }
}
