//! Images into artifacts.

mod build; // the one way to all formats
mod check; // requests no build can do
mod composefs; // `composefs`
mod container; // what a disk has around its filesystem
mod containerd; // a cache containerd reads
mod cpio; // an initramfs
pub(crate) mod depot; // what is kept between builds
mod directory; // a directory of this host
mod disk_kind; // kinds of disks
mod disks; // disks for virtual machines
mod flat; // one image file
mod format; // the formats
mod format_name; // what names of outputs say
pub(crate) mod fsmeta; // the merged image over layers
pub(crate) mod layered; // a directory of images
pub(crate) mod layers; // images of layers
mod options; // what is asked for
mod published; // images others made
mod result; // what was made
mod stream; // archives, front to back
mod survey; // builds that are not done
pub(crate) mod tar; // one tar
mod volume; // filesystems that are written to
mod wanted; // whether images others made are taken

pub use build::build;
pub use disk_kind::{DiskKind, UnknownDisk};
pub(crate) use flat::write as write_flat;
pub use format::Format;
pub use format_name::{FormatNameError, check_disk_name};
pub use options::{BuildOptions, Output};
pub(crate) use result::file_sha256;
pub use survey::plan_build;
pub use volume::create_disk;
pub use wanted::{Artifacts, UnknownArtifacts};
