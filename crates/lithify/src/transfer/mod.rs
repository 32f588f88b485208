//! Images from one place to another.

mod destination; // where they go

#[allow(unused_imports, reason = "what the transfers are written against")]
pub(crate) use destination::{BlobSource, Destination};
