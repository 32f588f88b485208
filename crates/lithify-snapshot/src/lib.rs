//! Snapshots: the state of a virtual disk on top of an image.
//!
//! A snapshot is a [`Manifest`] and the data of a disk. The manifest says which image and which other snapshot the disk belongs to, and
//! by a [content digest](content) what is on it. The digest of the manifest, in the one form that JSON has for it, is the snapshot's
//! [identity](SnapshotId): the same state has the same one, whenever and wherever it was taken.
//!
//! Both are described byte by byte in `docs/formats/snapshot.md`.
//!
//! ```
//! use std::num::NonZeroUsize;
//!
//! use lithify_snapshot::content::{self, ContentOptions};
//!
//! // A disk with data at its front, and a hole behind.
//! let mut disk = b"data".to_vec();
//! disk.resize(10 << 20, 0);
//! let size = disk.len() as u64;
//! let options = ContentOptions::default();
//! let digest = content::digest(disk.clone(), size, [0..4], &options)?;
//! assert_eq!(content::digest(disk, size, [0..size], &options)?, digest);
//! # Ok::<(), lithify_snapshot::content::ContentError>(())
//! ```
#![forbid(unsafe_code)]

pub mod content; // digests of disks
mod json; // values, and their one form
pub mod manifest; // what a snapshot consists of

pub use manifest::{Manifest, SnapshotId};
