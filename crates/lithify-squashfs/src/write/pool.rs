//! Blocks as work of the threads that compress, and the buffers they come in.

use std::io;
use std::num::NonZeroUsize;

use lithify_fskit::{PoolError, Task};

use crate::codec::Encoder;
use crate::{Compression, WriteError};

/// Blocks in flight for each thread: enough that threads do not wait while the caller is busy elsewhere.
const IN_FLIGHT_PER_THREAD: usize = 8;

/// A block and the buffer its compressed form goes to.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) raw: Vec<u8>,
    pub(crate) packed: Vec<u8>,
}

/// A block after compression.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) buffers: Buffers,
    /// Whether `packed` is shorter than `raw`.
    pub(crate) compressed: bool,
}

impl Finished {
    /// What goes into the image.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.compressed {
            &self.buffers.packed
        } else {
            &self.buffers.raw
        }
    }
}

/// Compressing one block.
#[derive(Clone, Copy, Debug)]
struct Block {
    compression: Compression,
    block_size: u32,
}

impl Task for Block {
    type State = Encoder;
    type Job = Buffers;
    type Done = Finished;
    type Error = io::Error;

    fn start(&self) -> io::Result<Encoder> {
        Encoder::new(self.compression, self.block_size)
    }

    fn run(&self, encoder: &mut Encoder, mut buffers: Buffers) -> io::Result<Finished> {
        let compressed = encoder.compress(&buffers.raw, &mut buffers.packed)?;
        Ok(Finished {
            buffers,
            compressed,
        })
    }
}

/// Compresses blocks; results come back in the order blocks were given.
#[derive(Debug)]
pub(crate) struct Pool {
    blocks: lithify_fskit::Pool<Block>,
    compression: Compression,
    block_size: u32,
    free: Vec<Buffers>,
}

impl Pool {
    pub(crate) fn new(compression: Compression, block_size: u32, threads: NonZeroUsize) -> Self {
        let block = Block {
            compression,
            block_size,
        };
        // Copying is not worth a thread.
        let threads = match compression {
            Compression::None => NonZeroUsize::MIN,
            _ => threads,
        };
        Self {
            blocks: lithify_fskit::Pool::new(block, "squashfs", threads, |threads| {
                threads.max(1) * IN_FLIGHT_PER_THREAD
            }),
            compression,
            block_size,
            free: Vec::new(),
        }
    }

    /// Blocks given and not taken back.
    pub(crate) const fn in_flight(&self) -> usize {
        self.blocks.in_flight()
    }

    /// Whether results have to be taken before more is given.
    pub(crate) fn is_full(&self) -> bool {
        self.blocks.is_full()
    }

    /// Empty buffers.
    pub(crate) fn buffers(&mut self) -> Buffers {
        let mut buffers = self.free.pop().unwrap_or_default();
        buffers.raw.clear();
        buffers.raw.reserve_exact(self.block_size as usize);
        buffers
    }

    /// Buffers that are not in use any more.
    pub(crate) fn recycle(&mut self, buffers: Buffers) {
        self.free.push(buffers);
    }

    /// Gives a block away.
    pub(crate) fn submit(&mut self, buffers: Buffers) {
        self.blocks.submit(buffers);
    }

    /// Takes the oldest block back if it is done, or when it is done.
    pub(crate) fn take(&mut self, wait: bool) -> Result<Option<Finished>, WriteError> {
        let compression = self.compression;
        self.blocks.take(wait).map_err(|error| match error {
            PoolError::Task(source) => WriteError::Compress {
                compression,
                source,
            },
            PoolError::ThreadLost => WriteError::ThreadLost,
        })
    }
}
