//! Stopping early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lithify_cancel::{CancelToken, Cancelled};

use super::BlobError;

impl From<Cancelled> for BlobError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// What a reader and its threads know of each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control {
    pub(crate) cancel: CancelToken,
    /// The reader was dropped.
    stop: Arc<AtomicBool>,
    /// A thread is inside the source's `read`, which may last.
    reading: Arc<AtomicBool>,
}

impl Control {
    pub(crate) fn new(cancel: CancelToken) -> Self {
        Self {
            cancel,
            ..Self::default()
        }
    }

    /// Runs a `read` of the source, unless the work is to stop.
    ///
    /// Either [`Self::stop`] sees that a read is under way, or this sees that the work is to stop: the stores and loads of
    /// the two flags are all sequentially consistent.
    pub(crate) fn read<T>(&self, read: impl FnOnce() -> T) -> Result<T, BlobError> {
        self.reading.store(true, Ordering::SeqCst);
        if self.stop.load(Ordering::SeqCst) || self.cancel.is_cancelled() {
            self.reading.store(false, Ordering::SeqCst);
            return Err(BlobError::Cancelled);
        }
        let result = read();
        self.reading.store(false, Ordering::SeqCst);
        Ok(result)
    }

    /// An error if the work is to stop.
    pub(crate) fn check(&self) -> Result<(), BlobError> {
        if self.stop.load(Ordering::Relaxed) {
            Err(BlobError::Cancelled)
        } else {
            Ok(self.cancel.check()?)
        }
    }

    /// Tells the threads to stop; says whether none is inside the source's `read`.
    pub(crate) fn stop(&self) -> bool {
        self.stop.store(true, Ordering::SeqCst);
        !self.reading.load(Ordering::SeqCst)
    }
}
