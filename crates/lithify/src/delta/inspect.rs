//! Deltas of images, as they are.

use std::ffi::OsStr;

use lithify_oci::Platform;
use lithify_oci::delta::{Delta, LayerOrigin, LayerWay};
use lithify_oci::manifest::Descriptor;
use serde::Serialize;

use super::artifact::Artifact;
use super::recipe::Recipe;
use crate::Error;
use crate::session::Session;

/// A delta of images, as its documents describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeltaDescription {
    /// Its name.
    pub name: String,
    /// Digest of its manifest.
    pub digest: String,
    /// Platform of the target.
    pub platform: String,
    /// Digest of the target's manifest.
    pub target: String,
    /// Digest of the manifest of the image that it is for, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Digest of the configuration of the image that it is for.
    pub source_config: String,
    /// Bytes of the delta.
    pub delta_bytes: u64,
    /// Bytes of the target's layers that the old image does not have: what is transferred without the delta.
    pub changed_bytes: u64,
    /// Bytes of all the target's layers.
    pub target_bytes: u64,
    /// Whether the target's own manifest comes out again, given the old image as it was: the blobs of all layers are had byte for
    /// byte.
    pub exact: bool,
    /// The target's layers, bottom first.
    pub layers: Vec<DeltaLayerDescription>,
}

/// A layer of a delta's target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeltaLayerDescription {
    /// Its digest in the target.
    pub digest: String,
    /// Its diff_id.
    pub diff_id: String,
    /// Bytes of its blob in the target.
    pub size: u64,
    /// Where it comes from.
    pub origin: DeltaLayerOrigin,
    /// Bytes that the delta has for it.
    pub delta_bytes: u64,
    /// Whether its blob is had byte for byte.
    pub exact: bool,
}

/// Where a layer of a delta's target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeltaLayerOrigin {
    /// The old image has it.
    Reused,
    /// It is made of files of the old image.
    Patched,
    /// The delta has it as it is.
    Whole,
}

/// Says what a delta holds, what it needs and what it saves. Nothing is read but its documents.
///
/// # Errors
/// What is wrong with the delta, as [`DeltaTarget::open`](crate::DeltaTarget::open).
pub fn inspect_delta(
    delta: impl AsRef<OsStr>,
    session: &Session,
) -> Result<DeltaDescription, Error> {
    let opened = Artifact::open(delta.as_ref(), session);
    let artifact = opened.map_err(|e| session.reason(e))?;
    Ok(of(&artifact))
}

/// Describes a delta that was opened.
pub(super) fn of(artifact: &Artifact) -> DeltaDescription {
    let Artifact {
        name,
        descriptor,
        delta,
        layers,
        platform,
        ..
    } = artifact;
    describe(name, descriptor, delta, layers, platform)
}

/// Describes a delta by its manifest and the layers of its target.
pub(super) fn describe(
    name: &str,
    descriptor: &Descriptor,
    delta: &Delta,
    layers: &[LayerWay],
    platform: &Platform,
) -> DeltaDescription {
    let layers: Vec<_> = layers.iter().map(describe_layer).collect();
    let changed = layers.iter();
    let changed = changed.filter(|layer| layer.origin != DeltaLayerOrigin::Reused);
    let documents = [descriptor, &delta.manifest, &delta.config];
    let documents = documents.iter().map(|document| document.size);
    DeltaDescription {
        name: name.to_owned(),
        digest: descriptor.digest.to_string(),
        platform: platform.to_string(),
        target: delta.target.to_string(),
        source: delta.source.map(|digest| digest.to_string()),
        source_config: delta.source_config.to_string(),
        delta_bytes: total(documents.chain(layers.iter().map(|layer| layer.delta_bytes))),
        changed_bytes: total(changed.map(|layer| layer.size)),
        target_bytes: total(layers.iter().map(|layer| layer.size)),
        exact: layers.iter().all(|layer| layer.exact),
        layers,
    }
}

/// Returns the sum of sizes. What a document says may be more than any sum can hold: it is the largest number then.
pub(super) fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

fn describe_layer(layer: &LayerWay) -> DeltaLayerDescription {
    let (origin, delta_bytes, exact) = match &layer.origin {
        LayerOrigin::Reused => (DeltaLayerOrigin::Reused, 0, true),
        LayerOrigin::Delta(delta) if delta.is_whole() => {
            (DeltaLayerOrigin::Whole, delta.blob.size, true)
        }
        LayerOrigin::Delta(delta) => {
            let exact = Recipe::of_layer(layer, delta).is_some();
            (DeltaLayerOrigin::Patched, delta.blob.size, exact)
        }
    };
    DeltaLayerDescription {
        digest: layer.descriptor.digest.to_string(),
        diff_id: layer.diff_id.to_string(),
        size: layer.descriptor.size,
        origin,
        delta_bytes,
        exact,
    }
}
