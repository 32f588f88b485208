//! Counts of what was stored.

use std::sync::atomic::{AtomicU64, Ordering};

use super::handle::Repository;
use super::writer::Outcome;

/// The objects that were stored since a repository was opened, by what became of them. One that was stored twice counts
/// twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Objects that were not there.
    pub new: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Objects that were there, whole.
    pub existing: u64,
    /// Their bytes, which take no more space.
    pub existing_bytes: u64,
    /// Objects that were damaged, and are not any more.
    pub replaced: u64,
    /// Bytes of objects, among the new and the replaced, that share their blocks with the file they were made of.
    pub shared_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    new: AtomicU64,
    new_bytes: AtomicU64,
    existing: AtomicU64,
    existing_bytes: AtomicU64,
    replaced: AtomicU64,
    shared_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, outcome: Outcome, size: u64) {
        let (number, bytes) = match outcome {
            Outcome::New => (&self.new, Some(&self.new_bytes)),
            Outcome::Existing => (&self.existing, Some(&self.existing_bytes)),
            Outcome::Replaced => (&self.replaced, None),
        };
        number.fetch_add(1, Ordering::Relaxed);
        if let Some(bytes) = bytes {
            bytes.fetch_add(size, Ordering::Relaxed);
        }
    }

    pub(super) fn share(&self, size: u64) {
        self.shared_bytes.fetch_add(size, Ordering::Relaxed);
    }
}

impl Repository {
    /// Returns the counts of what was stored so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Tally {
            new: read(&counters.new),
            new_bytes: read(&counters.new_bytes),
            existing: read(&counters.existing),
            existing_bytes: read(&counters.existing_bytes),
            replaced: read(&counters.replaced),
            shared_bytes: read(&counters.shared_bytes),
        }
    }
}
