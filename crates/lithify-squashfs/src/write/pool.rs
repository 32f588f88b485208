//! Compressing blocks on several threads; results come back in the order blocks were given.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

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

/// Compresses blocks, in the caller's thread if it is to be one.
#[derive(Debug)]
pub(crate) struct Pool {
    compression: Compression,
    block_size: u32,
    threads: NonZeroUsize,
    workers: Option<Workers>,
    /// For one thread; made with the first block.
    inline: Option<Encoder>,
    done_inline: VecDeque<Finished>,
    in_flight: usize,
    free: Vec<Buffers>,
}

#[derive(Debug)]
struct Workers {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A block to compress, or the end.
    work: Condvar,
    /// A block is done.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(u64, Buffers)>,
    /// Blocks from number `first` on, done or not.
    results: VecDeque<Option<io::Result<Finished>>>,
    first: u64,
    closed: bool,
    /// A worker is gone without being told to.
    lost: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    pub(crate) fn new(compression: Compression, block_size: u32, threads: NonZeroUsize) -> Self {
        Self {
            compression,
            block_size,
            threads,
            workers: None,
            inline: None,
            done_inline: VecDeque::new(),
            in_flight: 0,
            free: Vec::new(),
        }
    }

    /// Blocks given and not taken back.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether results have to be taken before more is given.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight >= self.threads.get() * IN_FLIGHT_PER_THREAD
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

    fn failed(&self) -> impl FnOnce(io::Error) -> WriteError + use<> {
        let compression = self.compression;
        move |source| WriteError::Compress {
            compression,
            source,
        }
    }

    /// Gives a block away.
    pub(crate) fn submit(&mut self, buffers: Buffers) -> Result<(), WriteError> {
        self.in_flight += 1;
        if self.threads.get() == 1 || self.compression == Compression::None {
            let mut encoder = match self.inline.take() {
                Some(encoder) => encoder,
                None => Encoder::new(self.compression, self.block_size).map_err(self.failed())?,
            };
            let finished = compress(&mut encoder, buffers).map_err(self.failed())?;
            self.inline = Some(encoder);
            self.done_inline.push_back(finished);
            return Ok(());
        }
        let workers = match &self.workers {
            Some(workers) => workers,
            None => {
                let workers = Workers::start(self.compression, self.block_size, self.threads)?;
                self.workers.insert(workers)
            }
        };
        let mut state = workers.shared.lock();
        let number = state.first + state.results.len() as u64;
        state.results.push_back(None);
        state.queue.push_back((number, buffers));
        drop(state);
        workers.shared.work.notify_one();
        Ok(())
    }

    /// Takes the oldest block back if it is done, or when it is done.
    pub(crate) fn take(&mut self, wait: bool) -> Result<Option<Finished>, WriteError> {
        let finished = match &self.workers {
            None => self.done_inline.pop_front(),
            Some(workers) => {
                let mut state = workers.shared.lock();
                loop {
                    match state.results.front() {
                        Some(Some(_)) => {
                            state.first += 1;
                            let result = state.results.pop_front().flatten().transpose();
                            drop(state);
                            break result.map_err(self.failed())?;
                        }
                        None => break None,
                        Some(None) if state.lost => return Err(WriteError::ThreadLost),
                        Some(None) if !wait => break None,
                        Some(None) => {
                            state = workers
                                .shared
                                .done
                                .wait(state)
                                .unwrap_or_else(PoisonError::into_inner);
                        }
                    }
                }
            }
        };
        self.in_flight -= usize::from(finished.is_some());
        Ok(finished)
    }
}

fn compress(encoder: &mut Encoder, mut buffers: Buffers) -> io::Result<Finished> {
    let compressed = encoder.compress(&buffers.raw, &mut buffers.packed)?;
    Ok(Finished {
        buffers,
        compressed,
    })
}

impl Workers {
    fn start(
        compression: Compression,
        block_size: u32,
        threads: NonZeroUsize,
    ) -> Result<Self, WriteError> {
        let mut workers = Self {
            shared: Arc::default(),
            handles: Vec::new(),
        };
        for number in 0..threads.get() {
            let shared = Arc::clone(&workers.shared);
            let thread = std::thread::Builder::new()
                .name(format!("squashfs-{number}"))
                .spawn(move || work(&shared, compression, block_size));
            match thread {
                Ok(handle) => workers.handles.push(handle),
                // Dropping `workers` ends those that run.
                Err(source) => return Err(WriteError::Thread { source }),
            }
        }
        Ok(workers)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue.clear();
        drop(state);
        self.shared.work.notify_all();
        for handle in self.handles.drain(..) {
            // A thread that panicked has said so, and no one waits for its work any more.
            drop(handle.join());
        }
    }
}

/// Tells the caller, who would wait forever, when a worker unwinds.
struct Lost<'a>(&'a Shared);

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().lost = true;
            self.0.done.notify_all();
        }
    }
}

fn work(shared: &Shared, compression: Compression, block_size: u32) {
    let _lost = Lost(shared);
    let mut encoder = None;
    let mut state = shared.lock();
    loop {
        let Some((number, buffers)) = state.queue.pop_front() else {
            if state.closed {
                return;
            }
            state = shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        drop(state);
        let result = match &mut encoder {
            Some(encoder) => compress(encoder, buffers),
            None => Encoder::new(compression, block_size)
                .and_then(|new| compress(encoder.insert(new), buffers)),
        };
        state = shared.lock();
        // Results are taken from the front only when they are there, so this one's place still exists.
        let index = (number - state.first) as usize;
        if let Some(place) = state.results.get_mut(index) {
            *place = Some(result);
        }
        if index == 0 {
            shared.done.notify_one();
        }
    }
}
