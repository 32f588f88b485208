//! The blocks read last.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Blocks by their offset in the image; the one that came first goes first.
#[derive(Debug)]
pub(super) struct Cache<T> {
    blocks: HashMap<u64, Arc<T>>,
    order: VecDeque<u64>,
    capacity: usize,
}

impl<T> Cache<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            blocks: HashMap::new(),
            order: VecDeque::new(),
            capacity,
        }
    }

    pub(super) fn get(&self, offset: u64) -> Option<Arc<T>> {
        self.blocks.get(&offset).map(Arc::clone)
    }

    pub(super) fn insert(&mut self, offset: u64, block: Arc<T>) {
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
