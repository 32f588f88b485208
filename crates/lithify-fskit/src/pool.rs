//! Work on several threads; results come back in the order it was handed in.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Work of one kind. Results must not depend on which thread does what.
pub trait Task: Clone + Send + 'static {
    /// Memory and tables of one thread, made with its first job.
    type State;
    /// A piece of work.
    type Job: Send + 'static;
    /// A piece of work that is done.
    type Done: Send + 'static;
    /// A reason for which it is not.
    type Error: Send + 'static;

    /// Makes the state of one thread.
    ///
    /// # Errors
    /// Whatever the task says; it becomes the result of the job that asked for the state.
    fn start(&self) -> Result<Self::State, Self::Error>;

    /// Does a piece of work.
    ///
    /// # Errors
    /// Whatever the task says.
    fn run(&self, state: &mut Self::State, job: Self::Job) -> Result<Self::Done, Self::Error>;
}

/// A reason for which [`Pool::take`] gives no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError<E> {
    /// The work failed.
    Task(E),
    /// A thread panicked, and its work is lost.
    ThreadLost,
}

/// Does work on several threads, or in the caller's for one thread.
///
/// Threads are started with the first job. When one cannot be started, work goes on with fewer, or in the caller's
/// thread when there is none: results are the same, and a machine short of threads still gets its image.
///
/// ```
/// use lithify_fskit::{Pool, Task};
///
/// #[derive(Clone)]
/// struct Square;
///
/// impl Task for Square {
///     type State = ();
///     type Job = u32;
///     type Done = u32;
///     type Error = std::convert::Infallible;
///
///     fn start(&self) -> Result<(), Self::Error> {
///         Ok(())
///     }
///
///     fn run(&self, (): &mut (), job: u32) -> Result<u32, Self::Error> {
///         Ok(job * job)
///     }
/// }
///
/// let mut pool = Pool::new(Square, "square", 2.try_into()?, |threads| threads + 1);
/// pool.submit(3);
/// pool.submit(4);
/// assert_eq!(pool.take(true), Ok(Some(9)));
/// assert_eq!(pool.take(true), Ok(Some(16)));
/// assert_eq!(pool.take(true), Ok(None));
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
pub struct Pool<T: Task> {
    task: T,
    name: &'static str,
    /// Threads to start with the first job.
    wanted: usize,
    limit: fn(usize) -> usize,
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
    is_started: bool,
    /// For work in the caller's thread.
    state: Option<T::State>,
    in_flight: usize,
}

impl<T: Task> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .field("threads", &self.threads.len())
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

struct Shared<T: Task> {
    queue: Mutex<Queue<T>>,
    /// There is a job, or the end.
    work: Condvar,
    /// The oldest job is done, or no result comes any more.
    done: Condvar,
}

struct Queue<T: Task> {
    waiting: VecDeque<(u64, T::Job)>,
    /// Results from job number `oldest` on, there or not.
    results: VecDeque<Option<Result<T::Done, T::Error>>>,
    oldest: u64,
    closed: bool,
    /// A thread ended before it should.
    lost: bool,
}

impl<T: Task> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // The queue is changed in single steps: whoever panicked left it whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a, Q>(condition: &Condvar, queue: MutexGuard<'a, Q>) -> MutexGuard<'a, Q> {
    condition
        .wait(queue)
        .unwrap_or_else(PoisonError::into_inner)
}

impl<T: Task> Pool<T> {
    /// Makes a pool of `threads` threads called `name`. With one, work is done in the caller's thread. `limit` says
    /// how many jobs may be in flight with a number of threads that run, 0 for the caller's own.
    #[must_use]
    pub fn new(
        task: T,
        name: &'static str,
        threads: NonZeroUsize,
        limit: fn(usize) -> usize,
    ) -> Self {
        Self {
            task,
            name,
            wanted: if threads.get() > 1 { threads.get() } else { 0 },
            limit,
            shared: Arc::new(Shared {
                queue: Mutex::new(Queue {
                    waiting: VecDeque::new(),
                    results: VecDeque::new(),
                    oldest: 0,
                    closed: false,
                    lost: false,
                }),
                work: Condvar::new(),
                done: Condvar::new(),
            }),
            threads: Vec::new(),
            is_started: false,
            state: None,
            in_flight: 0,
        }
    }

