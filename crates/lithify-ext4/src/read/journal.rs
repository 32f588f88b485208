//! Changes that are only in the journal.

use super::Image;
use crate::{JournalDamage, ReadAt, ReadError};

/// The magic number of the journal's own blocks.
pub(super) const MAGIC: u32 = 0xc03b_3998;

impl<R: ReadAt> Image<R> {
    /// Replays the journal in memory.
    pub(super) fn replay(&mut self) -> Result<(), ReadError> {
        Err(ReadError::Journal {
            reason: JournalDamage::Missing,
        })
    }
}
