//! Bytes of a table of metadata, one after another.

use std::sync::Arc;

use super::{Image, MetadataBlock};
use crate::error::Damage;
use crate::format::Position;
use crate::{ReadAt, ReadError};

/// A place in a table.
#[derive(Debug)]
pub(super) struct Cursor<'a, R> {
    image: &'a Image<R>,
    what: &'static str,
    /// Offset of the table in the image.
    table: u64,
    /// Offset in the image of the block.
    address: u64,
    /// The block, once it has been read.
    block: Option<Arc<MetadataBlock>>,
    offset: usize,
}

impl<R> Clone for Cursor<'_, R> {
    fn clone(&self) -> Self {
        Self {
            image: self.image,
            block: self.block.clone(),
            ..*self
        }
    }
}

impl<'a, R: ReadAt> Cursor<'a, R> {
    pub(super) fn new(
        image: &'a Image<R>,
        what: &'static str,
        table: u64,
        position: Position,
    ) -> Self {
        Self {
            image,
            what,
            table,
            address: table.saturating_add(position.block),
            block: None,
            offset: usize::from(position.offset),
        }
    }

    /// Where the next byte is, in the form in which tables refer to it.
    pub(super) fn position(&self) -> Position {
        // A cursor starts inside a block of at most 8 KiB or fails with the first read.
        Position {
            block: self.address - self.table,
            offset: self.offset as u16,
        }
    }

    /// The rest of the block the cursor is in, at least a byte.
    fn available(&mut self) -> Result<Arc<MetadataBlock>, ReadError> {
        loop {
            let block = match &self.block {
                Some(block) => Arc::clone(block),
                None => {
                    let block = self.image.metadata_block(self.what, self.address)?;
                    Arc::clone(self.block.insert(block))
                }
            };
            if self.offset < block.bytes.len() {
                return Ok(block);
            }
            if self.offset > block.bytes.len() {
                return Err(ReadError::Damaged {
                    what: self.what,
                    offset: self.address,
                    reason: Damage::Uncompressed {
                        expected: self.offset as u64,
                        found: block.bytes.len() as u64,
                    },
                });
            }
            self.address = block.next;
            self.offset = 0;
            self.block = None;
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<(), ReadError> {
        let mut done = 0;
        while done < buffer.len() {
            let block = self.available()?;
            let rest = &block.bytes[self.offset..];
            let n = rest.len().min(buffer.len() - done);
            buffer[done..done + n].copy_from_slice(&rest[..n]);
            self.offset += n;
            done += n;
        }
        Ok(())
    }

    /// Reads bytes whose number comes from the image; memory is taken only for what is there.
    pub(super) fn read_vec(&mut self, length: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let block = self.available()?;
            let rest = &block.bytes[self.offset..];
            let n = rest.len().min(length - bytes.len());
            bytes.extend_from_slice(&rest[..n]);
            self.offset += n;
        }
        Ok(bytes)
    }

    /// Goes past bytes without looking at them.
    pub(super) fn skip(&mut self, mut length: u64) -> Result<(), ReadError> {
        while length > 0 {
            let block = self.available()?;
            let n = length.min((block.bytes.len() - self.offset) as u64);
            self.offset += n as usize;
            length -= n;
        }
        Ok(())
    }

    pub(super) fn u32(&mut self) -> Result<u32, ReadError> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}
