//! What was made here, read as everyone else will read it before anyone can.

use lithify_digest::{Algorithm, Digest};
use lithify_oci::blob::BlobName;
use lithify_oci::manifest::{self, ImageManifest, media_type};

use crate::Error;
use crate::error::OpenError;
use crate::session::Session;

/// Checks that a manifest and a config, as they are about to be written, are an image of so many layers.
pub(crate) fn read_back(
    manifest: &[u8],
    config: &[u8],
    layers: usize,
    session: &Session,
) -> Result<(), Error> {
    let failed = |source| {
        Error::from(OpenError::Open {
            name: "the image to be written".to_owned(),
            source: Box::new(lithify_oci::Error::Manifest {
                name: BlobName::Manifest(Box::new(Digest::of(Algorithm::Sha256, manifest))),
                source,
            }),
        })
    };
    let manifest =
        ImageManifest::parse(manifest, Some(media_type::OCI_MANIFEST)).map_err(failed)?;
    manifest
        .check_image(&session.limits.image)
        .map_err(failed)?;
    let config = manifest.parse_config(config).map_err(failed)?;
    manifest.check_config(&config).map_err(failed)?;
    match manifest.layers.len() == layers {
        true => Ok(()),
        false => Err(failed(manifest::Error::LayerCount {
            layers: manifest.layers.len(),
            diff_ids: layers,
        })),
    }
}
