//! How a layer is to be read.

use crate::{CancelToken, Limits};

/// How a layer is to be read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What it may ask for.
    pub limits: Limits,
    /// Who does the work.
    pub threading: Threading,
    /// Stops it early.
    pub cancel: CancelToken,
}

/// Who decompresses and hashes a layer. Results, errors included, are the same either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Threading {
    /// Three threads of the reader's own, ahead of its caller: to read and hash the blob, to decompress it, to hash the tar.
    #[default]
    Pipelined,
    /// The caller's thread, when it asks for the next bytes.
    Inline,
}
