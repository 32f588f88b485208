//! Threads that compress batches, and the order results come back in.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Compression;
use super::codec::Codec;
use super::place::Batch;
use crate::WriteError;

/// Compresses batches in threads, or in the caller's when there are none.
pub(super) struct Pool {
    options: Compression,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// For the caller's own thread.
    codec: Option<Codec>,
    /// Batches handed in and not taken back.
    under_way: usize,
    limit: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to compress, or nothing any more.
    work: Condvar,
    /// A batch is done.
    done: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(u64, Batch)>,
    /// Results from the oldest batch on that has not been taken back.
    results: VecDeque<Option<Result<Batch, WriteError>>>,
    /// Number of that batch.
    oldest: u64,
    closed: bool,
    /// A thread ended before it should.
    broken: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is changed in single steps: whoever panicked left it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    pub(super) fn new(options: Compression) -> Self {
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let mut pool = Self {
            options,
            shared: Arc::default(),
            threads: Vec::new(),
            codec: None,
            under_way: 0,
            limit: 0,
        };
        if threads > 1 {
            for i in 0..threads {
                let shared = Arc::clone(&pool.shared);
                let thread = std::thread::Builder::new()
                    .name(format!("erofs-compress-{i}"))
                    .spawn(move || run(&shared, &options));
                // With fewer threads, or none, the result is the same.
                match thread {
                    Ok(thread) => pool.threads.push(thread),
                    Err(_) => break,
                }
            }
        }
        // One batch for each thread, and one more to go on with.
        pool.limit = pool.threads.len() + 1;
        pool
    }

    /// Hands in a batch. When [`is_full`](Self::is_full), take one back first.
    pub(super) fn submit(&mut self, mut batch: Batch) -> Result<(), WriteError> {
        self.under_way += 1;
        if self.threads.is_empty() {
            let codec = match &mut self.codec {
                Some(codec) => codec,
                none => none.insert(Codec::new(&self.options)?),
            };
            let result = batch.compress(codec).map(|()| batch);
            self.shared.lock().results.push_back(Some(result));
            return Ok(());
        }
        let mut state = self.shared.lock();
        let number = state.oldest + state.results.len() as u64;
        state.results.push_back(None);
        state.waiting.push_back((number, batch));
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.under_way >= self.limit
    }

    /// Takes the oldest batch back. `None` when there is none, or when it is not done and `wait` is not set.
    pub(super) fn take(&mut self, wait: bool) -> Result<Option<Batch>, WriteError> {
        if self.under_way == 0 {
            return Ok(None);
        }
        let mut state = self.shared.lock();
        loop {
            if let Some(Some(_)) = state.results.front() {
                let result = state.results.pop_front().flatten();
                state.oldest += 1;
                self.under_way -= 1;
                return result.transpose();
            }
            if state.broken {
                return Err(WriteError::Compress {
                    source: io::Error::other("a compression thread ended"),
                });
            }
            if !wait {
                return Ok(None);
            }
            state = self
                .shared
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A panic in it has been reported by the panic itself and to whoever waited for a result.
            drop(thread.join());
        }
    }
}

/// Tells the caller that no further result comes when a thread panics.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().broken = true;
            self.0.done.notify_all();
        }
    }
}

/// A thread.
fn run(shared: &Shared, options: &Compression) {
    let _alarm = Alarm(shared);
    let mut codec = None;
    loop {
        let mut state = shared.lock();
        let (number, mut batch) = loop {
            if let Some(job) = state.waiting.pop_front() {
                break job;
            }
            if state.closed {
                return;
            }
            state = shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let codec = match &mut codec {
            Some(codec) => Ok(codec),
            none => Codec::new(options).map(|new| none.insert(new)),
        };
        let result = codec
            .and_then(|codec| batch.compress(codec))
            .map(|()| batch);
        let mut state = shared.lock();
        let index = (number - state.oldest) as usize;
        if let Some(place) = state.results.get_mut(index) {
            *place = Some(result);
        }
        drop(state);
        shared.done.notify_one();
    }
}
