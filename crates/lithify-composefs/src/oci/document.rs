//! As much of manifests and configurations as streams depend on.

use lithify_digest::Digest;
use serde::Deserialize;

use super::error::ImageError;

/// Media types of configurations of images; any other one is an artifact's.
const IMAGE_CONFIGS: [&str; 2] = [OCI_CONFIG, "application/vnd.docker.container.image.v1+json"];
/// The one that `cfsctl` takes for an image's.
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The part of a manifest that streams depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) config: Digest,
    /// It is an image's, whose layers are named by their diff_ids.
    pub(super) is_image: bool,
    /// `cfsctl` looks for layers by the digests of their blobs.
    pub(super) is_by_blob: bool,
    /// Digests of the layers' blobs.
    pub(super) layers: Vec<Digest>,
}

#[derive(Deserialize)]
struct ManifestJson {
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    digest: String,
}

#[derive(Deserialize)]
struct ConfigJson {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

const MANIFEST: &str = "manifest";
const CONFIG: &str = "configuration";

pub(super) fn parse_manifest(json: &[u8], digest: &Digest) -> Result<Manifest, ImageError> {
    let parsed = serde_json::from_slice(json);
    let parsed: ManifestJson = parsed.map_err(|source| ImageError::Json {
        document: MANIFEST,
        digest: Box::new(*digest),
        source,
    })?;
    let parse = |found: String| parse_digest(found, MANIFEST, digest);
    let layers = parsed.layers.into_iter().map(|layer| parse(layer.digest));
    Ok(Manifest {
        is_image: IMAGE_CONFIGS.contains(&parsed.config.media_type.as_str()),
        is_by_blob: parsed.config.media_type != OCI_CONFIG,
        layers: layers.collect::<Result<_, _>>()?,
        config: parse(parsed.config.digest)?,
    })
}

/// Returns the diff_ids of a configuration.
pub(super) fn parse_config(json: &[u8], digest: &Digest) -> Result<Vec<Digest>, ImageError> {
    let parsed = serde_json::from_slice(json);
    let parsed: ConfigJson = parsed.map_err(|source| ImageError::Json {
        document: CONFIG,
        digest: Box::new(*digest),
        source,
    })?;
    let ids = parsed.rootfs.diff_ids.unwrap_or_default().into_iter();
    ids.map(|found| parse_digest(found, CONFIG, digest))
        .collect()
}

fn parse_digest(
    found: String,
    document: &'static str,
    digest: &Digest,
) -> Result<Digest, ImageError> {
    found.parse().map_err(|source| ImageError::Digest {
        document,
        digest: Box::new(*digest),
        found,
        source,
    })
}
