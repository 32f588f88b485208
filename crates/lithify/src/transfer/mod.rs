//! Images from one place to another.

mod destination; // where they go
mod layout; // an OCI image layout

pub(crate) use destination::{BlobSource, Destination};
pub(crate) use layout::LayoutDestination;
