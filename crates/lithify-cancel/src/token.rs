//! The token.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The longest a wait lasts before it looks whether it is still wanted, where nothing can wake it.
pub(crate) const NAP: Duration = Duration::from_millis(50);

/// Stops the work it was given to, from any thread, for good. Clones stop the same work.
///
/// Whatever takes a token notices within a fraction of a second, also where it waits.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Shared>);

/// A token that does not count as one: it says whether there is still anybody who could stop the work.
#[derive(Clone, Debug, Default)]
pub struct WeakToken(Weak<Shared>);

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    hooks: Mutex<Hooks>,
    changed: Condvar,
}

#[derive(Default)]
struct Hooks {
    next: u64,
    list: Vec<(u64, Arc<dyn Fn() + Send + Sync>)>,
}

/// A function that is called when the work is stopped; no longer, once this is dropped.
#[must_use = "a hook that is dropped is not called"]
pub struct Hook {
    shared: Weak<Shared>,
    id: u64,
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The token was used.
    Cancelled,
    /// The time was over.
    TimedOut,
    /// Nobody is there any more who could send it.
    Gone,
}

/// The token was used. Travels as an [`io::Error`] through readers and writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}

impl From<Cancelled> for io::Error {
    fn from(cancelled: Cancelled) -> Self {
        Self::other(cancelled)
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken")
            .field(&self.is_cancelled())
            .finish()
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook").field(&self.id).finish()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl WeakToken {
    /// The token, as long as somebody else has it.
    #[must_use]
    pub fn upgrade(&self) -> Option<CancelToken> {
        self.0.upgrade().map(CancelToken)
    }
}

impl PartialEq for CancelToken {
    /// Whether they stop the same work.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CancelToken {}

impl CancelToken {
    /// A token nobody has used yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the work.
    pub fn cancel(&self) {
        let hooks = {
            let mut hooks = self.hooks();
            self.0.cancelled.store(true, Ordering::SeqCst);
            std::mem::take(&mut hooks.list)
        };
        self.0.changed.notify_all();
        for (_, hook) in hooks {
            hook();
        }
    }

    /// Whether the work is to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// The same token, without keeping it.
    #[must_use]
    pub fn downgrade(&self) -> WeakToken {
        WeakToken(Arc::downgrade(&self.0))
    }

    /// An error if the work is to stop.
    ///
    /// # Errors
    /// [`Cancelled`].
    pub fn check(&self) -> Result<(), Cancelled> {
        match self.is_cancelled() {
            true => Err(Cancelled),
            false => Ok(()),
        }
    }

    /// Calls `hook` when the work is stopped: at once if it was already. It is called on the thread that stops the work,
    /// so it must not wait.
    pub fn on_cancel(&self, hook: impl Fn() + Send + Sync + 'static) -> Hook {
        let mut hooks = self.hooks();
        let id = hooks.next;
        hooks.next += 1;
        if self.is_cancelled() {
            drop(hooks);
            hook();
        } else {
            hooks.list.push((id, Arc::new(hook)));
        }
        Hook {
            shared: Arc::downgrade(&self.0),
            id,
        }
    }

