//! What can go wrong.

mod read;
mod write;

pub use read::{DirectoryDamage, IndexDamage, ReadError, XattrDamage};
pub use write::{Operation, WriteError};
