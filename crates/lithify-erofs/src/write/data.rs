//! The data area: blocks of files one after another, at a single cursor.

use crate::error::Operation;
use crate::format::{BLOCK_SIZE, NULL_BLOCK};
use crate::{Storage, WriteError};

/// Bytes collected before a write.
const BUFFER_LEN: usize = 1 << 20;

/// Pieces from this length on go to the storage without being collected: below, a write of its own costs more than
/// the copy.
const DIRECT_LEN: usize = 128 << 10;

/// Bytes to write where zeros are asked for.
pub(crate) static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Appends to a storage, in large writes at block boundaries.
#[derive(Debug)]
pub(crate) struct Appender {
    /// Where `buffer` belongs in the storage.
    base: u64,
    buffer: Vec<u8>,
    operation: Operation,
}

impl Appender {
    /// Starts at an offset, which should be that of a block.
    pub(crate) const fn new(offset: u64, operation: Operation) -> Self {
        Self {
            base: offset,
            buffer: Vec::new(),
            operation,
        }
    }

    /// Where the next byte goes.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// The block the next byte is in, if block numbers reach that far.
    pub(crate) fn block(&self) -> Result<u32, WriteError> {
        u32::try_from(self.offset() / BLOCK_SIZE as u64)
            .ok()
            .filter(|&b| b < NULL_BLOCK)
            .ok_or(WriteError::TooLarge)
    }

    /// Appends bytes.
    pub(crate) fn append<S: Storage + ?Sized>(
        &mut self,
        storage: &mut S,
        mut data: &[u8],
    ) -> Result<(), WriteError> {
        if data.len() >= DIRECT_LEN {
            // Complete the block begun, so that the rest starts at a boundary and needs no copy.
            let to_boundary = self.offset().next_multiple_of(BLOCK_SIZE as u64) - self.offset();
            let (head, rest) = data.split_at(to_boundary as usize);
            self.buffer.extend_from_slice(head);
            self.flush(storage)?;
            let (blocks, tail) = rest.split_at(rest.len() - rest.len() % BLOCK_SIZE);
            self.write(storage, blocks)?;
            data = tail;
        }
        while self.buffer.len() + data.len() >= BUFFER_LEN {
            let (head, rest) = data.split_at(BUFFER_LEN - self.buffer.len());
            self.buffer.extend_from_slice(head);
            self.flush(storage)?;
            data = rest;
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// Appends zeros up to an offset, which must not be behind.
    pub(crate) fn zeros_to<S: Storage + ?Sized>(
        &mut self,
        storage: &mut S,
        offset: u64,
    ) -> Result<(), WriteError> {
        debug_assert!(offset >= self.offset());
        while self.offset() < offset {
            let n = (offset - self.offset()).min(ZEROS.len() as u64) as usize;
            self.append(storage, &ZEROS[..n])?;
        }
        Ok(())
    }

    /// Goes on at an offset, which must not be behind; what lies between is not written.
    pub(crate) fn leave_out<S: Storage + ?Sized>(
        &mut self,
        storage: &mut S,
        offset: u64,
    ) -> Result<(), WriteError> {
        debug_assert!(offset >= self.offset());
        self.flush(storage)?;
        self.base = offset;
        Ok(())
    }

    /// Appends zeros up to the next block.
    pub(crate) fn pad<S: Storage + ?Sized>(&mut self, storage: &mut S) -> Result<(), WriteError> {
        self.zeros_to(storage, self.offset().next_multiple_of(BLOCK_SIZE as u64))
    }

    /// Writes what has been collected.
    pub(crate) fn flush<S: Storage + ?Sized>(&mut self, storage: &mut S) -> Result<(), WriteError> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.write(storage, &buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    fn write<S: Storage + ?Sized>(
        &mut self,
        storage: &mut S,
        data: &[u8],
    ) -> Result<(), WriteError> {
        if data.is_empty() {
            return Ok(());
        }
        storage
            .write_all_at(data, self.base)
            .map_err(self.operation.failed())?;
        self.base += data.len() as u64;
        Ok(())
    }
}
