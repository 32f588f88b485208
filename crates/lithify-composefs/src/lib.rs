//! composefs: filesystems whose files lie in a store of objects, each found and checked by its fs-verity digest.
//!
//! - An [`image`] is an EROFS image of metadata alone. A file longer than [`INLINE_MAX`] bytes is a redirect to an object and
//!   says the object's digest. The digest of the image itself, its id, so says everything.
//! - A dumpfile is the same as text, a line for each name.
//! - A [`splitstream`] is a layer's tar, or another file, of which parts are objects.
//! - A repository (`repository`) is a directory of objects, splitstreams and images, in which `oci` keeps images of the OCI.
//!
//! Bytes are those of C `mkcomposefs` and Rust `cfsctl`; `docs/formats/composefs.md` describes them.
#![forbid(unsafe_code)]

pub mod dumpfile; // images as text
mod filesystem; // trees with contents
pub mod image; // images, written and read
#[cfg(target_os = "linux")]
mod images; // those of a repository
mod object; // files under the names of their digests
#[cfg(target_os = "linux")]
pub mod oci; // images of the OCI in a repository
#[cfg(target_os = "linux")]
pub mod repository; // directories of objects
mod source; // what images are made of
pub mod splitstream; // files of which parts are objects

pub use filesystem::{Contents, Filesystem};
#[cfg(target_os = "linux")]
pub use images::Images;
/// The digests that objects are named by.
pub use lithify_verity::file::{FileAlgorithm, FileDigest};
pub use object::object_path;
pub use source::{Content, Source};

/// Bytes of the longest file whose content is in the image itself, and in the splitstream of its layer.
pub const INLINE_MAX: u64 = 64;
