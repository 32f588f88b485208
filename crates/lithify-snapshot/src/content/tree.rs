//! Blocks to one digest.

use lithify_digest::{Algorithm, Digest, Salted};

use super::digest::ContentDigest;
use super::{BLOCK, BLOCK_SALT, DIGEST, DISK_SALT, FANOUT, NODE_SALT};

/// Levels above the blocks that the largest disk has: 2⁴⁸ blocks are less than 128⁷.
const LEVELS: usize = 7;

/// The digest of a block or a node.
pub(super) type Hash = [u8; DIGEST];

/// The digests of blocks.
#[derive(Clone, Debug)]
pub(super) struct Blocks(Salted);

impl Blocks {
    pub(super) fn new() -> Self {
        Self(Salted::new(Algorithm::Sha256, &BLOCK_SALT))
    }

    /// Returns the digest of a whole block, or `None` if it is zeros.
    pub(super) fn hash(&self, block: &[u8]) -> Option<Hash> {
        (!is_zero(block)).then(|| bytes(&self.0.digest(block)))
    }

    /// Returns the digests of two whole blocks, which takes less time than one after the other.
    pub(super) fn hashes(&self, blocks: [&[u8]; 2]) -> [Option<Hash>; 2] {
        if blocks.iter().any(|block| is_zero(block)) {
            return blocks.map(|block| self.hash(block));
        }
        self.0.digests(blocks).map(|digest| Some(bytes(&digest)))
    }
}

/// The nodes that are not whole yet, over the blocks that came.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Salted,
    /// The digest of zeros on each level.
    zeros: [Hash; LEVELS + 1],
    /// The digests of the node on each level that is being filled.
    levels: [Vec<u8>; LEVELS + 1],
    /// The next block.
    next: u64,
}

impl Tree {
    pub(super) fn new() -> Self {
        let nodes = Salted::new(Algorithm::Sha256, &NODE_SALT);
        let block = Salted::new(Algorithm::Sha256, &BLOCK_SALT).digest(&[0; BLOCK]);
        let mut zeros = [bytes(&block); LEVELS + 1];
        for level in 1..=LEVELS {
            zeros[level] = bytes(&nodes.digest(&zeros[level - 1].repeat(FANOUT)));
        }
        Self {
            nodes,
            zeros,
            levels: Default::default(),
            next: 0,
        }
    }

    /// Adds the digest of a block, by its number. Blocks between the last one and this are zeros. Numbers go up.
    pub(super) fn block(&mut self, number: u64, hash: &Hash) {
        debug_assert!(number >= self.next);
        self.zeros(0, number - self.next);
        self.add(0, hash);
        self.next = number + 1;
    }

    fn zeros(&mut self, level: usize, mut count: u64) {
        while count > 0 {
            if self.levels[level].is_empty() && count >= FANOUT as u64 {
                self.zeros(level + 1, count / FANOUT as u64);
                count %= FANOUT as u64;
            } else {
                let zero = self.zeros[level];
                self.add(level, &zero);
                count -= 1;
            }
        }
    }

    fn add(&mut self, level: usize, hash: &Hash) {
        self.levels[level].extend_from_slice(hash);
        if self.levels[level].len() == FANOUT * DIGEST && level < LEVELS {
            let node = bytes(&self.nodes.digest(&self.levels[level]));
            self.levels[level].clear();
            self.add(level + 1, &node);
        }
    }

    /// Returns the digest of a disk of so many bytes. What did not come is zeros.
    pub(super) fn finish(mut self, size: u64) -> ContentDigest {
        let top = levels(size.div_ceil(BLOCK as u64));
        for level in 0..top {
            while !self.levels[level].is_empty() {
                let zero = self.zeros[level];
                self.add(level, &zero);
            }
        }
        let hash = match &*self.levels[top] {
            [] => &self.zeros[top],
            // One: more would have been more blocks.
            hash => hash,
        };
        let disk = [&size.to_le_bytes(), hash].concat();
        let salted = Salted::new(Algorithm::Sha256, &DISK_SALT);
        ContentDigest::new(salted.digest(&disk))
    }
}

/// Returns the levels of nodes over so many blocks: the fewest whose one node has them all.
fn levels(blocks: u64) -> usize {
    let mut held = 1_u64;
    let mut levels = 0;
    while held < blocks {
        held = held.saturating_mul(FANOUT as u64);
        levels += 1;
    }
    levels
}

fn bytes(digest: &Digest) -> Hash {
    let mut bytes = [0; DIGEST];
    bytes.copy_from_slice(digest.as_bytes());
    bytes
}

fn is_zero(block: &[u8]) -> bool {
    // In pieces that are compared at once.
    let (pieces, rest) = block.as_chunks::<64>();
    pieces.iter().all(|piece| *piece == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}
