//! squashfs images: a parallel streaming writer, and a reader that trusts nothing.
//!
//! squashfs is Linux's compressed read-only filesystem. [`Writer`] makes an image from a merged
//! [`Tree`](lithify_tree::Tree): file data is compressed as it is decoded, on several threads, and the same data in the
//! same order gives the same bytes whatever their number. [`Image`] reads images, whoever made them, and
//! [`Image::verify`] reads all of one to say whether Linux will find everything in it. The format is described in
//! `docs/formats/squashfs.md`.
#![forbid(unsafe_code)]

mod codec; // compressing one block
mod compression; // how, by its name
mod error; // what can go wrong
mod format; // the structures on disk
mod read; // images as they are
mod write; // images as they become

pub use compression::{Compression, UnknownCompression};
pub use error::{Damage, Operation, ReadError, WriteError};
pub use format::superblock::{Compressor, Superblock};
pub use lithify_fskit::read::FileType;
pub use lithify_storage::{ReadAt, Storage};
pub use read::{
    DirEntry, Entries, FileReader, Image, Inode, OverlayEntries, Problem, ProblemKind, ReadDir,
    TableProblem, Verification, Walk, WalkEntry,
};
pub use write::{
    DataOptions, FinishReport, ImageOptions, UnsupportedXattrs, Writer, unsupported_xattrs,
};

/// The version of the bytes that this crate's writer makes of given content and options. It rises with every change of
/// them, also of a default, so that nothing older is taken for what would be made now. `reproducible.rs` of the command's
/// tests holds the bytes of each version.
pub const WRITER_VERSION: u32 = 1;
