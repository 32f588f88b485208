//! Filesystems and root hashes as artifacts beside an image: what they are called, and what they say they are.

mod facts; // annotations
mod media_types; // types of artifacts and blobs

pub(crate) use facts::Facts;
pub(crate) use media_types::{VERITY, blob_type, media_type};
