//! Images on their way into a repository.
//!
//! A layer becomes a stream and objects as it is decoded ([`layer`]). When all are there, the entries are read back out of the streams
//! ([`entries`]), merged ([`merged`]), and made an image of metadata ([`compose`]); then everything gets its name ([`publish`]). A file
//! tree, which has no tars, gives its data to a sink of objects ([`sink`]) instead. To know an id, the sink keeps digests alone ([`hashed`]).

mod compose; // images of filesystems
mod entries; // entries of layers, out of their streams
mod hashed; // images without a repository
mod layer; // tars into streams
mod merged; // filesystems of layers, out of their streams
mod profile; // the rules of an image
mod publish; // images of the OCI, named
mod sink; // data into objects
mod sparse; // data between holes

pub(crate) use compose::{Composed, compose, compose_tree};
pub(crate) use entries::Sparse;
pub(crate) use hashed::{HashedImage, digest_of_bytes};
pub(crate) use layer::{StoredLayer, find_layer, has_layer, store_layer};
pub(crate) use merged::{LayerStream, Merged, merge_streams};
pub use profile::{ComposefsProfile, UnknownProfile};
pub(crate) use publish::{Documents, find_image, note_profile, publish};
pub(crate) use sink::ObjectSink;
