//! Memory of what is worked on.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that may be in use. What is taken is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Memory {
    limit: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// Bytes that were taken.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    memory: &'a Memory,
    bytes: u64,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: Mutex::new(0),
            freed: Condvar::new(),
        }
    }

    /// Waits until there is so much. More than there is at all is given when nothing else is in use.
    pub(super) fn take(&self, bytes: u64) -> Taken<'_> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_enough = |used: &mut u64| *used == 0 || used.saturating_add(bytes) <= self.limit;
        let used = self.freed.wait_while(used, |used| !is_enough(used));
        let mut used = used.unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_add(bytes);
        Taken {
            memory: self,
            bytes,
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut used = self
            .memory
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(self.bytes);
        self.memory.freed.notify_all();
    }
}