    /// Jobs handed in and not taken back.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether results should be taken before more is handed in.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.in_flight > 0 && self.in_flight >= (self.limit)(self.threads.len())
    }

    /// Hands in a job. When the pool [is full](Self::is_full), take a result first.
    pub fn submit(&mut self, job: T::Job) {
        if !self.is_started {
            self.is_started = true;
            self.start(|builder, work| builder.spawn(work));
        }
        self.in_flight += 1;
        if self.threads.is_empty() {
            let result = run(&self.task, &mut self.state, job);
            self.shared.lock().results.push_back(Some(result));
            return;
        }
        let mut queue = self.shared.lock();
        let number = queue.oldest + queue.results.len() as u64;
        queue.results.push_back(None);
        queue.waiting.push_back((number, job));
        drop(queue);
        self.shared.work.notify_one();
    }

    /// Starts threads until there are enough or one cannot be had.
    fn start(
        &mut self,
        spawn: impl Fn(
            std::thread::Builder,
            Box<dyn FnOnce() + Send>,
        ) -> std::io::Result<JoinHandle<()>>,
    ) {
        for number in 0..self.wanted {
            let shared = Arc::clone(&self.shared);
            let task = self.task.clone();
            let builder = std::thread::Builder::new().name(format!("{}-{number}", self.name));
            match spawn(builder, Box::new(move || work(&shared, &task))) {
                Ok(thread) => self.threads.push(thread),
                // With fewer threads, or none, the result is the same.
                Err(_) => break,
            }
        }
    }

    /// Takes the oldest job's result. `None` when there is no job, or when it is not done and `wait` is not set.
    ///
    /// # Errors
    /// [`PoolError`] when the work failed or its thread panicked.
    pub fn take(&mut self, wait_for_it: bool) -> Result<Option<T::Done>, PoolError<T::Error>> {
        if self.in_flight == 0 {
            return Ok(None);
        }
        let mut queue = self.shared.lock();
        loop {
            if let Some(Some(_)) = queue.results.front() {
                let result = queue.results.pop_front().flatten();
                queue.oldest += 1;
                drop(queue);
                self.in_flight -= 1;
                return result.transpose().map_err(PoolError::Task);
            }
            if queue.lost {
                return Err(PoolError::ThreadLost);
            }
            if !wait_for_it {
                return Ok(None);
            }
            queue = wait(&self.shared.done, queue);
        }
    }
}

impl<T: Task> Drop for Pool<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        queue.waiting.clear();
        drop(queue);
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so, and no one waits for its work any more.
            drop(thread.join());
        }
    }
}

/// Tells the caller, who would wait forever, when a thread unwinds.
struct Alarm<'a, T: Task>(&'a Shared<T>);

impl<T: Task> Drop for Alarm<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().lost = true;
            self.0.done.notify_all();
        }
    }
}

fn run<T: Task>(task: &T, state: &mut Option<T::State>, job: T::Job) -> Result<T::Done, T::Error> {
    let state = match state {
        Some(state) => state,
        none => none.insert(task.start()?),
    };
    task.run(state, job)
}

/// Does what one thread does.
fn work<T: Task>(shared: &Shared<T>, task: &T) {
    let _alarm = Alarm(shared);
    let mut state = None;
    let mut queue = shared.lock();
    loop {
        let Some((number, job)) = queue.waiting.pop_front() else {
            if queue.closed {
                return;
            }
            queue = wait(&shared.work, queue);
            continue;
        };
        drop(queue);
        let result = run(task, &mut state, job);
        queue = shared.lock();
        // Results are taken from the front only when they are there, so this one's place still exists.
        let index = (number - queue.oldest) as usize;
        if let Some(place) = queue.results.get_mut(index) {
            *place = Some(result);
        }
        // The caller waits for the oldest alone.
        if index == 0 {
            shared.done.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles what it gets; fails at 13, panics at 99.
    #[derive(Clone)]
    struct Double;

    impl Task for Double {
        type State = ();
        type Job = u32;
        type Done = u32;
        type Error = &'static str;

        fn start(&self) -> Result<(), &'static str> {
            Ok(())
        }

        fn run(&self, (): &mut (), job: u32) -> Result<u32, &'static str> {
            assert!(job != 99, "asked to");
            if job == 13 {
                return Err("thirteen");
            }
            Ok(2 * job)
        }
    }

    fn pool(threads: usize) -> Pool<Double> {
        Pool::new(Double, "double", threads.try_into().unwrap(), |threads| {
            threads + 1
        })
    }

    fn doubles(mut pool: Pool<Double>) {
        let mut results = Vec::new();
        for job in 100..1100 {
            while let Some(done) = pool.take(pool.is_full()).unwrap() {
                results.push(done);
            }
            pool.submit(job);
        }
        while let Some(done) = pool.take(true).unwrap() {
            results.push(done);
        }
        assert!(results.into_iter().eq((100..1100).map(|job| 2 * job)));
        assert_eq!(pool.in_flight(), 0);
    }

    #[test]
    fn order_is_kept_with_any_number_of_threads() {
        for threads in [1, 2, 5] {
            doubles(pool(threads));
        }
    }

    #[test]
    fn work_goes_on_with_the_threads_there_are() {
        for there_are in [0, 1, 2] {
            let mut pool = pool(4);
            pool.is_started = true;
            let left = std::cell::Cell::new(there_are);
            pool.start(|builder, work| match left.get() {
                0 => Err(std::io::ErrorKind::WouldBlock.into()),
                n => {
                    left.set(n - 1);
                    builder.spawn(work)
                }
            });
            assert_eq!(pool.threads.len(), there_are);
            doubles(pool);
        }
    }

    #[test]
    fn failures_come_in_their_turn() {
        for threads in [1, 3] {
            let mut pool = pool(threads);
            for job in [1, 13, 2] {
                pool.submit(job);
            }
            assert_eq!(pool.take(true), Ok(Some(2)));
            assert_eq!(pool.take(true), Err(PoolError::Task("thirteen")));
            assert_eq!(pool.take(true), Ok(Some(4)));
            assert_eq!(pool.take(true), Ok(None));
        }
    }

    #[test]
    fn a_lost_thread_does_not_hang_the_caller() {
        let mut pool = pool(2);
        pool.submit(99);
        assert_eq!(pool.take(true), Err(PoolError::ThreadLost));
    }
}
