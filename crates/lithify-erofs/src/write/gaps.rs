//! Closing the space of data of files that later layers replaced or removed.

use lithify_fskit::Placed;

use super::contents::Contents;
use crate::error::Operation;
use crate::format::BLOCK_SIZE;
use crate::{Storage, WriteError};

impl Placed for Contents {
    fn count(&self) -> usize {
        self.len()
    }

    fn extent(&self, content: usize) -> (u32, u32) {
        Self::extent(self, content)
    }

    fn set_start(&mut self, content: usize, start: u32) {
        Self::set_start(self, content, start);
    }
}

/// Moves live extents so that they fill `first..end`; gives that end and the bytes copied.
pub(crate) fn close_gaps<S: Storage + ?Sized>(
    storage: &mut S,
    contents: &mut Contents,
    live: impl Fn(usize) -> bool,
    first: u32,
) -> Result<(u32, u64), WriteError> {
    lithify_fskit::close_gaps(storage, BLOCK_SIZE as u32, contents, live, first)
        .map_err(Operation::MoveData.failed())
}
