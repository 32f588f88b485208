//! What all layers of an image may ask for together.

use lithify_cancel::{Budget, BudgetExceeded};
use lithify_layer::{Options, Threading};
use lithify_tree::{DataSegment, Entry, EntryBudgets, EntryKind, LayerEntries};

use crate::Session;

/// Counters that the layers of one image share, however many of them are decoded at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budgets {
    /// Entries, their names and attributes.
    pub(crate) entries: EntryBudgets,
    /// Bytes of decompressed tar.
    pub(crate) tar_bytes: Budget,
    /// Bytes written.
    pub(crate) output_bytes: Budget,
    memory_bytes: Budget,
    /// Whether data of files is output as it comes, and nothing else counts it.
    data_is_output: bool,
}

impl Budgets {
    /// Starts with nothing used up.
    pub(crate) fn new(session: &Session) -> Self {
        let limits = &session.limits.total;
        let mut entries = EntryBudgets::default();
        entries.entries = Budget::new("image_entries", "entries", limits.entries);
        entries.name_bytes = Budget::new(
            "image_name_bytes",
            "bytes of names and link targets",
            limits.name_bytes,
        );
        entries.xattr_bytes = Budget::new(
            "image_xattr_bytes",
            "bytes of extended attributes",
            limits.xattr_bytes,
        );
        Self {
            entries,
            tar_bytes: Budget::new(
                "image_tar_bytes",
                "bytes of decompressed layers",
                limits.tar_bytes,
            ),
            output_bytes: Budget::new("output_bytes", "bytes of output", limits.output_bytes),
            memory_bytes: Budget::new(
                "memory_bytes",
                "bytes of memory for entries",
                limits.memory_bytes,
            ),
            data_is_output: false,
        }
    }

    /// Starts the same for a target that is the data of files.
    pub(crate) fn of_data(session: &Session) -> Self {
        Self {
            data_is_output: true,
            ..Self::new(session)
        }
    }

    /// Returns the way in which a layer is decoded that shares these.
    pub(crate) fn layer_options(&self, session: &Session) -> Options {
        Options {
            limits: session.limits.layer,
            threading: match session.threads().get() {
                1 => Threading::Inline,
                _ => Threading::Pipelined,
            },
            cancel: session.cancel.clone(),
            tar_budget: self.tar_bytes.clone(),
            ..Options::default()
        }
    }

    /// Counts an entry, before its data is taken.
    pub(crate) fn entry(&self, entry: &Entry) -> Result<(), BudgetExceeded> {
        self.entries.take(entry)?;
        match &entry.kind {
            EntryKind::File { size, segments } if self.data_is_output => {
                self.output_bytes.take(stored(*size, segments.as_deref()))
            }
            _ => Ok(()),
        }
    }

    /// Counts the memory that entries of a layer take, of which so much was counted.
    pub(crate) fn kept(
        &self,
        entries: &LayerEntries,
        counted: &mut u64,
    ) -> Result<(), BudgetExceeded> {
        let memory = entries.memory();
        let more = memory - *counted;
        *counted = memory;
        self.memory_bytes.take(more)
    }
}

/// Bytes of a file that are no hole.
pub(crate) fn stored(size: u64, segments: Option<&[DataSegment]>) -> u64 {
    segments.map_or(size, |segments| segments.iter().map(|s| s.length).sum())
}
