//! Effort, memory, platforms.

use lithify_delta::create::CreateOptions;
use lithify_delta::diff::Effort;

/// The way a delta of images is created.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeltaOptions {
    /// The effort to make it small.
    pub effort: Effort,
    /// Most bytes of memory for comparing and compressing.
    pub memory: u64,
    /// Creates deltas for all platforms that both images are there for, and an index of them.
    pub all_platforms: bool,
    /// Waits until the delta is on the disk.
    pub durable: bool,
}

impl Default for DeltaOptions {
    fn default() -> Self {
        let options = CreateOptions::default();
        Self {
            effort: options.effort,
            memory: options.memory,
            all_platforms: false,
            durable: true,
        }
    }
}
