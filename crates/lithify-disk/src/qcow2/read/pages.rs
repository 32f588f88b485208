//! Pieces of tables, kept in bounded memory: in one bound for all files of a chain, where
//! `lithify_storage::Cached` has one for each.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lithify_storage::ReadAt;

/// Bytes of a piece, and what its place in the file is a multiple of.
const PAGE: u64 = 16 << 10;
/// Fewest pieces kept: those of an L1 and of an L2 table.
const PAGES_MIN: usize = 8;

/// Pieces of the tables of all files of a chain. What was not used for the longest time is
/// forgotten first.
#[derive(Debug)]
pub(super) struct Pages {
    /// Most pieces kept.
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Pieces by depth and number.
    pages: HashMap<(usize, u64), Page>,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Page {
    bytes: Arc<[u8]>,
    used: u64,
}

/// The rest of a piece, from some offset on.
#[derive(Debug)]
pub(super) struct Rest {
    bytes: Arc<[u8]>,
    start: usize,
}

impl Rest {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// A file of the chain whose tables are read.
#[derive(Debug)]
pub(super) struct TableFile<'a, R> {
    /// Its depth.
    pub(super) depth: usize,
    pub(super) storage: &'a R,
    /// Its size in bytes.
    pub(super) size: u64,
}

impl Pages {
    /// Keeps up to `memory` bytes, 128 KiB at least.
    pub(super) fn new(memory: usize) -> Self {
        Self {
            capacity: (memory / PAGE as usize).max(PAGES_MIN),
            state: Mutex::new(State::default()),
        }
    }

    /// Returns bytes of a file from `offset` on, up to the next multiple of 16 KiB or the end of
    /// the file.
    pub(super) fn from<R: ReadAt>(&self, file: &TableFile<'_, R>, offset: u64) -> io::Result<Rest> {
        let number = offset / PAGE;
        let start = (offset % PAGE) as usize;
        let key = (file.depth, number);
        if let Some(bytes) = self.lock().find(key) {
            return Ok(Rest { bytes, start });
        }
        let length = file.size.saturating_sub(number * PAGE).min(PAGE);
        let mut bytes = vec![0; length as usize];
        file.storage.read_exact_at(&mut bytes, number * PAGE)?;
        let bytes: Arc<[u8]> = bytes.into();
        self.lock().keep(key, Arc::clone(&bytes), self.capacity);
        Ok(Rest { bytes, start })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&mut self, key: (usize, u64)) -> Option<Arc<[u8]>> {
        self.clock += 1;
        let page = self.pages.get_mut(&key)?;
        page.used = self.clock;
        Some(Arc::clone(&page.bytes))
    }

    fn keep(&mut self, key: (usize, u64), bytes: Arc<[u8]>, capacity: usize) {
        if self.pages.len() >= capacity {
            let oldest = self.pages.iter().min_by_key(|(_, page)| page.used);
            if let Some((&oldest, _)) = oldest {
                self.pages.remove(&oldest);
            }
        }
        let used = self.clock;
        self.pages.insert(key, Page { bytes, used });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_is_in_the_file_and_few() {
        let bytes: Vec<u8> = (0..50 * PAGE + 100).map(|n| (n / 7) as u8).collect();
        let pages = Pages::new(0);
        let file = TableFile {
            depth: 3,
            storage: &bytes,
            size: bytes.len() as u64,
        };
        for n in 0..500_u64 {
            let offset = n * 7919 % bytes.len() as u64;
            let rest = pages.from(&file, offset).unwrap();
            let end = ((offset / PAGE + 1) * PAGE).min(bytes.len() as u64);
            assert!(rest.bytes() == &bytes[offset as usize..end as usize]);
            assert!(pages.lock().pages.len() <= PAGES_MIN);
        }
    }
}
