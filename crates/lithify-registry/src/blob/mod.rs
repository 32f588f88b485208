//! Blobs: as streams that survive broken connections, and in parts.

mod part; // some bytes of a blob
mod range; // `Content-Range`
mod reader; // all of it, in order

pub(crate) use range::ContentRange;
pub use reader::BlobReader;
