//! ext4 filesystem images, written as their contents arrive, and read without a mount: the writable root disk of a virtual machine, made without root,
//! without a mount and without a temporary tree.
//!
//! An image is input somebody chose: every number in it is checked before it becomes an offset, and whatever ext4 cannot
//! hold is an error that names it. The same tree and options always give the same bytes: identifiers and times come from
//! them, never from a clock or from chance.
//!
//! What is written is what `mke2fs -t ext4` makes: extents, checksums of all metadata, hashed directories, a journal, room
//! to grow. [`Image`] reads what this writer, `mke2fs` and the kernel make of such filesystems, and of ext2 and ext3. The byte-exact description is `docs/formats/ext4.md`.
#![forbid(unsafe_code)]

mod error; // what can go wrong
mod format; // what stands on the disk
mod geometry; // where it stands
mod read; // images as they are
mod write; // images as they become

pub use error::{Damage, JournalDamage, Operation, ReadError, WriteError};
pub use format::superblock::parse::Superblock;
pub use lithify_fskit::read::FileType;
pub use lithify_storage::{ReadAt, Storage};
pub use read::{
    Counts, DirEntry, Entries, FileReader, Image, Inode, OverlayEntries, Problem, ProblemKind,
    ReadDir, Verification, Walk, WalkEntry,
};
pub use write::{
    BlockSize, DataOptions, FinishReport, ImageOptions, Journal, WRITER_VERSION, Writer,
    unsupported_xattrs,
};
