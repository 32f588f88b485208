//! composefs repositories: opened and created, and what has a name in them.

mod dump; // images made of dumpfiles
mod handle; // looking after a repository
mod image; // images, read
mod named; // what a name means in a repository
mod names; // all names in a repository
mod open; // repositories, as sessions use them
mod usage; // bytes, and whose they are
pub(crate) mod verify; // checks of images

pub use dump::{ComposefsDump, ComposefsImageOptions, ComposefsImageReport};
pub use handle::{ComposefsCheck, ComposefsName, ComposefsRepository};
pub use image::{ComposefsImage, missing_objects};
pub(crate) use named::Named;
pub use names::ComposefsKind;
pub(crate) use open::{create, open};
pub use usage::{ComposefsImageUsage, ComposefsUsage, FileCount, ObjectCount};
