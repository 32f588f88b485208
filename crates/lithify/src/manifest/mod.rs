//! Manifests for images that have none: what `docker save` writes, and file trees.

pub(crate) mod base_config; // what an image says, for other layers
pub(crate) mod encode; // tars into layers
mod layers; // layers of an archive
mod made; // a manifest of layers and a configuration
mod plan; // the plan of any image
pub(crate) mod read_back; // what was made, before anyone else reads it
mod tree; // a file tree as the one layer of an image

pub(crate) use layers::{blob as blob_of_layer, sha256_blob};
pub(crate) use plan::plan;
