//! The bound on the work of choosing an image.

use crate::{Error, Limits};

/// What may still be read while looking for an image.
///
/// A small document can list one large one thousands of times, so not only memory but the sum
/// of all reads is bounded.
#[derive(Debug)]
pub(super) struct Budget<'a> {
    limits: &'a Limits,
    entries: usize,
    bytes: u64,
}

impl<'a> Budget<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            entries: limits.index_entries,
            bytes: limits.document_bytes,
        }
    }

    /// Takes one entry of an index.
    pub(super) fn entry(&mut self) -> Result<(), Error> {
        let limit = self.limits.index_entries;
        self.entries = self
            .entries
            .checked_sub(1)
            .ok_or(Error::IndexEntries { limit })?;
        Ok(())
    }

    /// Takes the bytes of one document, before it is read.
    pub(super) fn bytes(&mut self, size: u64) -> Result<(), Error> {
        let limit = self.limits.document_bytes;
        self.bytes = self
            .bytes
            .checked_sub(size)
            .ok_or(Error::DocumentBytes { limit })?;
        Ok(())
    }
}
