//! Filesystems in image files, of whichever kind: written, read, verified.
//!
//! Adding a kind means a row in `kind.rs` and `table.rs` and a file like `erofs.rs`, which brings what `format.rs` asks for.

mod compression; // how data is compressed
pub(crate) mod disk; // disks for virtual machines, as they are
mod erofs; // EROFS
mod ext4; // ext4
mod filesystem; // image files being written
mod format; // what every kind brings
pub(crate) mod image; // image files as they are
mod kind; // the kinds
mod options; // how an image is written
#[cfg(feature = "squashfs")]
mod squashfs; // squashfs
mod table; // what each kind brings
pub(crate) mod verify; // checks
pub(crate) mod verity; // hash trees
mod volume; // what is decided for a writable filesystem
mod xattrs; // attributes that cannot be held

pub use compression::{Compression, CompressionAlgorithm, UnknownCompression};
pub(crate) use filesystem::FsWriter;
pub(crate) use format::FsError;
pub(crate) use kind::Kind;
pub(crate) use options::{Filesystem, FsOptions, Placement};
pub use verify::{VerifiedComposefs, VerifyReport};
pub use volume::{Journal, VolumeOptions};
pub(crate) use xattrs::drop_xattrs;
