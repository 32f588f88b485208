//! Filesystems, root hashes and digests as artifacts beside an image: what they are called, what they say they are, and how they
//! are read.

mod facts; // annotations
mod listed; // those that refer to an image
mod media_types; // types of artifacts and blobs
mod seal; // digests of composefs

pub(crate) use facts::Facts;
pub(crate) use listed::read_listed;
pub(crate) use media_types::{VERITY, blob_type, media_type};
pub(crate) use seal::{COMPOSEFS_IMAGE, KEYS, SEAL, SealedFile};
