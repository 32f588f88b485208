//! How a layer is to be read.

use lithify_cancel::Budget;

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
    /// What `.wh.` names mean.
    pub names: Names,
    /// Bytes of decompressed tar that this layer and others may have together. Default: any number.
    pub tar_budget: Budget,
}

/// What names that begin with `.wh.` mean in a tar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Names {
    /// What they mean in a layer: whiteouts, opaque markers, AUFS' own.
    #[default]
    Layer,
    /// Nothing, as in the tar of a root filesystem. No image can hold such names, so they are errors.
    Plain,
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
