//! Batches as work of the threads that compress.

use lithify_fskit::{PoolError, Task};

use super::Compression;
use super::codec::Codec;
use super::place::Batch;
use crate::WriteError;

/// Compressing one batch.
#[derive(Clone, Copy, Debug)]
struct Compress(Compression);

impl Task for Compress {
    type State = Codec;
    type Job = Batch;
    type Done = Batch;
    type Error = WriteError;

    fn start(&self) -> Result<Codec, WriteError> {
        Codec::new(&self.0)
    }

    fn run(&self, codec: &mut Codec, mut batch: Batch) -> Result<Batch, WriteError> {
        batch.compress(codec)?;
        Ok(batch)
    }
}

/// Compresses batches; what they become is taken back in the order they were handed in.
pub(super) struct Pool(lithify_fskit::Pool<Compress>);

impl Pool {
    pub(super) fn new(options: Compression) -> Self {
        // One batch for each thread, and one more to go on with.
        let limit = |threads| threads + 1;
        Self(lithify_fskit::Pool::new(
            Compress(options),
            "erofs-compress",
            options.threads,
            limit,
        ))
    }

    /// Hands in a batch. When [`is_full`](Self::is_full), take one back first.
    pub(super) fn submit(&mut self, batch: Batch) {
        self.0.submit(batch);
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Takes the oldest batch back. `None` when there is none, or when it is not done and `wait` is not set.
    pub(super) fn take(&mut self, wait: bool) -> Result<Option<Batch>, WriteError> {
        self.0.take(wait).map_err(|error| match error {
            PoolError::Task(error) => error,
            PoolError::ThreadLost => WriteError::ThreadLost,
        })
    }
}
