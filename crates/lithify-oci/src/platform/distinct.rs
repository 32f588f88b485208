//! Platforms in the order they are met, each once.

use std::collections::HashSet;

use super::Platform;

/// Platforms in the order they were added, each once. An index can name tens of thousands: none is compared with all others.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    in_order: Vec<Platform>,
    known: HashSet<Platform>,
}

impl Distinct {
    /// Adds a platform unless it is there.
    pub(crate) fn add(&mut self, platform: Platform) {
        if self.known.insert(platform.clone()) {
            self.in_order.push(platform);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    pub(crate) fn in_order(self) -> Vec<Platform> {
        self.in_order
    }
}
