//! VMDK descriptors: a text that makes one disk of stretches of files.
//!
//! Of VMware's formats this is `twoGbMaxExtentFlat`: extents of at most 2 GiB that hold the disk's bytes as they are.
//! QEMU, VMware and VirtualBox read it, and VMMs built on libkrun. A descriptor names host files, so one from
//! elsewhere is a way to any file its reader may open: [`Descriptor::parse`] takes the rule paths have to follow.

mod check; // descriptors against their files
mod error; // what can go wrong
mod parse; // descriptors as they are
mod path; // names of files in a descriptor
mod write; // descriptors as they become

pub use error::{CheckError, LineProblem, ParseError, PathProblem, WriteError};
pub use parse::{Descriptor, Extent};
pub use path::PathRule;
pub use write::{Companion, CompanionContent, Vmdk, VmdkOptions};

/// Longest descriptor in bytes: QEMU reads no more, and silently ignores the rest (`vmdk_read_desc`).
pub const DESCRIPTOR_MAX: usize = (1 << 20) - 1;

const SIGNATURE: &str = "# Disk DescriptorFile";
const CREATE_TYPE: &str = "twoGbMaxExtentFlat";
const NO_PARENT: u32 = 0xffff_ffff;
