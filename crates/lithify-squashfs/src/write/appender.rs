//! The end of what is written: one cursor, large writes.

use crate::error::Operation;
use crate::{Storage, WriteError};

/// Bytes collected before a write.
const BUFFER_LEN: usize = 1 << 20;

/// Appends to a storage.
#[derive(Debug)]
pub(crate) struct Appender {
    /// Where `buffer` belongs in the storage.
    base: u64,
    buffer: Vec<u8>,
    operation: Operation,
}

impl Appender {
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

    pub(crate) fn append<S: Storage + ?Sized>(
        &mut self,
        storage: &mut S,
        data: &[u8],
    ) -> Result<(), WriteError> {
        if self.buffer.len() + data.len() > BUFFER_LEN {
            self.flush(storage)?;
        }
        if data.len() >= BUFFER_LEN {
            return self.write(storage, data);
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(BUFFER_LEN);
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// Writes what has been collected.
    pub(crate) fn flush<S: Storage + ?Sized>(&mut self, storage: &mut S) -> Result<(), WriteError> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.write(storage, &buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    /// Forgets what was appended from an offset on.
    pub(crate) fn rewind(&mut self, offset: u64) {
        match offset.checked_sub(self.base) {
            Some(kept) => self.buffer.truncate(kept as usize),
            None => {
                self.buffer.clear();
                self.base = offset;
            }
        }
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
