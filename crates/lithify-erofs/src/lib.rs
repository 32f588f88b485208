//! EROFS images: a streaming writer, and a reader that trusts nothing.
//!
//! EROFS is Linux's read-only filesystem for images. [`Writer`] makes one from a merged
//! [`Tree`](lithify_tree::Tree): file data goes to its final place as it is decoded, and the same tree and data always
//! give the same bytes. [`Image`] reads images, whoever made them, and [`Image::verify`] says whether Linux will find
//! everything in one. The format is described in `docs/formats/erofs.md`.
//!
//! Images use nothing Linux 5.4 does not mount, except that files with holes need 5.15, and compressed ones up to 6.10.
//! [`Compression`] tells which.
#![forbid(unsafe_code)]

mod error; // what can go wrong
mod format; // the structures on disk
mod fsmeta; // one tree over many images
mod lz4; // a compression of its own
mod read; // images as they are
mod write; // images as they become

pub use error::{DirectoryDamage, IndexDamage, Operation, ReadError, WriteError, XattrDamage};
pub use format::BLOCK_SIZE;
pub use format::device::DeviceSlot;
pub use format::inode::DataLayout;
pub use format::superblock::Superblock;
pub use fsmeta::{FsmetaError, FsmetaOptions, FsmetaReport, LayerImage, device_tag, write_fsmeta};
pub use lithify_fskit::read::FileType;
pub use lithify_storage::{ReadAt, Storage};
pub use read::{
    DataCounts, DirEntry, Entries, Extent, FileReader, Image, Inode, LayerContents, MappedOther,
    OverlayEntries, Problem, ProblemKind, ReadDir, Verification, Walk, WalkEntry,
};
pub use write::{
    Compression, CompressionMethod, DataOptions, FinishReport, ImageOptions, SpillFactory, Writer,
    unsupported_xattrs,
};

/// The version of the bytes that this crate's writer makes of given content and options. It rises with every change of
/// them, also of a default, so that nothing older is taken for what would be made now. `reproducible.rs` of the command's
/// tests holds the bytes of each version.
pub const WRITER_VERSION: u32 = 1;
