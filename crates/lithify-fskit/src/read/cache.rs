//! The blocks read last.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Blocks by their offset in the image; the one that came first goes first.
#[derive(Debug)]
pub struct Cache<T> {
    blocks: HashMap<u64, Arc<T>>,
    order: VecDeque<u64>,
    capacity: usize,
}

impl<T> Cache<T> {
    /// Starts without any, with room for so many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            blocks: HashMap::new(),
            order: VecDeque::new(),
            capacity,
        }
    }

    /// Returns the block at an offset, if it is one of those.
    #[must_use]
    pub fn get(&self, offset: u64) -> Option<Arc<T>> {
        self.blocks.get(&offset).map(Arc::clone)
    }

    /// Adds a block.
    pub fn insert(&mut self, offset: u64, block: Arc<T>) {
        if self.blocks.insert(offset, block).is_none() {
            self.order.push_back(offset);
        }
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.blocks.remove(&oldest);
        }
    }
}
