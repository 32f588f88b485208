//! Hash trees over images (dm-verity), made and checked, and the digests of files by such trees (fs-verity).
//!
//! Linux' dm-verity target checks every block read from a device against a tree of hashes whose root is known from
//! elsewhere. [`append`] puts such a tree behind an image, in the layout `veritysetup format` writes (superblock, then
//! the tree, top level first) and at the place containerd looks for it: the first multiple of the block size at or
//! behind the image's end. [`TreeBuilder`] does the same for a writer that has the data in its hands. [`verify`] checks an
//! image against its tree and names the first wrong block; [`Sidecar`] is the small file that tells containerd the
//! root hash.
//!
//! Salt and UUID are not random, so that the same image always gives the same bytes: the salt is 32 zero bytes unless
//! another is given, the UUID is derived from the root hash. The format is described in `docs/formats/dm-verity.md`.
//!
//! ```
//! use lithify_verity::{Place, VerifyError, VerifyOptions, VerityOptions, append, verify};
//!
//! let mut image = vec![7; 10_000];
//! let report = append(&mut image, 10_000, &VerityOptions::default())?;
//! assert_eq!(report.hash_offset, 12_288); // 10 000, rounded up to whole blocks
//! assert_eq!(image.len() as u64, report.size);
//!
//! let options = VerifyOptions { root: Some(report.root), ..VerifyOptions::default() };
//! verify(&image, report.hash_offset, &options)?;
//!
//! image[5000] ^= 1;
//! let Err(VerifyError::Mismatch { place, .. }) = verify(&image, report.hash_offset, &options) else {
//!     unreachable!("the change is found");
//! };
//! assert_eq!(place, Place::Data { block: 1, offset: 4096 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Files
//!
//! fs-verity does the same for single files, inside the filesystem. Its digest says what is in a file and can be
//! computed anywhere: [`mod@file`] does so while data streams past, and asks the kernel where it supports that.
#![deny(unsafe_code)]

mod dm; // hash trees of whole images
pub mod file;

pub use dm::{
    BlockKind, Geometry, GeometryError, Hash, Level, Place, SALT_MAX, SUPERBLOCK_SIZE, Sidecar,
    SidecarError, Superblock, SuperblockError, TreeBuilder, Verified, VerifyError, VerifyOptions,
    VerityOptions, VerityReport, WriteError, append, verify,
};
pub use lithify_storage::{ReadAt, Storage};

/// The version of the bytes that this crate's writer makes of given content and options. It rises with every change of
/// them, also of a default, so that nothing older is taken for what would be made now. `reproducible.rs` of the command's
/// tests holds the bytes of each version.
pub const WRITER_VERSION: u32 = 1;
