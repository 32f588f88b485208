//! A time until which everything has to be there that a thread reads.
//!
//! The HTTP library takes a limit for a whole body with the request; how much of an answer is of interest is known only
//! later.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::unversioned::transport::NextTimeout;

thread_local! {
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The deadline of this thread, until this is dropped.
#[derive(Debug)]
pub(crate) struct Deadline {
    before: Option<Instant>,
}

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Self {
            before: UNTIL.replace(Instant::now().checked_add(time)),
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        UNTIL.set(self.before);
    }
}

/// The time there is to receive something.
pub(crate) fn until(timeout: NextTimeout) -> NextTimeout {
    let Some(until) = UNTIL.get() else {
        return timeout;
    };
    let left = until.saturating_duration_since(Instant::now());
    match timeout.after.is_not_happening() || left < *timeout.after {
        true => NextTimeout {
            after: left.into(),
            reason: Timeout::RecvBody,
            ..timeout
        },
        false => timeout,
    }
}
