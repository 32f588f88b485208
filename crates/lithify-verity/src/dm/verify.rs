//! Trees as they are.

use std::fmt;
use std::num::NonZeroUsize;

use lithify_storage::ReadAt;

use super::error::VerifyError;
use super::geometry::Geometry;
use super::hash::{Batch, BlockHasher, DIGEST_SIZE, Hash, Pool};
use super::superblock::{SUPERBLOCK_SIZE, Superblock};

/// Options of [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// The root hash the tree must have. Without one, a tree that fits its data is good, whoever made it: that
    /// finds damage, but no intent.
    pub root: Option<Hash>,
    /// Threads that hash. Default 1: none but the caller's.
    pub threads: NonZeroUsize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            root: None,
            threads: NonZeroUsize::MIN,
        }
    }
}

/// What was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The root hash.
    pub root: Hash,
    /// What the superblock says. It is covered by the root hash as far as the data depends on it, so not its UUID.
    pub superblock: Superblock,
    /// End of the tree, in bytes from the image's start. What may follow is not covered.
    pub end: u64,
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A block of data.
    Data {
        /// Its number.
        block: u64,
        /// Its offset in bytes.
        offset: u64,
    },
    /// A block of the tree.
    Tree {
        /// The level; 0 is the one over the data.
        level: usize,
        /// Its number within the level.
        block: u64,
        /// Its offset in bytes.
        offset: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { block, offset } => write!(f, "data block {block} (at byte {offset})"),
            Self::Tree {
                level,
                block,
                offset,
            } => write!(
                f,
                "block {block} of level {level} of the hash tree (at byte {offset})"
            ),
        }
    }
}

/// Checks an image, from its first byte, against the tree whose superblock is at `hash_offset` (in bytes).
///
/// The tree is checked from its root down, then the data, in order; the first block that is wrong is the error. Work and
/// memory are bounded by the size of the image, whatever the superblock says.
///
/// # Errors
/// A superblock that is not usable, a tree that is not the one asked for, the first wrong block, and what the storage
/// says.
pub fn verify<R: ReadAt + ?Sized>(
    image: &R,
    hash_offset: u64,
    options: &VerifyOptions,
) -> Result<Verified, VerifyError> {
    let superblock = read_superblock(image, hash_offset)?;
    let geometry = &superblock.geometry;
    let data_size = geometry.data_size();
    if data_size > hash_offset {
        return Err(VerifyError::Overlap {
            hash_offset,
            data_size,
        });
    }
    let found = image.size().map_err(|source| VerifyError::Io {
        offset: 0,
        length: 0,
        source,
    })?;
    let (tree_offset, end) = match (geometry.tree_offset(hash_offset), geometry.end(hash_offset)) {
        (Some(tree), Some(end)) if end <= found => (tree, end),
        (_, end) => {
            return Err(VerifyError::Short {
                expected: end.unwrap_or(u64::MAX),
                found,
            });
        }
    };
    let check = Check {
        image,
        geometry,
        hasher: BlockHasher::new(&superblock.salt),
        tree_offset,
    };
    let root = check.root()?;
    if let Some(expected) = options.root
        && expected != root
    {
        return Err(VerifyError::Root {
            expected,
            found: root,
        });
    }
    check.tree()?;
    check.data(options.threads)?;
    Ok(Verified {
        root,
        superblock,
        end,
    })
}

fn read_superblock<R: ReadAt + ?Sized>(
    image: &R,
    hash_offset: u64,
) -> Result<Superblock, VerifyError> {
    if !hash_offset.is_multiple_of(512) {
        return Err(VerifyError::HashOffset { found: hash_offset });
    }
    let mut bytes = [0; SUPERBLOCK_SIZE];
    read(image, &mut bytes, hash_offset)?;
    Superblock::parse(&bytes).map_err(|source| VerifyError::Superblock {
        offset: hash_offset,
        source,
    })
}

/// An image under examination.
struct Check<'a, R: ?Sized> {
    image: &'a R,
    geometry: &'a Geometry,
    hasher: BlockHasher,
    tree_offset: u64,
}

