//! Appending data blocks.

use lithify_storage::Storage;

use crate::geometry::DataBlocks;
use crate::{Operation, WriteError};

/// Appends to the data blocks of a filesystem, in large writes.
pub(super) type Appender = lithify_fskit::Appender<Operation>;

/// Returns the data block the next byte is in.
pub(super) fn next_block(appender: &Appender, block_size: u32) -> Result<u32, WriteError> {
    u32::try_from(appender.offset() / u64::from(block_size))
        .ok()
        .filter(|&block| block < u32::MAX)
        .ok_or(WriteError::TooLarge { block_size })
}

/// Appends one block.
pub(super) fn append<S: Storage>(
    appender: &mut Appender,
    blocks: &mut DataBlocks<S>,
    bytes: &[u8],
) -> Result<(), WriteError> {
    next_block(appender, blocks.geometry.block_size)?;
    appender.append(blocks, bytes)
}
