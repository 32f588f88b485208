//! Digests of blocks, by several threads.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use lithify_digest::{Algorithm, Digest, ParseError, Salted};

/// Length of a digest in bytes.
pub(crate) const DIGEST_SIZE: usize = 32;

/// Data bytes handed to a thread in one go: long enough that handing over costs nothing, short enough for the cache.
const BATCH: usize = 512 * 1024;

/// Batches a thread may have before it: the one it works on and the next.
const AHEAD: usize = 2;

/// A hash in a tree, or its root hash: the SHA-256 digest of salt and block. Shown, and parsed, as 64 lower-case
/// hexadecimal digits.
///
/// ```
/// use lithify_verity::Hash;
///
/// let root: Hash = "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7".parse()?;
/// assert_eq!(root.as_bytes()[0], 0xad);
/// assert!("AD7F".parse::<Hash>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; DIGEST_SIZE]);

impl Hash {
    /// The hash made of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; DIGEST_SIZE]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; DIGEST_SIZE] {
        &self.0
    }

    /// The first bytes of `bytes`, which has enough.
    pub(crate) fn start_of(bytes: &[u8]) -> Self {
        let mut hash = [0; DIGEST_SIZE];
        hash.copy_from_slice(&bytes[..DIGEST_SIZE]);
        Self(hash)
    }
}

impl FromStr for Hash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digest: Digest = format!("{}:{text}", Algorithm::Sha256).parse()?;
        Ok(Self::start_of(digest.as_bytes()))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// What one block's digest is made of, apart from the block.
#[derive(Clone, Debug)]
pub(crate) struct BlockHasher {
    salted: Salted,
}

impl BlockHasher {
    pub(crate) fn new(salt: &[u8]) -> Self {
        Self {
            salted: Salted::new(Algorithm::Sha256, salt),
        }
    }

    /// The hash of a block.
    pub(crate) fn hash(&self, block: &[u8]) -> Hash {
        Hash::start_of(self.salted.digest(block).as_bytes())
    }

    /// The digests of the blocks in `data`, one behind the other.
    fn digests(&self, data: &[u8], block: usize, out: &mut Vec<u8>) {
        out.clear();
        for digest in self.salted.blocks(data, block) {
            out.extend_from_slice(digest.as_bytes());
        }
    }
}

/// Blocks and their digests.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Whole blocks.
    pub(crate) data: Vec<u8>,
    /// A digest for each, once it has been through the pool.
    pub(crate) digests: Vec<u8>,
}

#[derive(Debug)]
struct Worker {
    jobs: SyncSender<Batch>,
    results: Receiver<Batch>,
    thread: JoinHandle<()>,
}

/// Threads that hash batches; results come in the order of the jobs. Memory is bounded: 512 KiB (or one block) for each
/// of at most two batches per thread, and one.
#[derive(Debug)]
pub(crate) struct Pool {
    hasher: BlockHasher,
    block: usize,
    /// Batch *n* goes to worker *n* modulo their number, so that results need no sorting.
    workers: Vec<Worker>,
    submitted: usize,
    received: usize,
    /// What is done already where there are no workers.
    inline: VecDeque<Batch>,
    /// Batches to use again.
    spare: Vec<Batch>,
}

impl Pool {
    /// `threads` threads, or as many as can be had; with one, or none, hashing is done by the caller's.
    pub(crate) fn new(hasher: BlockHasher, block: u32, threads: NonZeroUsize) -> Self {
        let threads = threads.get();
        let block = block as usize;
        let workers = if threads > 1 {
            (0..threads)
                .map_while(|_| Worker::start(hasher.clone(), block))
                .collect()
        } else {
            Vec::new()
        };
        Self {
            hasher,
            block,
            workers,
            submitted: 0,
            received: 0,
            inline: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// Bytes a batch should have: a multiple of the block size.
    pub(crate) fn batch_size(&self) -> usize {
        BATCH.max(self.block)
    }

    /// An empty batch.
    pub(crate) fn batch(&mut self) -> Batch {
        let mut batch = self.spare.pop().unwrap_or_default();
        batch.data.clear();
        batch
    }

    /// Gives a batch back, to be used again.
    pub(crate) fn recycle(&mut self, batch: Batch) {
        self.spare.push(batch);
    }

    /// Whether a result has to be taken before another batch may be submitted.
    pub(crate) fn is_full(&self) -> bool {
        self.submitted - self.received >= (self.workers.len() * AHEAD).max(1)
    }

    /// Has a batch hashed.
    pub(crate) fn submit(&mut self, mut batch: Batch) {
        debug_assert!(batch.data.len().is_multiple_of(self.block) && !self.is_full());
        let n = self.submitted;
        self.submitted += 1;
        match self.workers.len() {
            0 => {
                self.hasher
                    .digests(&batch.data, self.block, &mut batch.digests);
                self.inline.push_back(batch);
            }
            workers => {
                if self.workers[n % workers].jobs.send(batch).is_err() {
                    self.fail(n % workers);
                }
            }
        }
    }

    /// The next result, if any batch is under way.
    pub(crate) fn next(&mut self) -> Option<Batch> {
        if self.received == self.submitted {
            return None;
        }
        let n = self.received;
        self.received += 1;
        if self.workers.is_empty() {
            return self.inline.pop_front();
        }
        let worker = n % self.workers.len();
        match self.workers[worker].results.recv() {
            Ok(batch) => Some(batch),
            Err(_) => self.fail(worker),
        }
    }

    /// A thread that is gone has panicked: so does this one.
    fn fail(&mut self, worker: usize) -> ! {
        match self.workers.swap_remove(worker).thread.join() {
            Ok(()) => unreachable!("hashing threads end when their jobs do"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Worker {
    fn start(hasher: BlockHasher, block: usize) -> Option<Self> {
        let (jobs, work) = sync_channel::<Batch>(AHEAD);
        let (done, results) = sync_channel(AHEAD);
        let run = move || {
            for mut batch in work {
                hasher.digests(&batch.data, block, &mut batch.digests);
                if done.send(batch).is_err() {
                    // The pool was dropped: nobody wants the rest.
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("verity".into())
            .spawn(run)
            .ok()?;
        Some(Self {
            jobs,
            results,
            thread,
        })
    }
}