    /// Waits for so long.
    ///
    /// # Errors
    /// [`Cancelled`], as soon as the work is stopped.
    pub fn wait(&self, time: Duration) -> Result<(), Cancelled> {
        let hooks = self.hooks();
        drop(
            self.0
                .changed
                .wait_timeout_while(hooks, time, |_| !self.is_cancelled())
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.check()
    }

    /// Waits for what another thread sends, until a point in time if there is one.
    ///
    /// # Errors
    /// [`Stopped`] says why nothing came.
    pub fn receive<T>(&self, receiver: &Receiver<T>, until: Option<Instant>) -> Result<T, Stopped> {
        loop {
            if self.is_cancelled() {
                return Err(Stopped::Cancelled);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match receiver.recv_timeout(left.map_or(NAP, |left| left.min(NAP))) {
                Ok(value) => return Ok(value),
                Err(RecvTimeoutError::Disconnected) => return Err(Stopped::Gone),
                Err(RecvTimeoutError::Timeout) if left.is_some_and(|left| left <= NAP) => {
                    return Err(Stopped::TimedOut);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Runs a call that nobody can interrupt on a thread of its own. When the work is stopped first, the thread is left to
    /// itself and what it makes is dropped.
    ///
    /// # Errors
    /// `Err` of an [`io::Error`] when there is no thread to be had, `Ok(Err(_))` when nothing came of it.
    pub fn detached<T: Send + 'static>(
        &self,
        name: &str,
        until: Option<Instant>,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Result<T, Stopped>> {
        if self.is_cancelled() {
            return Ok(Err(Stopped::Cancelled));
        }
        let (sender, receiver) = mpsc::channel();
        Builder::new().name(name.to_owned()).spawn(move || {
            // Nobody to take it: it is dropped here.
            drop(sender.send(call()));
        })?;
        Ok(self.receive(&receiver, until))
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            let mut hooks = shared.hooks.lock().unwrap_or_else(PoisonError::into_inner);
            hooks.list.retain(|(id, _)| *id != self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Longer than any test may take.
    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn waits_end_when_the_work_is_stopped() {
        let token = CancelToken::new();
        let (_sender, receiver) = mpsc::channel::<()>();
        let (started, begun) = mpsc::channel();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                started.send(()).unwrap();
                token.wait(LONG)
            });
            let waits = token.clone();
            let receiving = scope.spawn(move || waits.receive(&receiver, None));
            begun.recv().unwrap();
            token.cancel();
            assert_eq!(sleeper.join().unwrap(), Err(Cancelled));
            assert_eq!(receiving.join().unwrap(), Err(Stopped::Cancelled));
        });
        assert_eq!(token.wait(LONG), Err(Cancelled));
    }

    #[test]
    fn a_call_that_lasts_is_left_behind() {
        let token = CancelToken::new();
        let stop = token.clone();
        let (release, held) = mpsc::channel::<()>();
        let result = token.detached("test", None, move || {
            stop.cancel();
            // Until the other end is dropped.
            held.recv().ok();
        });
        assert_eq!(result.unwrap(), Err(Stopped::Cancelled));
        drop(release);
        assert_eq!(
            CancelToken::new().detached("test", None, || 7).unwrap(),
            Ok(7)
        );
    }

    #[test]
    fn hooks_are_called_once_and_not_after_they_are_dropped() {
        let token = CancelToken::new();
        let count = Arc::new(AtomicUsize::new(0));
        let hook = || {
            let count = Arc::clone(&count);
            token.on_cancel(move || {
                count.fetch_add(1, Ordering::SeqCst);
            })
        };
        let (kept, dropped) = (hook(), hook());
        drop(dropped);
        token.cancel();
        token.cancel();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let late = hook();
        assert_eq!(count.load(Ordering::SeqCst), 2);
        drop((kept, late));
    }

    #[test]
    fn tokens_are_equal_when_they_stop_the_same_work() {
        let token = CancelToken::new();
        assert_eq!(token, token.clone());
        assert_ne!(token, CancelToken::new());
    }

    #[test]
    fn a_weak_token_ends_with_the_last_of_the_others() {
        let token = CancelToken::new();
        let (weak, other) = (token.downgrade(), token.clone());
        drop(token);
        assert_eq!(weak.upgrade().as_ref(), Some(&other));
        drop(other);
        assert_eq!(weak.upgrade(), None);
        assert_eq!(WeakToken::default().upgrade(), None);
    }

    #[test]
    fn a_time_limit_is_kept() {
        let (_sender, receiver) = mpsc::channel::<()>();
        let token = CancelToken::new();
        let until = Some(Instant::now());
        assert_eq!(token.receive(&receiver, until), Err(Stopped::TimedOut));
        let (sender, receiver) = mpsc::channel::<()>();
        drop(sender);
        assert_eq!(token.receive(&receiver, None), Err(Stopped::Gone));
    }
}
