//! Manifests, indexes and configs: parsed strictly, beside the bytes they came from.
//!
//! A manifest's digest is that of its *bytes*, and two programs that read different things out of
//! the same bytes can be made to run different images (CVE-2021-41190). So a document is refused
//! when it could be read two ways: with the fields of a manifest and an index at once, with a
//! `mediaType` that contradicts its descriptor or its shape, with a key given twice, or with a
//! key that differs from a known one in case only (Go's `encoding/json` takes it for the known one).
//! Fields lithify does not know are ignored, as image-spec (`considerations.md`, "Extensibility")
//! asks, and `null` counts as absent, because Docker writes it for empty lists.
//!
//! Nothing here reads files, and nothing is ever written back: the raw bytes are kept by
//! [`Image`](crate::image::Image).

mod config;
mod descriptor;
mod document;
mod error;
mod field;
mod image_manifest;
mod index;
pub mod media_type;
mod scan;

pub use config::{ExecutionConfig, Healthcheck, History, ImageConfig};
pub use descriptor::Descriptor;
pub use document::Document;
pub use error::Error;
pub(crate) use image_manifest::check_layer_count;
pub use image_manifest::{EROFS_ROLE, EROFS_UNCOMPRESSED, ImageManifest};
pub use index::Index;
pub use media_type::{Compression, LayerMediaType};

/// Refuses a `manifest.json` of a docker-archive whose keys readers may take differently.
pub(crate) fn check_docker_keys(json: &[u8]) -> Result<(), Error> {
    scan::keys(json, scan::Role::DockerArchive, "list of images")
}
