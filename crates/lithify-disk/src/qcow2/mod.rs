//! qcow2 images (QEMU, `docs/interop/qcow2`): disks that take the space of what is written to them,
//! on top of other disks.
//!
//! [`Image`] reads versions 2 and 3 with their chains of backing files, and says what a disk
//! consists of ([`Extents`]); [`Writer`] writes version 3 in one pass, the same bytes every time.
//! Neither opens files: an image names host files, so one from elsewhere is a way to any file its
//! reader may open. Whoever reads gives the files, by the names the image has for them
//! ([`Reference`]), and formats are never told from content. The format is described in
//! `docs/formats/qcow2.md`.

mod format; // the structures in the file
mod read; // images as they are
mod write; // images as they become

pub use format::{
    BackingName, ClusterSize, Compression, DataFileName, EntryProblem, Extension, Format, Header,
    HeaderError, Structure,
};
pub use read::{
    CompressedError, Extent, ExtentKind, Extents, Image, OpenError, OpenOptions, ReadError,
    Reference,
};
pub use write::{Backing, NameProblem, WriteError, WriteOptions, Writer};
