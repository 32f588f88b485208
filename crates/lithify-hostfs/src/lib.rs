//! Host directories as source and as target.
//!
//! A host directory is the one place where an image meets names that mean something: a symbolic link planted by one
//! layer and followed by another is how most unpackers were broken (CVE-2018-15664, CVE-2021-29136, CVE-2025-47290
//! and thirty more). Both directions are built so that there is nothing to follow:
//!
//! - [`Scanner`] reads a directory as one layer. Every file is reached by one name below an open directory, never
//!   through a symbolic link, and looked at through one handle; what changes while it is read is an error.
//! - [`DirTarget`] writes a merged [`Tree`](lithify_tree::Tree). File data arrives in numbered files of a private
//!   directory; names appear only when the whole tree is known, each in a directory this crate has just made.
//!
//! [`UpperScanner`] reads the upper directory of an overlay as the layer that makes the same changes. [`snapshot`] lists a directory as a manifest that two trees can be compared by.
//!
//! ```
//! use lithify_hostfs::{DirTarget, MaterialiseOptions, ScanOptions, Scanner};
//! use lithify_tree::{LayerEntries, Merge};
//!
//! # let work = tempfile::tempdir()?;
//! # let (source, out) = (work.path().join("source"), work.path().join("out"));
//! # std::fs::create_dir(&source)?;
//! # std::fs::write(source.join("motd"), "hello")?;
//! let target = DirTarget::create(&out, MaterialiseOptions::default())?;
//! let mut sink = target.sink();
//! let mut layer = LayerEntries::new();
//! let mut scanner = Scanner::open(&source, ScanOptions::default())?;
//! while let Some(entry) = scanner.next_entry()? {
//!     let is_file = matches!(entry.kind, lithify_tree::EntryKind::File { .. });
//!     let content = if is_file { Some(scanner.copy_into(&mut sink)?) } else { None };
//!     layer.push(&entry, content)?;
//! }
//! println!("{}", scanner.finish()?.digest);
//! let mut merge = Merge::new();
//! merge.apply(layer)?;
//! let report = target.finish(&merge.finish())?;
//! # assert_eq!(std::fs::read(out.join("motd"))?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Extended attributes, device nodes and sparse files are those of Linux. On other Unix systems the crate works
//! without attributes and devices: they are not read, and recorded instead of written.
#![forbid(unsafe_code)]

mod dirs; // a way down a directory tree with few open descriptors
mod manifest; // what a directory holds, comparable
mod materialise; // tree to directory
mod scan; // directory to entries
mod sidecar; // what a directory lacks, in a file beside it
mod sys; // what differs between Linux and other systems
mod text; // bytes as safe ASCII
mod upper; // an overlay's changes to entries

pub use manifest::{Line, LineKind, snapshot, snapshot_with};
pub use materialise::{
    DirSink, DirTarget, MaterialiseError, MaterialiseOptions, MaterialiseReport, NotSet, Ownership,
};
pub use scan::{
    Change, CopyError, Fingerprint, ScanError, ScanOptions, Scanner, Summary, WhiteoutNames,
    segments,
};
pub use sidecar::{RecordedSummary, SIDECAR_SUFFIX, SidecarError, SidecarFault, check_sidecar};
pub use upper::{OverlayAttributes, UpperError, UpperOptions, UpperScanner, UpperSummary};
