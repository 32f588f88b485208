//! The artifact's manifest.

use std::collections::BTreeMap;

use lithify_digest::Digest;

use super::error::DeltaError;
use super::{ARTIFACT_TYPE, TAR_DIFF};
use crate::Limits;
use crate::manifest::{Descriptor, ImageManifest};

/// The annotation of a layer that says what it is.
const CONTENT: &str = "io.github.containers.delta.content";
/// The annotation of a layer with the digest of the layer of the target that it makes.
const TO: &str = "io.github.containers.delta.to";
const TARGET: &str = "io.github.containers.delta.target";
const SOURCE: &str = "io.github.containers.delta.source";
const SOURCE_CONFIG: &str = "io.github.containers.delta.source-config";
const REUSED: &str = "io.github.containers.delta.reused";
const REUSED_DIFF_ID: &str = "io.github.containers.delta.reused-diff-id";
const TAR_SIZE: &str = "dev.lithify.delta.tar-size";
const COMPRESSION: &str = "dev.lithify.delta.compression";

const IMAGE_MANIFEST: &str = "image-manifest";
const IMAGE_CONFIG: &str = "image-config";
const IMAGE_LAYER: &str = "image-layer";

/// A delta of images, as its manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delta {
    /// Digest of the target's manifest.
    pub target: Digest,
    /// Digest of the source's manifest, if it says so.
    pub source: Option<Digest>,
    /// Digest of the source's configuration.
    pub source_config: Digest,
    /// Layers of the target that the source has.
    pub reused: Vec<Reused>,
    /// The target's manifest.
    pub manifest: Descriptor,
    /// The target's configuration.
    pub config: Descriptor,
    /// What the other layers are made of.
    pub layers: Vec<LayerDelta>,
    /// Entries of other kinds, which are passed over.
    pub others: Vec<Descriptor>,
}

/// A layer of the target that the source has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reused {
    /// Its digest in the target.
    pub digest: Digest,
    /// Its diff_id.
    pub diff_id: Digest,
}

impl Reused {
    /// Returns a layer that the source has.
    #[must_use]
    pub const fn new(digest: Digest, diff_id: Digest) -> Self {
        Self { digest, diff_id }
    }
}

/// A layer of the target, and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerDelta {
    /// The layer's digest in the target.
    pub to: Digest,
    /// A tar-diff; or the layer itself, with its own media type.
    pub blob: Descriptor,
    /// What is known of the layer that a tar-diff makes.
    pub encoded: Encoded,
}

/// Facts about a layer that a tar-diff makes. They are hints: whoever makes the layer compares it with its digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoded {
    /// Bytes of the tar.
    pub tar_size: Option<u64>,
    /// The way its blob in the target is compressed, in words of lithify, where the very bytes of it can be made again.
    pub compression: Option<String>,
}

impl Encoded {
    /// Returns what is known of a layer.
    #[must_use]
    pub const fn new(tar_size: Option<u64>, compression: Option<String>) -> Self {
        Self {
            tar_size,
            compression,
        }
    }
}

impl LayerDelta {
    /// Returns a layer of the target that a blob makes.
    #[must_use]
    pub const fn new(to: Digest, blob: Descriptor, encoded: Encoded) -> Self {
        Self { to, blob, encoded }
    }

    /// Tells whether the blob is the layer itself.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.blob.media_type != TAR_DIFF
    }
}

impl Delta {
    /// Returns a delta that makes one image of another.
    #[must_use]
    pub const fn new(
        manifest: Descriptor,
        config: Descriptor,
        source: Option<Digest>,
        source_config: Digest,
    ) -> Self {
        Self {
            target: manifest.digest,
            source,
            source_config,
            reused: Vec::new(),
            manifest,
            config,
            layers: Vec::new(),
            others: Vec::new(),
        }
    }

