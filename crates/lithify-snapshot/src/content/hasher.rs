//! Data in order.

use super::BLOCK;
use super::digest::ContentDigest;
use super::error::ContentError;
use super::tree::{Blocks, Tree};

/// Computes the digest of a disk from its data, as it comes, in order and with gaps, which are zeros.
///
/// ```
/// use lithify_snapshot::content::ContentHasher;
///
/// let mut hasher = ContentHasher::new(1 << 40);
/// hasher.update(1 << 30, b"data")?;
/// println!("{}", hasher.finish());
/// # Ok::<(), lithify_snapshot::content::ContentError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ContentHasher {
    blocks: Blocks,
    tree: Tree,
    size: u64,
    /// The end of the data that came.
    end: u64,
    /// A block that data came for, but not all of it: bytes that did not come are zeros. Empty if there is none.
    open: Vec<u8>,
}

impl ContentHasher {
    /// Begins with a disk of so many bytes, all zeros.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            blocks: Blocks::new(),
            tree: Tree::new(),
            size,
            end: 0,
            open: Vec::new(),
        }
    }

    /// Takes data at an offset, in bytes, which is not before the end of the data that came last.
    ///
    /// # Errors
    /// [`ContentError::Order`], [`ContentError::PastEnd`]; nothing is taken then.
    pub fn update(&mut self, offset: u64, mut data: &[u8]) -> Result<(), ContentError> {
        if offset < self.end {
            return Err(ContentError::Order {
                offset,
                end: self.end,
            });
        }
        let length = data.len() as u64;
        let end = offset.checked_add(length).filter(|end| *end <= self.size);
        let Some(end) = end else {
            return Err(ContentError::PastEnd {
                offset,
                length,
                size: self.size,
            });
        };
        if data.is_empty() {
            return Ok(());
        }
        let block = BLOCK as u64;
        if !self.open.is_empty() && offset / block != (self.end - 1) / block {
            self.close();
        }
        let mut at = offset;
        while !data.is_empty() {
            // It is less than a block.
            let within = (at % block) as usize;
            if within == 0 && self.open.is_empty() && data.len() >= BLOCK {
                let (whole, rest) = data.split_at(data.len() / BLOCK * BLOCK);
                self.whole(at / block, whole);
                at += whole.len() as u64;
                data = rest;
                continue;
            }
            let (taken, rest) = data.split_at(data.len().min(BLOCK - within));
            self.open.resize(BLOCK, 0);
            self.open[within..within + taken.len()].copy_from_slice(taken);
            at += taken.len() as u64;
            self.end = at;
            if within + taken.len() == BLOCK {
                self.close();
            }
            data = rest;
        }
        self.end = end;
        Ok(())
    }

    /// Takes whole blocks, the first of which has a number.
    fn whole(&mut self, number: u64, blocks: &[u8]) {
        for (pair, number) in blocks.chunks(2 * BLOCK).zip((number..).step_by(2)) {
            let hashes = match pair.split_at_checked(BLOCK) {
                Some((one, two)) if two.len() == BLOCK => self.blocks.hashes([one, two]),
                _ => [self.blocks.hash(pair), None],
            };
            for (hash, number) in hashes.iter().zip(number..) {
                if let Some(hash) = hash {
                    self.tree.block(number, hash);
                }
            }
        }
    }

    /// Ends the block that is open.
    fn close(&mut self) {
        if let Some(hash) = self.blocks.hash(&self.open) {
            self.tree.block((self.end - 1) / BLOCK as u64, &hash);
        }
        self.open.clear();
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(mut self) -> ContentDigest {
        if !self.open.is_empty() {
            self.close();
        }
        self.tree.finish(self.size)
    }
}
