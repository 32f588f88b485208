//! Filesystems in image files, of whichever kind: written, read, verified.
//!
//! Adding a kind means a row in `kind.rs`, and an arm in the writer (`filesystem.rs`), the reader (`image.rs`) and the
//! choice of compression.

mod compression; // how data is compressed
pub(crate) mod disk; // disks for virtual machines, as they are
mod filesystem; // image files being written
pub(crate) mod image; // image files as they are
mod kind; // the table of kinds
pub(crate) mod verify; // checks
pub(crate) mod verity; // hash trees
mod xattrs; // attributes a kind cannot hold

pub use compression::{Compression, CompressionAlgorithm, UnknownCompression};
pub(crate) use filesystem::{Filesystem, FsError, FsOptions, FsWriter, Placement};
pub(crate) use kind::Kind;
pub use verify::VerifyReport;