    /// Tells whether a manifest is one of a delta.
    #[must_use]
    pub fn is_one(manifest: &ImageManifest) -> bool {
        manifest.artifact_type.as_deref() == Some(ARTIFACT_TYPE)
    }

    /// Reads what a manifest says.
    ///
    /// # Errors
    /// [`DeltaError`].
    pub fn parse(manifest: &ImageManifest, limits: &Limits) -> Result<Self, DeltaError> {
        if !Self::is_one(manifest) {
            return Err(DeltaError::Type {
                found: manifest.artifact_type.clone().unwrap_or_default(),
            });
        }
        // Besides layers, the two documents, and what belongs to signatures.
        let limit = limits.layers;
        let check = |found| match found > limit {
            true => Err(DeltaError::TooMany { found, limit }),
            false => Ok(()),
        };
        check(manifest.layers.len())?;
        let annotations = &manifest.annotations;
        let target = digest(annotations, TARGET)?.ok_or(missing(TARGET))?;
        let source_config = digest(annotations, SOURCE_CONFIG)?.ok_or(missing(SOURCE_CONFIG))?;
        let source = digest(annotations, SOURCE)?;
        let digests = digests(annotations, REUSED)?;
        let diff_ids = self::digests(annotations, REUSED_DIFF_ID)?;
        if digests.len() != diff_ids.len() {
            return Err(DeltaError::ReusedCount {
                digests: digests.len(),
                diff_ids: diff_ids.len(),
            });
        }
        check(digests.len())?;
        let reused = digests.into_iter().zip(diff_ids);
        let reused = reused.map(|(digest, diff_id)| Reused { digest, diff_id });
        let (mut manifests, mut configs) = (Vec::new(), Vec::new());
        let (mut layers, mut others) = (Vec::new(), Vec::new());
        for blob in &manifest.layers {
            match blob.annotations.get(CONTENT).map(String::as_str) {
                Some(IMAGE_MANIFEST) => manifests.push(blob),
                Some(IMAGE_CONFIG) => configs.push(blob),
                Some(IMAGE_LAYER) => layers.push(layer(blob)?),
                _ => others.push(blob.clone()),
            }
        }
        let layers = once(layers)?;
        let manifest = one(&manifests, IMAGE_MANIFEST)?;
        if manifest.digest != target {
            return Err(DeltaError::OtherDocument {
                content: IMAGE_MANIFEST,
                found: Box::new(manifest.digest),
                expected: Box::new(target),
            });
        }
        Ok(Self {
            target,
            source,
            source_config,
            reused: reused.collect(),
            manifest,
            config: one(&configs, IMAGE_CONFIG)?,
            layers,
            others,
        })
    }

    /// Returns the manifest that says it, with an empty configuration.
    #[must_use]
    pub fn to_manifest(&self, empty: Descriptor) -> ImageManifest {
        let with = |descriptor: &Descriptor, more: &[(&str, String)]| {
            let mut descriptor = descriptor.clone();
            let more = more.iter().cloned();
            let more = more.map(|(key, value)| (key.to_owned(), value));
            descriptor.annotations.extend(more);
            descriptor
        };
        let content = |content: &str| (CONTENT, content.to_owned());
        let mut layers = vec![
            with(&self.manifest, &[content(IMAGE_MANIFEST)]),
            with(&self.config, &[content(IMAGE_CONFIG)]),
        ];
        for layer in &self.layers {
            let mut more = vec![content(IMAGE_LAYER), (TO, layer.to.to_string())];
            if let Some(size) = layer.encoded.tar_size {
                more.push((TAR_SIZE, size.to_string()));
            }
            if let Some(compression) = &layer.encoded.compression {
                more.push((COMPRESSION, compression.clone()));
            }
            layers.push(with(&layer.blob, &more));
        }
        layers.extend(self.others.iter().cloned());
        let mut manifest = ImageManifest::new(empty, layers);
        manifest.artifact_type = Some(ARTIFACT_TYPE.to_owned());
        manifest.subject = Some(Descriptor::new(
            &self.manifest.media_type,
            self.manifest.digest,
            self.manifest.size,
        ));
        let mut annotations = BTreeMap::from([
            (TARGET.to_owned(), self.target.to_string()),
            (SOURCE_CONFIG.to_owned(), self.source_config.to_string()),
        ]);
        if let Some(source) = &self.source {
            annotations.insert(SOURCE.to_owned(), source.to_string());
        }
        if !self.reused.is_empty() {
            let list = |digest: fn(&Reused) -> &Digest| {
                let all = self.reused.iter().map(|r| digest(r).to_string());
                serde_json::Value::from_iter(all).to_string()
            };
            annotations.insert(REUSED.to_owned(), list(|r| &r.digest));
            annotations.insert(REUSED_DIFF_ID.to_owned(), list(|r| &r.diff_id));
        }
        manifest.annotations = annotations;
        manifest
    }
}

