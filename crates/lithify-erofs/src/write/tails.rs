//! Ends of files that may find room behind their inodes: kept until the inodes are placed.

use std::fmt;

use super::SpillFactory;
use crate::error::Operation;
use crate::{Storage, WriteError};

/// Bytes written to the temporary file in one go.
const WRITE_LEN: usize = 256 << 10;

/// Bytes read from the temporary file in one go.
const WINDOW_LEN: usize = 32 << 10;

/// Windows kept: tails are asked for nearly in the order they came, inodes of a few directories mixed.
const WINDOWS: usize = 64;

/// Most memory reserved before it is needed.
const RESERVE_MAX: usize = 64 << 20;

/// Ends of files, by what [`Form::Tail`](super::contents::Form::Tail) says of each.
pub(crate) trait Tails {
    /// Reads a tail.
    fn read(&mut self, at: u64, length: usize) -> Result<&[u8], WriteError>;
}

/// A log of tails: the first in memory, the rest in a temporary file.
pub(crate) struct TailStore {
    memory: Vec<u8>,
    memory_max: usize,
    factory: Option<SpillFactory>,
    spill: Option<Spill>,
}

/// The part of the log in the temporary file.
struct Spill {
    file: Box<dyn Storage + Send>,
    /// Length of the part already in the file.
    written: u64,
    /// What follows it.
    pending: Vec<u8>,
    /// Parts of the file, each at its number modulo the number of windows.
    windows: Vec<Window>,
    /// A tail that is in two windows.
    split: Vec<u8>,
}

/// A part of the file that has been read.
#[derive(Default)]
struct Window {
    number: Option<u64>,
    bytes: Vec<u8>,
}

impl fmt::Debug for TailStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TailStore")
            .field("memory", &self.memory.len())
            .field("spilled", &self.spill.as_ref().map(|s| s.written))
            .finish_non_exhaustive()
    }
}

impl TailStore {
    /// A log that keeps `memory_max` bytes in memory, or everything when there is no temporary file to be had.
    pub(crate) fn new(memory_max: usize, factory: Option<SpillFactory>) -> Self {
        Self {
            memory: Vec::new(),
            memory_max,
            factory,
            spill: None,
        }
    }

    /// Adds a tail and says where it is.
    pub(crate) fn push(&mut self, tail: &[u8]) -> Result<u64, WriteError> {
        if self.spill.is_none()
            && self.memory.len().saturating_add(tail.len()) > self.memory_max
            && let Some(factory) = self.factory.take()
        {
            let file = factory().map_err(Operation::CreateSpill.failed())?;
            self.spill = Some(Spill::new(file));
        }
        let Some(spill) = &mut self.spill else {
            if self.memory.is_empty() && self.factory.is_some() {
                // Untouched memory costs nothing, growing would copy.
                self.memory.reserve_exact(self.memory_max.min(RESERVE_MAX));
            }
            self.memory.extend_from_slice(tail);
            return Ok((self.memory.len() - tail.len()) as u64);
        };
        let at = self.memory.len() as u64 + spill.written + spill.pending.len() as u64;
        spill.pending.extend_from_slice(tail);
        if spill.pending.len() >= WRITE_LEN {
            spill.flush()?;
        }
        Ok(at)
    }

    /// Ends writing.
    pub(crate) fn seal(&mut self) -> Result<(), WriteError> {
        self.spill.as_mut().map_or(Ok(()), Spill::flush)
    }
}

impl Tails for TailStore {
    /// Reads a tail back, after [`seal`](Self::seal).
    fn read(&mut self, at: u64, length: usize) -> Result<&[u8], WriteError> {
        let in_memory = self.memory.len() as u64;
        if at < in_memory {
            return Ok(&self.memory[at as usize..][..length]);
        }
        match &mut self.spill {
            Some(spill) => spill.read(at - in_memory, length),
            None => Ok(&[]),
        }
    }
}

impl Spill {
    fn new(file: Box<dyn Storage + Send>) -> Self {
        Self {
            file,
            written: 0,
            pending: Vec::with_capacity(WRITE_LEN),
            windows: Vec::new(),
            split: Vec::new(),
        }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.file
            .write_all_at(&self.pending, self.written)
            .map_err(Operation::WriteSpill.failed())?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn read(&mut self, at: u64, length: usize) -> Result<&[u8], WriteError> {
        let number = at / WINDOW_LEN as u64;
        let inside = (at % WINDOW_LEN as u64) as usize;
        if inside + length > WINDOW_LEN {
            self.split.resize(length, 0);
            self.file
                .read_exact_at(&mut self.split, at)
                .map_err(Operation::ReadSpill.failed())?;
            return Ok(&self.split);
        }
        self.windows.resize_with(WINDOWS, Window::default);
        let window = &mut self.windows[(number % WINDOWS as u64) as usize];
        if window.number != Some(number) {
            let start = number * WINDOW_LEN as u64;
            window.number = None;
            window
                .bytes
                .resize((self.written - start).min(WINDOW_LEN as u64) as usize, 0);
            self.file
                .read_exact_at(&mut window.bytes, start)
                .map_err(Operation::ReadSpill.failed())?;
            window.number = Some(number);
        }
        Ok(&window.bytes[inside..inside + length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_come_back_from_memory_and_file() {
        let factory: SpillFactory = Box::new(|| Ok(Box::new(Vec::new())));
        let mut store = TailStore::new(10_000, Some(factory));
        let tails: Vec<Vec<u8>> = (0..2000_usize)
            .map(|i| vec![i as u8; 1 + i * 37 % 4000])
            .collect();
        let at: Vec<u64> = tails.iter().map(|t| store.push(t).unwrap()).collect();
        store.seal().unwrap();
        assert!(store.memory.len() <= 10_000 && store.spill.is_some());
        for i in (0..2000).step_by(7).chain((0..2000).rev()) {
            assert_eq!(store.read(at[i], tails[i].len()).unwrap(), tails[i]);
        }
    }
}
