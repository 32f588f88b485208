//! The inode table, written in order.

use lithify_storage::Storage;

use crate::format::INODE_LEN;
use crate::geometry::DataBlocks;
use crate::{Operation, WriteError};

/// Bytes collected before a write.
const BUFFER: usize = 1 << 20;

/// Writes inodes with ascending numbers into the tables of their groups.
#[derive(Debug)]
pub(super) struct Table {
    /// The number of the first inode that is collected.
    first: u32,
    buffer: Vec<u8>,
}

impl Table {
    /// Starts with the inode of that number.
    pub(super) const fn new(first: u32) -> Self {
        Self {
            first,
            buffer: Vec::new(),
        }
    }

    fn next(&self) -> u32 {
        self.first + (self.buffer.len() / INODE_LEN) as u32
    }

    /// Adds the next inode.
    pub(super) fn push<S: Storage>(
        &mut self,
        inode: &[u8; INODE_LEN],
        blocks: &mut DataBlocks<S>,
    ) -> Result<(), WriteError> {
        let is_at_start = (self.next() - 1).is_multiple_of(blocks.geometry.inodes_per_group());
        if is_at_start || self.buffer.len() >= BUFFER {
            self.flush(blocks)?;
        }
        self.buffer.extend_from_slice(inode);
        Ok(())
    }

    /// Writes what is collected.
    pub(super) fn flush<S: Storage>(
        &mut self,
        blocks: &mut DataBlocks<S>,
    ) -> Result<(), WriteError> {
        if !self.buffer.is_empty() {
            put(self.first, &self.buffer, blocks)?;
            self.first = self.next();
            self.buffer.clear();
        }
        Ok(())
    }
}

/// Writes inodes of one group, from a number on.
pub(super) fn put<S: Storage>(
    first: u32,
    inodes: &[u8],
    blocks: &mut DataBlocks<S>,
) -> Result<(), WriteError> {
    let geometry = blocks.geometry;
    let (group, inside) = (
        (first - 1) / geometry.inodes_per_group(),
        (first - 1) % geometry.inodes_per_group(),
    );
    let at = geometry.inode_table(group) * u64::from(geometry.block_size)
        + u64::from(inside) * INODE_LEN as u64;
    let written = blocks.storage.write_all_at(inodes, at);
    written.map_err(Operation::WriteMetadata.failed())
}
