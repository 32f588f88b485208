//! Contents that come again: a layer that an image names twice is read once.
//!
//! Their places are what they would be had the data been written again, so that the image is the same. Most often nothing
//! of the lower one is left when layers are merged; so data is copied to these places only once it is known to be needed.

use std::ops::Range;

use lithify_tree::ContentId;

use super::Writer;
use super::appender::next_block;
use crate::error::Operation;
use crate::format::{BLOCK_SIZE, NULL_BLOCK};
use crate::{Storage, WriteError};

/// Contents that are others' once more.
#[derive(Clone, Debug)]
pub(super) struct Repeated {
    /// Those that have the data.
    of: Range<u32>,
    /// The first of those that are the same.
    first: u32,
}

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
        let of = contents;
        let offset = first.saturating_sub(of.start);
        self.repeated.push(Repeated { of, first });
        Ok(offset)
    }

    /// Copies the data of repeated contents that are needed to their places.
    pub(super) fn copy_repeated(&mut self, live: impl Fn(usize) -> bool) -> Result<(), WriteError> {
        if self.repeated.is_empty() {
            return Ok(());
        }
        self.data.flush(&mut self.storage)?;
        let mut buffer = vec![0; BLOCK_SIZE << 6];
        for Repeated { of, first } in std::mem::take(&mut self.repeated) {
            for (old, new) in of.zip(first..).filter(|&(_, new)| live(new as usize)) {
                let (from, blocks) = self.contents.extent(old as usize);
                let (to, _) = self.contents.extent(new as usize);
                let mut left = u64::from(blocks) * BLOCK_SIZE as u64;
                let mut from = u64::from(from) * BLOCK_SIZE as u64;
                let mut to = u64::from(to) * BLOCK_SIZE as u64;
                while left > 0 {
                    let piece = left.min(buffer.len() as u64) as usize;
                    let bytes = &mut buffer[..piece];
                    self.storage
                        .read_exact_at(bytes, from)
                        .map_err(Operation::MoveData.failed())?;
                    self.storage
                        .write_all_at(bytes, to)
                        .map_err(Operation::WriteData.failed())?;
                    (from, to) = (from + piece as u64, to + piece as u64);
                    left -= piece as u64;
                }
            }
        }
        Ok(())
    }
}
