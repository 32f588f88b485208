//! Work on several things at the same time.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::Error;

/// Does the work on each of `count` things, by their numbers, on at most so many threads. After an error nothing more is begun.
///
/// # Errors
/// The first that was met.
pub(crate) fn for_each(
    count: usize,
    threads: NonZeroUsize,
    work: impl Fn(usize) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let threads = threads.get().min(count);
    if threads <= 1 {
        return (0..count).try_for_each(work);
    }
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let error = Mutex::new(None);
    let run = || {
        while !failed.load(Ordering::Acquire) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            if let Err(found) = work(index) {
                let mut first = error.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(found);
                failed.store(true, Ordering::Release);
            }
        }
    };
    thread::scope(|scope| {
        // Where the system gives fewer threads, this one does their work.
        let _others: Vec<_> = (1..threads)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, run).ok())
            .collect();
        run();
    });
    match error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
