//! Mounting an image or artifact.

mod composefs; // images of composefs repositories
mod list; // what is mounted
mod options; // ways to mount
mod subject; // images and artifacts
mod verity; // uses of fs-verity

pub use list::{mounts, umount};
pub use lithify_mount::{MountKind, Mounted};
pub use options::MountOptions;
pub use subject::mount;
pub use verity::{FileVerity, UnknownFileVerity};
