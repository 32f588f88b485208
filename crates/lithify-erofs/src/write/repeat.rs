//! Contents that come again.

use std::ops::Range;

use lithify_tree::ContentId;

use super::Writer;
use super::appender::next_block;
use crate::error::Operation;
use crate::format::{BLOCK_SIZE, NULL_BLOCK};
use crate::{Storage, WriteError};

impl<S: Storage> Writer<S> {
    /// Number of contents so far, which is the number of the next.
    #[must_use]
    pub fn content_count(&self) -> u32 {
        self.contents.len() as u32
    }

    /// Takes contents once more, as if their data came again in the same order. Gives what is to be added to the old numbers.
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
        // What comes before is placed before, and equal data is compressed to equal blocks wherever it comes.
        self.finish_compression()?;
        let first = self.content_count();
        let mut end = next_block(&self.data)?;
        for content in contents.clone() {
            let id = ContentId(content);
            self.contents.repeat(id, end)?;
            let (_, blocks) = self.contents.extent(content as usize);
            end = end
                .checked_add(blocks)
                .filter(|&end| end < NULL_BLOCK)
                .ok_or(WriteError::TooLarge)?;
        }
        let end = u64::from(end) * BLOCK_SIZE as u64;
        self.budget.grow_to(end + self.map_bytes)?;
        self.data.leave_out(&mut self.storage, end)?;
        let offset = first.saturating_sub(contents.start);
        self.repeated.push(contents, first);
        Ok(offset)
    }

    /// Copies the data of repeated contents that are needed to their places.
    pub(super) fn copy_repeated(&mut self, live: impl Fn(usize) -> bool) -> Result<(), WriteError> {
        if self.repeated.is_empty() {
            return Ok(());
        }
        self.data.flush(&mut self.storage)?;
        let block_size = BLOCK_SIZE as u32;
        self.repeated
            .copy(&mut self.storage, block_size, &self.contents, live)
            .map_err(Operation::MoveData.failed())
    }
}
