//! dm-verity: trees behind images, in the layout `veritysetup` writes.

mod append; // trees behind finished images
mod builder; // trees from data that passes by
mod error; // what can go wrong
mod geometry; // where the blocks of a tree are
mod hash; // digests of blocks, by several threads
mod options; // how a tree is made
mod sidecar; // containerd's file with the root hash
mod superblock; // the structure on disk
mod verify; // trees as they are

pub use append::append;
pub use builder::{TreeBuilder, VerityReport};
pub use error::{GeometryError, SidecarError, SuperblockError, VerifyError, WriteError};
pub use geometry::{BlockKind, Geometry, Level};
pub use hash::Hash;
pub use options::VerityOptions;
pub use sidecar::Sidecar;
pub use superblock::{SALT_MAX, SUPERBLOCK_SIZE, Superblock};
pub use verify::{Place, Verified, VerifyOptions, verify};
