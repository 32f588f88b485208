//! The digest of a file, of its blocks' digests.

use lithify_digest::{Digest, Salted};

use super::{FileDigest, FileOptions, FileOptionsError};

/// Bytes of the descriptor, and where its fields are (module documentation).
const DESCRIPTOR_SIZE: usize = 256;
const DATA_SIZE_AT: usize = 8;
const ROOT_HASH_AT: usize = DATA_SIZE_AT + 8;
const SALT_AT: usize = ROOT_HASH_AT + 64;
const VERSION: u8 = 1;

/// Computes a file digest from the digests of the file's blocks, in their order. Whoever has those from several threads, or does not
/// read the holes of a file, needs no more; [`FileHasher`](super::FileHasher) hashes blocks as well.
///
/// ```
/// use lithify_verity::file::{FileHasher, FileOptions, FileTree};
///
/// let options = FileOptions::default();
/// let file = [7; 10_000];
/// let mut tree = FileTree::new(&options)?;
/// let blocks = tree.salted().clone();
/// // The last block is filled with zeros, as all blocks are whole.
/// let mut padded = file.to_vec();
/// padded.resize(12_288, 0);
/// for digest in blocks.blocks(&padded, 4096) {
///     tree.push(&digest);
/// }
/// let mut hasher = FileHasher::new(&options)?;
/// hasher.update(&file);
/// assert_eq!(tree.finish(10_000), hasher.finish());
/// # Ok::<(), lithify_verity::file::FileOptionsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileTree {
    options: FileOptions,
    salted: Salted,
    /// The blocks of digests that have begun, the lowest level first; none of them whole.
    levels: Vec<Vec<u8>>,
    /// The digest of nothing but zeros on each level, as far as it was needed.
    zeros: Vec<Digest>,
    /// Blocks of the file that came.
    blocks: u64,
}

impl FileTree {
    /// Starts without blocks.
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
            levels: Vec::new(),
            zeros: Vec::new(),
            blocks: 0,
        })
    }

    /// Returns what computes the digests of whole blocks.
    #[must_use]
    pub fn salted(&self) -> &Salted {
        &self.salted
    }

    /// Returns the options.
    #[must_use]
    pub fn options(&self) -> &FileOptions {
        &self.options
    }

    /// Returns the number of blocks that came.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Adds the next block, by its digest.
    pub fn push(&mut self, digest: &Digest) {
        self.blocks += 1;
        self.add(0, *digest);
    }

    /// Adds as many blocks of zeros. It takes time by the number of levels, not by that of blocks.
    pub fn zeros(&mut self, mut count: u64) {
        self.blocks += count;
        let fan_out = self.fan_out() as u64;
        while count > 0 {
            // The largest subtree that begins here and holds nothing but zeros.
            let (mut level, mut leaves) = (0, 1);
            while count / fan_out >= leaves && self.levels.get(level).is_none_or(Vec::is_empty) {
                level += 1;
                leaves *= fan_out;
            }
            let digest = self.zero(level);
            self.add(level, digest);
            count -= leaves;
        }
    }

    /// Returns the digest of a file of so many bytes. What did not come of it is zeros.
    #[must_use]
    pub fn finish(mut self, size: u64) -> FileDigest {
        let missing = size.div_ceil(self.options.block_size.into());
        self.zeros(missing.saturating_sub(self.blocks));
        let root = self.root();
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
        descriptor[DATA_SIZE_AT..ROOT_HASH_AT].copy_from_slice(&size.to_le_bytes());
        descriptor[ROOT_HASH_AT..][..root.len()].copy_from_slice(&root);
        descriptor[SALT_AT..][..salt.len()].copy_from_slice(salt);
        FileDigest::of_descriptor(*algorithm, &descriptor)
    }

    /// Returns the digest of zeros on a level.
    fn zero(&mut self, level: usize) -> Digest {
        while self.zeros.len() <= level {
            let digest = match self.zeros.last() {
                None => self.salted.digest(&vec![0; self.block()]),
                Some(below) => self.salted.digest(&below.as_bytes().repeat(self.fan_out())),
            };
            self.zeros.push(digest);
        }
        self.zeros[level]
    }

    /// Adds a digest to the block of a level. Below that level nothing may have begun.
    fn add(&mut self, mut level: usize, mut digest: Digest) {
        loop {
            if self.levels.len() <= level {
                self.levels.resize_with(level + 1, Vec::new);
            }
            let block = self.block();
            let digests = &mut self.levels[level];
            digests.extend_from_slice(digest.as_bytes());
            if digests.len() < block {
                return;
            }
            digest = self.salted.digest(digests);
            digests.clear();
            level += 1;
        }
    }

    /// Returns the root hash; nothing, if there is no data.
    fn root(&mut self) -> Vec<u8> {
        let one = self.options.algorithm.digest_size();
        let mut level = 0;
        while level < self.levels.len() {
            let mut digests = std::mem::take(&mut self.levels[level]);
            let is_top = self.levels.iter().all(Vec::is_empty);
            if is_top && digests.len() == one {
                return digests;
            }
            if !digests.is_empty() {
                digests.resize(self.block(), 0);
                let digest = self.salted.digest(&digests);
                self.add(level + 1, digest);
            }
            level += 1;
        }
        Vec::new()
    }

    /// Returns the number of digests in a block.
    fn fan_out(&self) -> usize {
        self.block() / self.options.algorithm.digest_size()
    }

    /// Returns the size of a block in bytes.
    pub(super) const fn block(&self) -> usize {
        self.options.block_size as usize
    }
}
