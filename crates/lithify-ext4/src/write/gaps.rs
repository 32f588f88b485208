//! Closing the space of data of files that later layers replaced or removed.

use lithify_fskit::{Placed, close_gaps};
use lithify_storage::Storage;

use super::contents::Contents;
use crate::geometry::DataBlocks;
use crate::{Operation, WriteError};

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

/// Moves live data to the front of the data blocks. Returns the block behind it and the bytes copied.
pub(super) fn close<S: Storage>(
    blocks: &mut DataBlocks<S>,
    contents: &mut Contents,
    live: &[bool],
) -> Result<(u32, u64), WriteError> {
    let block_size = blocks.geometry.block_size;
    close_gaps(blocks, block_size, contents, |i| live[i], 0).map_err(Operation::MoveData.failed())
}
