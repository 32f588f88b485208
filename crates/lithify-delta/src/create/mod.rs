//! Tars to deltas.
//!
//! The files of the old image are read once, to know them by their content ([`OldImage`]). The new layer's tar then passes once:
//! for each file in it the base is chosen that has most in common with it, several threads [find](crate::diff) what is
//! different, and one compresses the operations, in the order of the tar. The delta is the same for any number of threads.

mod base; // which old file a new one is like
mod error; // reasons why a delta cannot be created
mod files; // a file of the new layer, as operations
mod layer; // a tar, as it passes
mod names; // names without their versions
mod old; // the old image
mod options; // effort, memory, threads
mod print; // what a content is known by

pub use error::CreateError;
pub use layer::{LayerDelta, Report};
pub use old::{OldFile, OldFiles, OldImage};
pub use options::CreateOptions;
