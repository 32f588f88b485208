//! What can go wrong.

mod read; // reading an image
mod write; // writing one

pub use read::{Damage, JournalDamage, ReadError};
pub use write::{Operation, WriteError};
