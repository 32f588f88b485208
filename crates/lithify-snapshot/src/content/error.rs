//! Reasons why a disk's content has no digest.

use std::io;

use lithify_cancel::Cancelled;

/// The reason why a disk's content has no digest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// Data before data that came already.
    #[error(
        "data at byte {offset} of a disk comes after data up to byte {end}, expected it in order"
    )]
    Order {
        /// The place of the data.
        offset: u64,
        /// The end of what came before.
        end: u64,
    },
    /// Data that reaches beyond the disk.
    #[error("data at byte {offset} of a disk has {length} bytes, but the disk has {size} bytes")]
    PastEnd {
        /// The place of the data.
        offset: u64,
        /// The length of the data.
        length: u64,
        /// The size of the disk.
        size: u64,
    },
    /// Data that cannot be read.
    #[error("the disk cannot be read at byte {offset}")]
    Read {
        /// The place of the data.
        offset: u64,
        /// The error of the storage.
        source: io::Error,
    },
    /// A thread that panicked.
    #[error("a thread that reads the disk ended before its work was done")]
    ThreadLost,
    /// Stopped from outside.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl ContentError {
    /// Checks the place of data behind other data that ends at `end`, on a disk of a size; returns the bytes between them.
    pub(super) fn check(offset: u64, length: u64, end: u64, size: u64) -> Result<u64, Self> {
        let Some(gap) = offset.checked_sub(end) else {
            return Err(Self::Order { offset, end });
        };
        match offset.checked_add(length).is_some_and(|end| end <= size) {
            true => Ok(gap),
            false => Err(Self::PastEnd {
                offset,
                length,
                size,
            }),
        }
    }
}
