//! Manifests for images that have none: what `docker save` writes, and file trees.

mod layers; // layers of an archive
mod tree; // a file tree as the one layer of an image

use lithify_digest::{Algorithm, Digest};
use lithify_oci::Platform;
use lithify_oci::manifest::{Descriptor, ImageManifest, media_type};

use crate::error::OutputError;
use crate::image::Origin;
use crate::read_back::read_back;
use crate::transfer::{Nature, Plan, PlannedBlob};
use crate::{Error, Image, ReadOptions};

pub(crate) use layers::sha256_blob;

/// Returns the plan of an image on its way to a place of that nature; with `referrers`, of what refers to it too. An image
/// without a manifest gets one, the same each time.
pub(crate) fn plan(
    image: &Image,
    referrers: bool,
    to: Nature,
    read: &ReadOptions,
) -> Result<Plan, Error> {
    match image.origin() {
        Origin::Oci(oci) => match Plan::of_image(image.name(), oci, referrers, to, read)? {
            Some(plan) => Ok(plan),
            None => layers::plan(image, oci, to.plain_layers, read),
        },
        Origin::Rootfs(_) | Origin::Tar(_) => tree::plan(image, to.plain_layers, read),
    }
}

/// Returns the plan of an image whose manifest is made here, of its layers and its configuration. All other blobs are
/// `blobs`.
fn made(
    mut blobs: Vec<PlannedBlob>,
    layers: Vec<Descriptor>,
    config: Vec<u8>,
    platform: &Platform,
    read: &ReadOptions,
) -> Result<Plan, Error> {
    let count = layers.len();
    let config_blob = PlannedBlob::of_bytes(media_type::OCI_CONFIG, config.clone());
    let manifest = ImageManifest::new(config_blob.descriptor.clone(), layers);
    blobs.push(config_blob);
    let bytes = serde_json::to_vec(&manifest).map_err(OutputError::Json)?;
    read_back(&bytes, &config, count, read)?;
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let mut root = Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64);
    root.platform = Some(platform.clone());
    Ok(Plan::of_made(blobs, root, bytes))
}
