//! The manifest of an image that has none.

use lithify_digest::{Algorithm, Digest};
use lithify_oci::Platform;
use lithify_oci::manifest::{Descriptor, ImageManifest, media_type};

use super::read_back::read_back;
use crate::error::OutputError;
use crate::transfer::{Plan, PlannedBlob};
use crate::{Error, Session};

/// Returns the plan of an image whose manifest is made here, of its layers and its configuration. All other blobs are
/// `blobs`.
pub(super) fn made(
    mut blobs: Vec<PlannedBlob>,
    layers: Vec<Descriptor>,
    config: Vec<u8>,
    platform: &Platform,
    session: &Session,
) -> Result<Plan, Error> {
    let count = layers.len();
    let config_blob = PlannedBlob::of_bytes(media_type::OCI_CONFIG, config.clone());
    let manifest = ImageManifest::new(config_blob.descriptor.clone(), layers);
    blobs.push(config_blob);
    let bytes = serde_json::to_vec(&manifest).map_err(OutputError::Json)?;
    read_back(&bytes, &config, count, session)?;
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let mut root = Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64);
    root.platform = Some(platform.clone());
    Ok(Plan::of_made(blobs, root, bytes))
}
