//! Contents that come again.

use std::ops::Range;

use lithify_storage::Storage;
use lithify_tree::ContentId;

use super::Writer;
use super::blocks::next_block;
use crate::WriteError;

impl<S: Storage> Writer<S> {
    /// Takes contents once more, as if their data came again in the same order. Returns what is to be added to the old
    /// numbers.
    ///
    /// # Errors
    /// [`WriteError`] when there is no room for it.
    pub fn repeat(&mut self, contents: Range<u32>) -> Result<u32, WriteError> {
        if self.open.is_some() {
            return Err(WriteError::CallOrder {
                call: "repeat",
                state: "while a file was open",
            });
        }
        let block_size = self.blocks.geometry.block_size;
        let first = self.content_count();
        let mut end = next_block(&self.data, block_size)?;
        for content in contents.clone() {
            self.contents.repeat(ContentId(content), end)?;
            let (_, blocks) = self.contents.extent(content as usize);
            end = end
                .checked_add(blocks)
                .filter(|&end| end < u32::MAX)
                .ok_or(WriteError::TooLarge { block_size })?;
        }
        let end = u64::from(end) * u64::from(block_size);
        self.budget.grow_to(end)?;
        self.data.leave_out(&mut self.blocks, end)?;
        let offset = first.saturating_sub(contents.start);
        self.repeats.push(contents, first);
        Ok(offset)
    }
}