impl<R: ReadAt + ?Sized> Check<'_, R> {
    /// The digest of the topmost block.
    fn root(&self) -> Result<Hash, VerifyError> {
        let (offset, length) = match self.geometry.levels().last() {
            Some(top) => (self.tree_offset + top.offset, self.geometry.hash_block()),
            None => (0, self.geometry.data_block()),
        };
        let mut block = vec![0; length as usize];
        read(self.image, &mut block, offset)?;
        Ok(self.hasher.hash(&block))
    }

    /// Each block of the tree against the level above it, from the top.
    fn tree(&self) -> Result<(), VerifyError> {
        let block_size = self.geometry.hash_block() as usize;
        let levels = self.geometry.levels();
        let mut above = vec![0; block_size];
        let mut block = vec![0; block_size];
        for (level, here) in levels.iter().enumerate().rev() {
            if let Some(upper) = levels.get(level + 1) {
                for n in 0..here.blocks {
                    let place = n as usize % (block_size / DIGEST_SIZE) * DIGEST_SIZE;
                    if place == 0 {
                        let offset = self.tree_offset + upper.offset + n * DIGEST_SIZE as u64;
                        read(self.image, &mut above, offset)?;
                    }
                    let offset = self.tree_offset + here.offset + n * block_size as u64;
                    read(self.image, &mut block, offset)?;
                    compare(
                        &above[place..place + DIGEST_SIZE],
                        self.hasher.hash(&block).as_bytes(),
                        || Place::Tree {
                            level,
                            block: n,
                            offset,
                        },
                    )?;
                }
            }
            // Only the last block of a level can have room.
            let last = self.tree_offset + here.offset + (here.blocks - 1) * block_size as u64;
            let used = here.digests * DIGEST_SIZE as u64 - (here.blocks - 1) * block_size as u64;
            read(self.image, &mut block, last)?;
            if let Some(n) = block[used as usize..].iter().position(|&b| b != 0) {
                return Err(VerifyError::Spare {
                    level,
                    offset: last + used + n as u64,
                });
            }
        }
        Ok(())
    }

    /// Each block of data against level 0.
    fn data(&self, threads: NonZeroUsize) -> Result<(), VerifyError> {
        let Some(level) = self.geometry.levels().first() else {
            // The root was its digest.
            return Ok(());
        };
        let block = u64::from(self.geometry.data_block());
        let size = self.geometry.data_size();
        let mut pool = Pool::new(self.hasher.clone(), self.geometry.data_block(), threads);
        let mut expected = Vec::new();
        let mut checked = 0;
        let mut compare_batch = |batch: &Batch| {
            expected.resize(batch.digests.len(), 0);
            let offset = self.tree_offset + level.offset + checked * DIGEST_SIZE as u64;
            read(self.image, &mut expected, offset)?;
            for (expected, found) in expected
                .chunks_exact(DIGEST_SIZE)
                .zip(batch.digests.chunks_exact(DIGEST_SIZE))
            {
                compare(expected, found, || Place::Data {
                    block: checked,
                    offset: checked * block,
                })?;
                checked += 1;
            }
            Ok(())
        };
        let mut offset = 0;
        while offset < size {
            if pool.is_full()
                && let Some(done) = pool.next()
            {
                compare_batch(&done)?;
                pool.recycle(done);
            }
            let mut batch = pool.batch();
            let length = (size - offset).min(pool.batch_size() as u64) as usize;
            batch.data.resize(length, 0);
            read(self.image, &mut batch.data, offset)?;
            pool.submit(batch);
            offset += length as u64;
        }
        while let Some(done) = pool.next() {
            compare_batch(&done)?;
        }
        Ok(())
    }
}

fn compare(
    expected: &[u8],
    found: &[u8],
    place: impl FnOnce() -> Place,
) -> Result<(), VerifyError> {
    if expected == found {
        return Ok(());
    }
    Err(VerifyError::Mismatch {
        place: place(),
        expected: Hash::start_of(expected),
        found: Hash::start_of(found),
    })
}

fn read<R: ReadAt + ?Sized>(image: &R, buffer: &mut [u8], offset: u64) -> Result<(), VerifyError> {
    let length = buffer.len();
    image
        .read_exact_at(buffer, offset)
        .map_err(|source| VerifyError::Io {
            offset,
            length,
            source,
        })
}
