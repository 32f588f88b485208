//! The inode tables, written in order.

use lithify_storage::Storage;

use super::layout::Layout;
use crate::format::INODE_LEN;
use crate::geometry::{DataBlocks, Geometry};
use crate::{Operation, WriteError};

/// Bytes collected before a write.
const BUFFER: usize = 1 << 20;

/// Writes inodes with ascending numbers into the tables of their groups.
#[derive(Debug)]
pub(super) struct Table<'a> {
    layout: &'a Layout,
    /// The number of the next inode, less one.
    next: u32,
    /// Where the buffer belongs, in bytes of data blocks.
    at: u64,
    buffer: Vec<u8>,
}

impl<'a> Table<'a> {
    /// Starts with the inode of that number, in the first group.
    pub(super) fn new(layout: &'a Layout, geometry: &Geometry, number: u32) -> Self {
        let inside = u64::from(number - 1) * INODE_LEN as u64;
        Self {
            layout,
            next: number - 1,
            at: layout.table(geometry, 0) * u64::from(geometry.block_size) + inside,
            buffer: Vec::new(),
        }
    }

    /// Adds the next inode.
    pub(super) fn push<S: Storage>(
        &mut self,
        inode: &[u8; INODE_LEN],
        blocks: &mut DataBlocks<S>,
    ) -> Result<(), WriteError> {
        let per_group = self.layout.inodes_per_group;
        if self.next.is_multiple_of(per_group) {
            let geometry = &blocks.geometry;
            let table = self.layout.table(geometry, self.next / per_group);
            let at = table * u64::from(geometry.block_size);
            if at != self.at + self.buffer.len() as u64 {
                self.flush(blocks)?;
                self.at = at;
            }
        }
        if self.buffer.len() >= BUFFER {
            self.flush(blocks)?;
        }
        self.buffer.extend_from_slice(inode);
        self.next += 1;
        Ok(())
    }

    /// Writes what is collected.
    pub(super) fn flush<S: Storage>(
        &mut self,
        blocks: &mut DataBlocks<S>,
    ) -> Result<(), WriteError> {
        let written = blocks.write_all_at(&self.buffer, self.at);
        written.map_err(Operation::WriteMetadata.failed())?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
