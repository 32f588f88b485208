//! Images: EROFS of metadata alone, as C `mkcomposefs` and `cfsctl` make them, byte for byte.
//!
//! A regular file whose content is an object has its size, a redirect to the object and the object's digest, for overlayfs to
//! find and compare. The root directory has stubs, which hide the directories of objects beside it. The bytes are
//! described in `docs/formats/composefs.md`.
//!
//! An [`Image`] is laid out first and then written from its first byte to its last.

mod attributes; // an inode's extended attributes
mod directory; // entries of directories in blocks
mod entries; // names of an image, one after another
mod error; // trees that make no image
mod format; // numbers and structures
mod hash; // XXH32
mod layout; // where inodes and data are
mod members; // what is numbered
mod read; // images as they are
mod shared; // attributes that several inodes have
mod write; // the bytes

pub use entries::{ImageEntry, entries};
pub use error::ImageError;
pub use read::{Header, ReadError, objects, read, read_header};
pub use write::{Image, ImageOptions, Version};
