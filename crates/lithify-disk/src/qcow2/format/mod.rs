//! The structures in the file. All numbers are big-endian.

mod cluster; // the unit of allocation
pub(super) mod entry; // entries of tables
mod error; // errors of single structures
mod extension; // what follows the header
pub(super) mod fields; // the header as it stands
mod header; // the header as it is understood
mod kind; // formats

pub use cluster::ClusterSize;
pub use error::{EntryProblem, Extension, HeaderError, Structure};
pub(super) use extension::{BACKING_FORMAT, END, write_extension};
pub(super) use header::{BACKING_NAME_MAX, L1_TABLE_MAX, REFCOUNT_TABLE_MAX, SIZE_MAX};
pub use header::{BackingName, DataFileName, Header};
pub use kind::{Compression, Format};
