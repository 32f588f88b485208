//! composefs repositories: opened and created, what has a name in them, and how images get there.

mod dump; // images made of dumpfiles
mod handle; // looking after a repository
mod image; // images, read
mod compose; // images of filesystems
mod entries; // entries of layers, out of their streams
mod import; // layers on their way
mod named; // what a name means in a repository
mod names; // all names in a repository
mod open; // repositories, as sessions use them
mod usage; // bytes, and whose they are
pub(crate) mod verify; // checks of images

pub use dump::{ComposefsDump, ComposefsImageOptions, ComposefsImageReport};
pub use handle::{ComposefsCheck, ComposefsName, ComposefsRepository};
pub use image::{ComposefsImage, missing_objects};
mod profile; // the rules of an image
mod publish; // images of the OCI
mod sink; // data into objects
mod sparse; // data between holes
mod tree; // filesystems out of a repository

pub(crate) use compose::{Composed, LayerStream, compose, compose_tree};
pub(crate) use import::{StoredLayer, find_layer, store_layer};
pub(crate) use named::Named;
pub use names::ComposefsKind;
pub(crate) use open::{create, open};
pub use usage::{ComposefsImageUsage, ComposefsUsage, FileCount, ObjectCount};
pub use profile::{ComposefsProfile, UnknownProfile};
pub(crate) use publish::{Documents, find_image, publish, tag};
pub(crate) use sink::ObjectSink;
pub(crate) use tree::TreeInRepository;
