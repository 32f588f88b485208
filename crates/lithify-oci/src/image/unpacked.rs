//! Images of which a place has the layers' tars, and not their blobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use lithify_digest::{Digest, Mismatch};

use super::content::LayerStore;
use super::{Image, LayerDescriptor, LayerKind, Manifest};
use crate::blob::{self, BlobName};
use crate::manifest::{self, ImageManifest, media_type};
use crate::{Error, Limits};

/// An image of which a place has the documents and the decompressed layers.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// Its names. Hostile input.
    pub names: Vec<String>,
    /// The digest of the manifest, and the manifest.
    pub manifest: (Digest, Vec<u8>),
    /// The digest of the configuration, and the configuration.
    pub config: (Digest, Vec<u8>),
    /// Bytes of the layers as they are given, bottom first, where that is known.
    pub sizes: Vec<Option<u64>>,
    /// Gives the layers: tars, which may be compressed.
    pub store: Arc<dyn LayerStore>,
}

impl Image {
    /// Opens an image of which the layers are tars, whatever the manifest says of blobs. As in a docker-archive they have no
    /// digests but their diff_ids, and nothing is found by those of the manifest.
    ///
    /// # Errors
    /// [`Error::Manifest`] for documents that are none, or not of one image; [`Error::Blob`] for those that are not what their
    /// digests say.
    pub fn from_unpacked(unpacked: Unpacked, limits: &Limits) -> Result<Self, Error> {
        let (digest, raw) = unpacked.manifest;
        let (config_digest, raw_config) = unpacked.config;
        let name = BlobName::Manifest(Box::new(digest));
        let config_name = || BlobName::Config(Box::new(config_digest));
        same(&digest, &raw, || name.clone())?;
        same(&config_digest, &raw_config, config_name)?;
        let refused = |source| Error::Manifest {
            name: name.clone(),
            source,
        };
        let manifest = ImageManifest::parse(&raw, None).map_err(refused)?;
        manifest.check_image(limits).map_err(refused)?;
        let config = manifest.parse_config(&raw_config).map_err(|source| {
            let name = match source {
                manifest::Error::NotAnImage { .. } => name.clone(),
                _ => config_name(),
            };
            Error::Manifest { name, source }
        })?;
        manifest.check_config(&config).map_err(refused)?;
        manifest::check_layer_count(unpacked.sizes.len(), &config).map_err(refused)?;
        let layers = config.diff_ids.iter().zip(&unpacked.sizes);
        let layers = layers.map(|(diff_id, size)| LayerDescriptor {
            digest: None,
            size: *size,
            kind: LayerKind::Tar,
            media_type: None,
            compression: None,
            diff_id: *diff_id,
            foreign: false,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
        });
        Ok(Self {
            names: unpacked.names,
            layers: layers.collect(),
            platform: config.platform(),
            manifest: Some(Manifest {
                digest,
                media_type: manifest
                    .media_type
                    .unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned()),
                raw,
                annotations: manifest.annotations,
            }),
            config_digest,
            raw_config,
            config,
            content: None,
            store: unpacked.store,
        })
    }
}

/// Compares a document with its digest.
fn same(digest: &Digest, bytes: &[u8], name: impl Fn() -> BlobName) -> Result<(), Error> {
    let found = Digest::of(digest.algorithm(), bytes);
    Mismatch::of_digests(digest, &found).map_err(|source| {
        blob::Error::Mismatch {
            name: name(),
            source,
        }
        .into()
    })
}
