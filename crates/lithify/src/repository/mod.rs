//! composefs repositories: opened and created, and what has a name in them.

mod named; // what a name means in a repository
mod open; // repositories, as sessions use them
pub(crate) mod verify; // checks of images

pub(crate) use named::Named;
pub(crate) use open::{create, open};
