//! Formats that are written front to back: archives, in the order of the tree, the same for every way to slice it into layers.

mod destination; // a file, or standard output
mod emit; // names and data in order

pub(super) use destination::Destination;
pub(super) use emit::{Appended, Archive, Member, emit};
