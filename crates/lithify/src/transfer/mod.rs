//! Images from one place to another.

mod copy; // the verbs
mod destination; // where images go
mod plan; // what is to be transferred
mod registry; // to a registry
mod run; // doing it
mod synthetic; // manifests for images without

pub(crate) use destination::{BlobSource, Destination, Placed};

pub use copy::{CopyOptions, CopyReport, PullOptions, PullPolicy, copy, pull, tag};
pub use run::TransferCounts;
