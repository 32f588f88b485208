//! The tar format: a strict streaming parser without I/O of its own.

mod error; // what can be wrong
pub(crate) mod header; // the 512-byte block
mod kind; // type flags
mod member; // what headers say about one member
mod number; // octal, base-256, decimal
mod parser; // blocks to members
pub(crate) mod pax; // extended headers
mod sparse; // maps of sparse files
pub(crate) mod xattr; // extended attributes in PAX records

pub use error::{SparseFault, TarError, TarFault};
pub(crate) use kind::MemberKind;
pub(crate) use parser::{Event, Parser};
