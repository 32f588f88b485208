//! ext4 filesystem images, written as their contents arrive: the writable root disk of a virtual machine, made without root,
//! without a mount and without a temporary tree.
//!
//! An image is input somebody chose: every number in it is checked before it becomes an offset, and whatever ext4 cannot
//! hold is an error that names it. The same tree and options always give the same bytes: identifiers and times come from
//! them, never from a clock or from chance.
//!
//! What is written is what `mke2fs -t ext4` makes: extents, checksums of all metadata, hashed directories, a journal, room
//! to grow. The byte-exact description is `docs/formats/ext4.md`.
#![forbid(unsafe_code)]

mod error; // why an image cannot be written
mod format; // what stands on the disk
mod geometry; // where it stands
mod write; // writing it

pub use error::{Operation, WriteError};
pub use write::{
    BlockSize, DataOptions, FinishReport, ImageOptions, Journal, WRITER_VERSION, Writer,
    unsupported_xattrs,
};
