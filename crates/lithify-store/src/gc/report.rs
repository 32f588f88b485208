//! What is to be collected, and what came of it.

use std::time::Duration;

use crate::BlobInfo;
use crate::scan::{Bytes, EntryInfo};

/// What is collected.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct GcOptions {
    /// Only say what would be removed.
    pub dry_run: bool,
    /// Keep entries and blobs no image needs, the most recently used first, as long as all of them together have at most
    /// this many bytes.
    pub keep_bytes: Option<u64>,
    /// Keep entries and blobs that were used within this time, and beginnings of blobs that were written to. Other tools
    /// know nothing of leases: while they put images into the store, this is what protects them.
    pub older_than: Option<Duration>,
    /// Remove what was quarantined too.
    pub quarantine: bool,
}

impl GcOptions {
    /// Everything no image needs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to only say what would be removed.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// How many bytes of entries and blobs no image needs to keep.
    #[must_use]
    pub fn keep_bytes(mut self, bytes: Option<u64>) -> Self {
        self.keep_bytes = bytes;
        self
    }

    /// How long entries and blobs are kept after their last use.
    #[must_use]
    pub fn older_than(mut self, age: Option<Duration>) -> Self {
        self.older_than = age;
        self
    }

    /// Whether to remove what was quarantined.
    #[must_use]
    pub fn quarantine(mut self, remove: bool) -> Self {
        self.quarantine = remove;
        self
    }
}

/// Why an entry or a blob was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kept {
    /// An image needs it.
    Referenced,
    /// A process uses it at the moment.
    InUse,
    /// [`GcOptions::keep_bytes`] or [`GcOptions::older_than`] say so.
    Recent,
}

/// What collection did, or would do.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct GcReport {
    /// Entries removed, least recently used first.
    pub removed: Vec<EntryInfo>,
    /// Bytes of those. Outputs that are links to them keep the disk's space.
    pub removed_bytes: Bytes,
    /// Entries kept, and why.
    pub kept: Vec<(EntryInfo, Kept)>,
    /// Blobs removed, least recently used first.
    pub blobs: Vec<BlobInfo>,
    /// Bytes of those.
    pub blob_bytes: Bytes,
    /// Blobs kept, and why.
    pub kept_blobs: Vec<(BlobInfo, Kept)>,
    /// Beginnings of blobs removed.
    pub partials: u64,
    /// Bytes of those.
    pub partial_bytes: Bytes,
    /// Files and directories dead processes left under construction, removed.
    pub leftovers: u64,
    /// Bytes of those.
    pub leftover_bytes: Bytes,
    /// Lock files of dead processes, removed.
    pub locks: u64,
    /// Quarantined things removed.
    pub quarantined: u64,
}
