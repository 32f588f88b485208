//! Limits on what the filesystem of a layer asks for, entry by entry.

use lithify_tree::{Entry, EntryKind, LayerEntries};

use crate::error::NativeLayerError;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// A count of what the entries of a filesystem ask for, held against the limits.
#[derive(Debug)]
pub(crate) struct Intake<'a> {
    session: &'a Session,
    budgets: &'a Budgets,
    entries: u64,
    /// Bytes of data: the same blocks can be the data of any number of files.
    data: u64,
    memory: u64,
}

impl<'a> Intake<'a> {
    pub(crate) fn new(session: &'a Session, budgets: &'a Budgets) -> Self {
        Self {
            session,
            budgets,
            entries: 0,
            data: 0,
            memory: 0,
        }
    }

    /// Returns the number of entries so far.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Counts an entry, before its data is read.
    pub(crate) fn take(&mut self, entry: &Entry) -> Result<(), NativeLayerError> {
        let limits = &self.session.limits.layer;
        let over = |what, limit, option| {
            Err(NativeLayerError::Limit {
                what,
                limit,
                option,
            })
        };
        self.budgets.entry(entry)?;
        self.entries += 1;
        if self.entries > limits.entries {
            return over("entries", limits.entries, "entries");
        }
        if let EntryKind::File { size, segments } = &entry.kind {
            if *size > limits.file_bytes {
                return over("bytes in one file", limits.file_bytes, "file_bytes");
            }
            self.data = self.data.saturating_add(match segments {
                Some(segments) => segments.iter().map(|s| s.length).sum(),
                None => *size,
            });
            if self.data > limits.tar_bytes {
                return over("bytes of data", limits.tar_bytes, "tar_bytes");
            }
        }
        Ok(())
    }

    /// Counts what is kept of the entries.
    pub(crate) fn kept(&mut self, layer: &LayerEntries) -> Result<(), NativeLayerError> {
        Ok(self.budgets.kept(layer, &mut self.memory)?)
    }
}
