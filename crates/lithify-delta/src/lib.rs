//! Deltas of container image layers.
//!
//! A delta of a layer is a *tar-diff*: a list of operations that make the layer's tar out of files the reader has, which are
//! those of an older image. [`format`](mod@format) is the file format, [`apply`] makes tars of deltas, [`create`] makes deltas of tars,
//! and [`diff`] finds what two files have in common. `docs/formats/tar-diff.md` of the repository has the format, byte by byte.
//!
//! ```
//! use lithify_delta::apply::{Files, Patch, PatchOptions};
//! use lithify_delta::format::{Compression, DeltaWriter, Encoder, Limits};
//! use lithify_tree::TreePath;
//! use std::io::Read;
//!
//! let path = TreePath::clean(b"etc/motd")?;
//! let mut ops = Encoder::new();
//! ops.open(&path)?;
//! ops.copy(0, 6);
//! ops.data(b"moon\n");
//! let mut delta = DeltaWriter::new(Vec::new(), Compression::default())?;
//! delta.ops(&ops.finish())?;
//! let delta = delta.finish()?;
//!
//! let old = Files::from([(path, b"hello world\n".to_vec())]);
//! let mut new = String::new();
//! Patch::new(&*delta, old, &PatchOptions::default())?.read_to_string(&mut new)?;
//! assert_eq!(new, "hello moon\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod apply; // deltas to tars
mod bytes; // runs of equal bytes
pub mod create; // tars to deltas
pub mod diff; // what two files have in common
pub mod format; // the file format
