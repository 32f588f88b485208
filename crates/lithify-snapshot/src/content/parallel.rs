//! Disks that are read.

use std::iter::Peekable;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use lithify_cancel::CancelToken;
use lithify_digest::{Digest, Salted};
use lithify_fskit::{Pool, PoolError, Task};
use lithify_storage::ReadAt;
use lithify_verity::file::FileTree;

use super::BLOCK;
use super::digest::ContentDigest;
use super::error::ContentError;
use super::tree;

/// Blocks that a thread reads at a time.
const AT_A_TIME: u64 = 16;

/// The way a disk is read for its digest.
#[derive(Clone, Debug)]
pub struct ContentOptions {
    /// Threads that read and hash. Default: as many as run at the same time.
    pub threads: NonZeroUsize,
    /// Stops the work.
    pub cancel: CancelToken,
}

impl Default for ContentOptions {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            cancel: CancelToken::default(),
        }
    }
}

/// Computes the digest of a disk of so many bytes, of which only these stretches, in order, are read; all else is zeros. Memory: a
/// megabyte for each thread.
///
/// # Errors
/// [`ContentError`]: stretches that are not in order, or beyond the disk; whatever reading says.
pub fn digest<D: ReadAt + Send + Sync + 'static>(
    disk: D,
    size: u64,
    data: impl IntoIterator<Item = Range<u64>>,
    options: &ContentOptions,
) -> Result<ContentDigest, ContentError> {
    let mut tree = tree();
    let hash = HashBlocks {
        disk: Arc::new(disk),
        size,
        salted: tree.salted().clone(),
        cancel: options.cancel.clone(),
    };
    let mut pool = Pool::new(hash, "lithify-content", options.threads, |n| 4 * n + 1);
    for run in Runs::of(data.into_iter(), size) {
        if pool.is_full() {
            take(&mut pool, &mut tree)?;
        }
        pool.submit(run?);
    }
    while take(&mut pool, &mut tree)? {}
    Ok(ContentDigest::new(tree.finish(size)))
}

/// Adds the blocks of the oldest job to the tree, and those before them, which are zeros; tells whether there was one.
fn take<D: ReadAt + Send + Sync + 'static>(
    pool: &mut Pool<HashBlocks<D>>,
    tree: &mut FileTree,
) -> Result<bool, ContentError> {
    let taken = pool.take(true).map_err(|e| match e {
        PoolError::Task(e) => e,
        PoolError::ThreadLost => ContentError::ThreadLost,
    })?;
    let Some((first, digests)) = taken else {
        return Ok(false);
    };
    tree.zeros(first - tree.blocks());
    for digest in &digests {
        tree.push(digest);
    }
    Ok(true)
}

/// Runs of blocks that have data, of no more than so many at a time.
struct Runs<I: Iterator<Item = Range<u64>>> {
    data: Peekable<I>,
    size: u64,
    /// Blocks that are yet to be given.
    run: Range<u64>,
    /// The end of the stretch that came last.
    end: u64,
}

impl<I: Iterator<Item = Range<u64>>> Runs<I> {
    fn of(data: I, size: u64) -> Self {
        Self {
            data: data.peekable(),
            size,
            run: 0..0,
            end: 0,
        }
    }

    /// Checks a stretch of data; returns the blocks that it is in.
    fn blocks(&mut self, data: &Range<u64>) -> Result<Range<u64>, ContentError> {
        let (offset, length) = (data.start, data.end.saturating_sub(data.start));
        ContentError::check(offset, length, self.end, self.size)?;
        self.end = offset + length;
        let first = offset / BLOCK as u64;
        // Nothing is in no block.
        let after = if length == 0 {
            first
        } else {
            data.end.div_ceil(BLOCK as u64)
        };
        // A block that the stretch before reached into was given with it.
        Ok(first.max(self.run.end)..after.max(self.run.end))
    }
}

impl<I: Iterator<Item = Range<u64>>> Iterator for Runs<I> {
    type Item = Result<Range<u64>, ContentError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Stretches that follow on each other are one run.
        while self.run.end - self.run.start < AT_A_TIME {
            let Some(data) = self.data.peek().cloned() else {
                break;
            };
            let blocks = match self.blocks(&data) {
                Ok(blocks) => blocks,
                Err(e) => return Some(Err(e)),
            };
            if self.run.is_empty() {
                self.run = blocks;
            } else if blocks.start == self.run.end {
                self.run.end = blocks.end;
            } else if !blocks.is_empty() {
                // Checked again when its turn comes.
                self.end = data.start;
                break;
            }
            self.data.next();
        }
        let count = (self.run.end - self.run.start).min(AT_A_TIME);
        let given = self.run.start..self.run.start + count;
        self.run.start += count;
        (!given.is_empty()).then_some(Ok(given))
    }
}

/// The work of reading and hashing blocks.
struct HashBlocks<D> {
    disk: Arc<D>,
    size: u64,
    salted: Salted,
    cancel: CancelToken,
}

impl<D> Clone for HashBlocks<D> {
    fn clone(&self) -> Self {
        Self {
            disk: Arc::clone(&self.disk),
            size: self.size,
            salted: self.salted.clone(),
            cancel: self.cancel.clone(),
        }
    }
}

impl<D: ReadAt + Send + Sync + 'static> Task for HashBlocks<D> {
    type State = Vec<u8>;
    type Job = Range<u64>;
    type Done = (u64, Vec<Digest>);
    type Error = ContentError;

    fn start(&self) -> Result<Vec<u8>, ContentError> {
        Ok(vec![0; AT_A_TIME as usize * BLOCK])
    }

    fn run(&self, buffer: &mut Vec<u8>, run: Range<u64>) -> Result<Self::Done, ContentError> {
        self.cancel.check()?;
        let offset = run.start * BLOCK as u64;
        let end = run.end.saturating_mul(BLOCK as u64).min(self.size);
        // No more than the buffer has.
        let (data, rest) = buffer.split_at_mut((end - offset) as usize);
        let read = self.disk.read_exact_at(data, offset);
        read.map_err(|source| ContentError::Read { offset, source })?;
        // What the last block has too little is zeros.
        let padded = data.len().next_multiple_of(BLOCK);
        rest[..padded - data.len()].fill(0);
        let digests = self.salted.blocks(&buffer[..padded], BLOCK);
        Ok((run.start, digests.collect()))
    }
}
