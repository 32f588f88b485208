//! Effort, memory, threads.

use std::num::NonZeroUsize;

use lithify_cancel::CancelToken;

use crate::diff::Effort;
use crate::format::Compression;

/// The way a delta is created.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// How hard it is tried to make it small.
    pub effort: Effort,
    /// Most bytes of memory for files and what is known of them. One file that takes more is worked on alone, in parts if it has to
    /// be. Default: 512 MiB.
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
    /// Returns the way operations are compressed.
    pub(super) const fn compression(&self) -> Compression {
        match self.effort {
            Effort::Fast => Compression::Fast,
            Effort::Default => Compression::Default,
            Effort::Best => Compression::Best,
        }
    }
}
