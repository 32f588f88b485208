//! The same work, done by several threads together.

use std::num::NonZero;
use std::thread;

/// Returns the number of threads that run at the same time.
pub(super) fn available() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does work, which takes its parts from a counter or the like, on at most so many threads; returns what each of them found.
pub(super) fn together<T: Send>(threads: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        // Where the system gives fewer threads, this one does their work.
        let others: Vec<_> = (1..threads)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, &work).ok())
            .collect();
        let mut all = vec![work()];
        for other in others {
            match other.join() {
                Ok(found) => all.push(found),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}