fn missing(key: &'static str) -> DeltaError {
    DeltaError::NoAnnotation { key }
}

fn parse(text: &str, key: &'static str) -> Result<Digest, DeltaError> {
    text.parse()
        .map_err(|source| DeltaError::Digest { key, source })
}

/// Returns the digest an annotation says; an empty one says none.
fn digest(
    annotations: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Option<Digest>, DeltaError> {
    let said = annotations.get(key).filter(|text| !text.is_empty());
    said.map(|text| parse(text, key)).transpose()
}

/// Returns the digests an annotation lists.
fn digests(
    annotations: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Vec<Digest>, DeltaError> {
    let said = annotations.get(key).filter(|text| !text.is_empty());
    let Some(text) = said else {
        return Ok(Vec::new());
    };
    // Go writes `null` for a list of nothing.
    let list: Option<Vec<String>> =
        serde_json::from_str(text).map_err(|source| DeltaError::List { key, source })?;
    let list = list.unwrap_or_default();
    list.iter().map(|text| parse(text, key)).collect()
}

fn layer(blob: &Descriptor) -> Result<LayerDelta, DeltaError> {
    let to = digest(&blob.annotations, TO)?.ok_or(missing(TO))?;
    let layer = LayerDelta {
        to,
        encoded: Encoded {
            tar_size: number(&blob.annotations, TAR_SIZE)?,
            compression: blob.annotations.get(COMPRESSION).cloned(),
        },
        blob: blob.clone(),
    };
    match layer.is_whole() && layer.blob.digest != to {
        true => Err(DeltaError::OtherLayer {
            to: Box::new(to),
            found: Box::new(layer.blob.digest),
        }),
        false => Ok(layer),
    }
}

fn number(
    annotations: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Option<u64>, DeltaError> {
    let said = annotations.get(key);
    let parse = |text: &String| {
        text.parse().map_err(|_| DeltaError::Number {
            key,
            found: text.clone(),
        })
    };
    said.map(parse).transpose()
}

/// Leaves out what is said again: some say a layer as often as the target has it. Two things said of one layer are an error.
fn once(layers: Vec<LayerDelta>) -> Result<Vec<LayerDelta>, DeltaError> {
    let mut seen: BTreeMap<Digest, Digest> = BTreeMap::new();
    let mut distinct = Vec::with_capacity(layers.len());
    for layer in layers {
        match seen.insert(layer.to, layer.blob.digest) {
            None => distinct.push(layer),
            Some(before) if before == layer.blob.digest => {}
            Some(_) => {
                return Err(DeltaError::Repeated {
                    digest: Box::new(layer.to),
                });
            }
        }
    }
    Ok(distinct)
}

fn one(found: &[&Descriptor], content: &'static str) -> Result<Descriptor, DeltaError> {
    match found {
        [one] => Ok((*one).clone()),
        _ => Err(DeltaError::Documents {
            content,
            found: found.len(),
        }),
    }
}
