//! composefs repositories: opened and created, what has a name in them, how images get there, and looking after them.

mod dump; // images made of dumpfiles
mod handle; // looking after a repository
mod id; // ids without images
mod image; // images, read
mod import; // images on their way there
mod named; // what a name means in a repository
mod names; // all names in a repository
mod open; // repositories, as sessions use them
mod tree; // filesystems out of a repository
mod usage; // bytes, and whose they are
pub(crate) mod verify; // checks of images

pub use dump::{ComposefsDump, ComposefsImageOptions, ComposefsImageReport};
pub use handle::{ComposefsCheck, ComposefsName, ComposefsRepository};
pub use id::composefs_id;
pub(crate) use image::parse_place;
pub use image::{ComposefsImage, missing_objects};
pub(crate) use import::{
    Composed, Documents, HashedImage, LayerStream, ObjectSink, StoredLayer, compose, compose_tree,
    digest_of_bytes, find_image, find_layer, has_layer, note_profile, publish, store_layer,
};
pub use import::{ComposefsProfile, UnknownProfile};
pub(crate) use named::{Named, canonical_image};
pub use names::ComposefsKind;
pub(crate) use names::{check_new as check_new_name, take_away};
pub(crate) use open::{create, note_left, open};
pub(crate) use tree::TreeInRepository;
pub use usage::{ComposefsImageUsage, ComposefsUsage, FileCount, ObjectCount};
