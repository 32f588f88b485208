//! Virtual disks of several files.
//!
//! A virtual machine gets one disk; an image is several files, shared with other images. A [`Disk`] says in which order
//! the files stand on it: one behind the other ([`Disk::concatenated`], what EROFS with its devices on one disk expects),
//! or each in a partition of its own ([`Disk::partitioned`]). From it come
//!
//! - a VMDK descriptor ([`Disk::vmdk`]): a text that lists the files, so that nothing is copied;
//! - a raw disk ([`Disk::write`], [`Disk::write_file`]): for hypervisors that read no VMDK, copied by sharing blocks and
//!   keeping holes where the filesystem can.
//!
//! [`vmdk::Descriptor`] and [`gpt::Table`] read both back, trusting nothing. Identifiers (the content ID of a VMDK, the
//! GUIDs of a partition table) are derived from what the parts are, so that the same parts always make the same disk.
//! The formats are described in `docs/formats/disk.md`.
//!
//! [`qcow2`] is by itself: the disks that virtual machines write to, read with all they build on, and written.
//!
//! ```
//! use lithify_disk::{Alignment, Disk, Part};
//! use lithify_disk::vmdk::{Descriptor, PathRule, VmdkOptions};
//!
//! let part = |path: &str, size| Part {
//!     path: path.into(),
//!     size,
//!     name: path.into(),
//!     identity: path.into(),
//! };
//! let parts = vec![part("fsmeta.erofs", 8192), part("layers/base.erofs", 3 << 30)];
//! let disk = Disk::concatenated(parts, Alignment::SECTOR)?;
//! assert_eq!(disk.part_offset(1), 8192);
//!
//! let vmdk = disk.vmdk(&VmdkOptions::default())?;
//! let lines: Vec<_> = vmdk.descriptor.lines().filter(|line| line.starts_with("RW")).collect();
//! assert_eq!(lines, [
//!     r#"RW 16 FLAT "fsmeta.erofs" 0"#,
//!     r#"RW 4194304 FLAT "layers/base.erofs" 0"#,
//!     r#"RW 2097152 FLAT "layers/base.erofs" 4194304"#,
//! ]);
//! let back = Descriptor::parse(vmdk.descriptor.as_bytes(), PathRule::Below)?;
//! assert_eq!(back.size(), disk.size());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod alignment; // where parts may start
mod disk; // what stands where
mod error; // what can go wrong
pub mod gpt;
mod identity; // identifiers derived from content
mod part; // what disks are made of
pub mod qcow2;
mod raw; // disks as one file
pub mod vmdk;

pub use alignment::Alignment;
pub use disk::{Content, Disk, Piece};
pub use error::{DiskError, RawError};
pub use lithify_storage::{ReadAt, Storage};
pub use part::Part;

/// Size of a sector in bytes: everything on a disk is counted in these.
pub const SECTOR: u64 = 512;
