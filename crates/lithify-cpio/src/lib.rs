//! cpio archives in the form "newc", as Linux unpacks them into its first root directory (its *initramfs*).
//!
//! [`CpioWriter`] turns the names of a tree into an archive: the same names always become the same bytes. Nothing of the host
//! gets in. `docs/formats/cpio.md` of the repository has the format, byte by byte, and what its readers make of it.
//!
//! ```
//! use lithify_cpio::{CpioWriter, Name};
//! use lithify_tree::{Inode, InodeKind, Timestamp, TreePath, XattrSetId, Xattrs};
//!
//! let path = TreePath::clean(b"init")?;
//! let kind = InodeKind::File { size: 11, content: None };
//! let inode = Inode { mode: 0o755, uid: 0, gid: 0, mtime: Timestamp::default(), nlink: 1, xattrs: XattrSetId::EMPTY, kind };
//! let mut archive = CpioWriter::new(Vec::new());
//! archive.append(&Name { path: &path, number: 1, is_last: true }, &inode, &Xattrs::default(), None)?;
//! archive.data(b"#!/bin/sh\n\n")?;
//! let (bytes, report) = archive.finish()?;
//! assert!(bytes.starts_with(b"070701"));
//! assert_eq!((bytes.len() % 512, report.clamped_times), (0, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod error; // why a name cannot be written
mod header; // the 110 bytes before a name
mod write; // names to an archive

pub use error::WriteError;
pub use write::{CpioWriter, FILE_SIZE_MAX, NAME_LEN_MAX, Name, Report, unsupported_xattrs};
