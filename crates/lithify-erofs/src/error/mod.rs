//! What can go wrong.

mod read;
mod write;

pub use read::{DirectoryDamage, ReadError, XattrDamage};
pub use write::{Operation, WriteError};
