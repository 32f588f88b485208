//! The end of what is written: one cursor, large writes.

use std::io;

use lithify_storage::Storage;

/// Bytes collected before a write.
const BUFFER_LEN: usize = 1 << 20;

/// Pieces from this length on go to the storage without being collected: below, a write of its own costs more than
/// the copy.
const DIRECT_LEN: usize = 128 << 10;

/// Bytes to write where zeros are asked for.
pub static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What a writer is doing, which makes an error of its own of the storage's.
pub trait Operation: Copy {
    /// The writer's error.
    type Error;

    /// Makes the writer's error of the storage's.
    fn failed(self, source: io::Error) -> Self::Error;
}

/// Appends to a storage, in large writes.
///
/// ```
/// use lithify_fskit::{Appender, Operation};
///
/// #[derive(Clone, Copy)]
/// struct Write;
///
/// impl Operation for Write {
///     type Error = std::io::Error;
///
///     fn failed(self, source: std::io::Error) -> std::io::Error {
///         source
///     }
/// }
///
/// let mut image = Vec::new();
/// let mut appender = Appender::new(4, 1, Write);
/// appender.append(&mut image, b"data")?;
/// assert_eq!(appender.offset(), 8);
/// appender.flush(&mut image)?;
/// assert_eq!(image, b"\0\0\0\0data");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Appender<O> {
    /// Where `buffer` belongs in the storage.
    base: u64,
    buffer: Vec<u8>,
    /// Large writes start and end at multiples of it.
    alignment: u64,
    operation: O,
}

impl<O: Operation> Appender<O> {
    /// Starts at an offset, which should be a multiple of the alignment; that is at least 1.
    #[must_use]
    pub const fn new(offset: u64, alignment: u64, operation: O) -> Self {
        Self {
            base: offset,
            buffer: Vec::new(),
            alignment,
            operation,
        }
    }

    /// Offset of the next byte.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The storage's.
    pub fn append<S: Storage + ?Sized>(
        &mut self,
        storage: &mut S,
        mut data: &[u8],
    ) -> Result<(), O::Error> {
        if data.len() >= DIRECT_LEN {
            // Complete the block begun, so that the rest starts at a boundary and needs no copy.
            let to_boundary = self.offset().next_multiple_of(self.alignment) - self.offset();
            let (head, rest) = data.split_at((to_boundary as usize).min(data.len()));
            self.buffer.extend_from_slice(head);
            self.flush(storage)?;
            let whole = rest.len() - rest.len() % self.alignment as usize;
            let (blocks, tail) = rest.split_at(whole);
            self.write(storage, blocks)?;
            data = tail;
        }
        while self.buffer.len() + data.len() >= BUFFER_LEN {
            let room = BUFFER_LEN.saturating_sub(self.buffer.len());
            let (head, rest) = data.split_at(room.min(data.len()));
            self.buffer.extend_from_slice(head);
            self.flush(storage)?;
            data = rest;
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// Appends zeros up to an offset, which must not be behind.
    ///
    /// # Errors
    /// The storage's.
    pub fn zeros_to<S: Storage + ?Sized>(
        &mut self,
        storage: &mut S,
        offset: u64,
    ) -> Result<(), O::Error> {
        debug_assert!(offset >= self.offset());
        while self.offset() < offset {
            let n = (offset - self.offset()).min(ZEROS.len() as u64) as usize;
            self.append(storage, &ZEROS[..n])?;
        }
        Ok(())
    }

    /// Appends zeros up to the next multiple of the alignment.
    ///
    /// # Errors
    /// The storage's.
    pub fn pad<S: Storage + ?Sized>(&mut self, storage: &mut S) -> Result<(), O::Error> {
        self.zeros_to(storage, self.offset().next_multiple_of(self.alignment))
    }

    /// Goes on at an offset, which must not be behind; what lies between is not written.
    ///
    /// # Errors
    /// The storage's.
    pub fn leave_out<S: Storage + ?Sized>(
        &mut self,
        storage: &mut S,
        offset: u64,
    ) -> Result<(), O::Error> {
        debug_assert!(offset >= self.offset());
        self.flush(storage)?;
        self.base = offset;
        Ok(())
    }

    /// Forgets what was appended from an offset on. What had been written is overwritten by what comes.
    pub fn rewind(&mut self, offset: u64) {
        match offset.checked_sub(self.base) {
            Some(kept) => self.buffer.truncate(kept as usize),
            None => {
                self.buffer.clear();
                self.base = offset;
            }
        }
    }

    /// Writes what has been collected.
    ///
    /// # Errors
    /// The storage's.
    pub fn flush<S: Storage + ?Sized>(&mut self, storage: &mut S) -> Result<(), O::Error> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.write(storage, &buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    fn write<S: Storage + ?Sized>(&mut self, storage: &mut S, data: &[u8]) -> Result<(), O::Error> {
        if data.is_empty() {
            return Ok(());
        }
        storage
            .write_all_at(data, self.base)
            .map_err(|source| self.operation.failed(source))?;
        self.base += data.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy)]
    struct Write;

    impl Operation for Write {
        type Error = io::Error;

        fn failed(self, source: io::Error) -> io::Error {
            source
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Whatever the lengths, what was kept stands where it was appended.
        #[test]
        fn bytes_arrive(
            alignment in prop_oneof![Just(1_u64), Just(4096)],
            pieces in prop::collection::vec(
                (prop_oneof![0..5000_usize, 100_000..300_000_usize, Just(BUFFER_LEN)], 0..6_u8), 0..12,
            ),
        ) {
            let (mut image, mut model) = (vec![b'h'; 4096], vec![b'h'; 4096]);
            let mut appender = Appender::new(4096, alignment, Write);
            for (number, &(length, then)) in pieces.iter().enumerate() {
                let data = vec![number as u8 + 1; length];
                appender.append(&mut image, &data).unwrap();
                let before = model.len();
                model.extend_from_slice(&data);
                match then {
                    0 => {
                        appender.pad(&mut image).unwrap();
                        model.resize(model.len().next_multiple_of(alignment as usize), 0);
                    }
                    1 => {
                        let kept = before + length / 2;
                        appender.rewind(kept as u64);
                        model.truncate(kept);
                    }
                    2 => {
                        let end = model.len() + 70_000;
                        appender.zeros_to(&mut image, end as u64).unwrap();
                        model.resize(end, 0);
                    }
                    _ => {}
                }
                prop_assert_eq!(appender.offset(), model.len() as u64);
            }
            appender.flush(&mut image).unwrap();
            // What was written before it was forgotten may stand behind the end.
            image.truncate(model.len());
            prop_assert!(image == model);
        }
    }
}
