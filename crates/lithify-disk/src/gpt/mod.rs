//! GUID partition tables (UEFI specification 2.10, chapter 5), with sectors of 512 bytes.

mod error; // what can go wrong
mod format; // the structures on disk
mod guid; // identifiers
mod plan; // tables as they become
mod table; // tables as they are

pub use error::{Copy, GptError, HeaderProblem};
pub use guid::Guid;
pub use plan::GptOptions;
pub(crate) use plan::Plan;
pub use table::{Partition, Table};
