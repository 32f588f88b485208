//! Appending by blocks: data of files and metadata at a cursor.

use crate::WriteError;
use crate::error::Operation;
use crate::format::{BLOCK_SIZE, NULL_BLOCK};

/// Appends to the image, or to a storage of its own, with large writes at block boundaries.
pub(crate) type Appender = lithify_fskit::Appender<Operation>;

/// Starts at an offset, which should be that of a block.
pub(crate) const fn appender(offset: u64, operation: Operation) -> Appender {
    Appender::new(offset, BLOCK_SIZE as u64, operation)
}

/// Returns the block the next byte is in, if block numbers reach that far.
pub(crate) fn next_block(appender: &Appender) -> Result<u32, WriteError> {
    u32::try_from(appender.offset() / BLOCK_SIZE as u64)
        .ok()
        .filter(|&b| b < NULL_BLOCK)
        .ok_or(WriteError::TooLarge)
}
