//! Effort, memory, threads.

use std::num::NonZeroUsize;

use lithify_cancel::CancelToken;

use crate::diff::Effort;
use crate::format::Compression;

/// The way a delta is created.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// The effort to make it small.
    pub effort: Effort,
    /// Most bytes of memory for files that are compared, and for the compressor. One file that takes more is worked on alone, in parts if
    /// it has to be. Default: 512 MiB.
    pub memory: u64,
    /// Threads that compare files. Default: as many as run at the same time.
    pub threads: NonZeroUsize,
    /// Bounds on what the new layer's headers may ask for.
    pub limits: lithify_tar::Limits,
    /// Stops the work.
    pub cancel: CancelToken,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            effort: Effort::Default,
            memory: 512 << 20,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            limits: lithify_tar::Limits::default(),
            cancel: CancelToken::default(),
        }
    }
}

impl CreateOptions {
    /// Returns the bytes of memory for files that are compared.
    pub(super) fn for_files(&self) -> u64 {
        let rest = self.memory.saturating_sub(self.compression().memory());
        rest.max(self.memory / 4)
    }

    /// Returns the size of the largest file that is read whole, in bytes. Larger ones are read in parts.
    pub(super) fn largest_file(&self) -> u64 {
        self.for_files() / 4
    }

    /// Returns the size of a part, in bytes.
    pub(super) fn part_of_file(&self) -> usize {
        let part = self.for_files() / 16;
        usize::try_from(part).unwrap_or(usize::MAX).max(1)
    }

    /// Returns the memory for an index of an old file, in bytes.
    pub(super) fn index_memory(&self) -> u64 {
        match self.effort {
            Effort::Fast | Effort::Default => self.for_files() / 5,
            Effort::Best => self.for_files() / 2,
        }
    }

    /// Returns the way operations are compressed.
    pub(super) const fn compression(&self) -> Compression {
        match self.effort {
            Effort::Fast => Compression::Fast,
            Effort::Default => Compression::Default,
            Effort::Best => Compression::Best,
        }
    }
}
