//! Deltas to tars.
//!
//! A [`Patch`] is read like the tar that it makes, front to back, and keeps nothing of it. What it reads of old files it
//! asks of [`Sources`]. Whether the result is the right one is for its reader to verify, by the layer's diff_id.

mod ahead; // a file that is read in small pieces, mostly onwards
mod error; // why a delta cannot be applied
mod patch; // the tar, as it is read
mod sources; // files of the old image

pub use error::{PatchError, SourceError};
pub use patch::{Patch, PatchOptions};
pub use sources::{Files, Sources};
