//! The blocks of an image, as they are once its journal is replayed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lithify_fskit::read::Cache;

use crate::format::journal::parse::MAGIC;
use crate::{Damage, ReadAt, ReadError};

/// Blocks of metadata kept.
const CACHED: usize = 64;

/// A block's newer content, which is in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newer {
    /// The block of the image where that content is.
    pub(super) block: u64,
    /// Its first four bytes are the journal's magic number, and stand there as zeros.
    pub(super) is_escaped: bool,
}

/// A filesystem's blocks.
#[derive(Debug)]
pub(super) struct Blocks<R> {
    pub(super) source: R,
    pub(super) block_size: u32,
    /// Number of blocks.
    pub(super) count: u64,
    /// Blocks whose content is in the journal.
    pub(super) newer: BTreeMap<u64, Newer>,
    cache: Mutex<Cache<Vec<u8>>>,
}

impl<R: ReadAt> Blocks<R> {
    pub(super) fn new(source: R, block_size: u32, count: u64) -> Self {
        Self {
            source,
            block_size,
            count,
            newer: BTreeMap::new(),
            cache: Mutex::new(Cache::new(CACHED)),
        }
    }

    /// Puts newer content in the place of blocks.
    pub(super) fn replay(&mut self, newer: BTreeMap<u64, Newer>) {
        self.newer = newer;
        self.cache = Mutex::new(Cache::new(CACHED));
    }

    /// Checks that blocks are there.
    pub(super) fn check(&self, block: u64, length: u64) -> Result<(), Damage> {
        match block.checked_add(length) {
            Some(end) if end <= self.count => Ok(()),
            _ => Err(Damage::OutOfRange {
                block,
                blocks: self.count,
            }),
        }
    }

    /// Reads a block that is there.
    pub(super) fn block(&self, block: u64) -> Result<Arc<Vec<u8>>, ReadError> {
        // Nothing panics while it holds the lock.
        let cached = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = cached.get(block) {
            return Ok(bytes);
        }
        drop(cached);
        let mut bytes = vec![0; self.block_size as usize];
        self.read(block * u64::from(self.block_size), &mut bytes)?;
        let bytes = Arc::new(bytes);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(block, Arc::clone(&bytes));
        Ok(bytes)
    }

    /// Reads bytes that are inside of the image.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        read(&self.source, offset, buffer)?;
        if self.newer.is_empty() || buffer.is_empty() {
            return Ok(());
        }
        let size = u64::from(self.block_size);
        let end = offset + buffer.len() as u64;
        for (&block, newer) in self.newer.range(offset / size..end.div_ceil(size)) {
            let from = (block * size).max(offset);
            let to = ((block + 1) * size).min(end);
            let target = &mut buffer[(from - offset) as usize..(to - offset) as usize];
            let inside = from - block * size;
            read(&self.source, newer.block * size + inside, target)?;
            if newer.is_escaped {
                let magic = MAGIC.to_be_bytes();
                let first = inside.min(4) as usize;
                for (byte, right) in target.iter_mut().zip(&magic[first..]) {
                    *byte = *right;
                }
            }
        }
        Ok(())
    }
}

/// Reads bytes of a source.
pub(super) fn read<R: ReadAt>(source: &R, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
    source
        .read_exact_at(buffer, offset)
        .map_err(|source| ReadError::Io {
            offset,
            length: buffer.len(),
            source,
        })
}
