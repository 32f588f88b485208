//! Image manifests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::descriptor::{Descriptor, RawDescriptor};
use super::error::Error;
use super::field::{null_default, string_map};
use super::media_type::{self, LayerMediaType};
use super::{Document, ImageConfig};
use crate::Limits;

/// One image for one platform: a config and its layers, lowest first (image-spec, `manifest.md`;
/// Docker's schema 2 has the same form).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ImageManifest {
    schema_version: u8,
    /// The document's own media type; OCI manifests need not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact this is, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest this one says something about (image-spec 1.1, `manifest.md`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: RawDescriptor,
    #[serde(default, deserialize_with = "null_default")]
    layers: Vec<RawDescriptor>,
    subject: Option<RawDescriptor>,
    #[serde(default, deserialize_with = "string_map")]
    annotations: BTreeMap<String, String>,
}

impl ImageManifest {
    /// An OCI manifest of this config and these layers.
    #[must_use]
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Parses a manifest; `descriptor_type` is the media type of the descriptor that points to it.
    ///
    /// The result need not be a container image: see [`check_image`](Self::check_image).
    ///
    /// # Errors
    /// [`Error`] for anything but an image manifest; see the [module documentation](super).
    pub fn parse(json: &[u8], descriptor_type: Option<&str>) -> Result<Self, Error> {
        match Document::parse(json, descriptor_type)? {
            Document::Manifest(manifest) => Ok(*manifest),
            Document::Index(_) => Err(Error::Unrecognised),
        }
    }

    pub(super) fn parse_checked(json: &[u8]) -> Result<Self, Error> {
        let raw: RawManifest = serde_json::from_slice(json).map_err(|source| Error::Json {
            what: "manifest",
            source,
        })?;
        let layers = raw
            .layers
            .into_iter()
            .enumerate()
            .map(|(i, descriptor)| descriptor.check(|| format!("layers[{i}]")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            schema_version: 2,
            media_type: raw.media_type,
            artifact_type: raw.artifact_type.filter(|t| !t.is_empty()),
            config: raw.config.check(|| "config".to_owned())?,
            layers,
            subject: raw
                .subject
                .map(|subject| subject.check(|| "subject".to_owned()))
                .transpose()?,
            annotations: raw.annotations,
        })
    }

    /// The descriptor of this manifest, whose bytes have that digest and size, for lists of what refers to its subject:
    /// with its artifact type, which is its config's type where it does not say, and its annotations
    /// (distribution-spec, "Listing Referrers").
    #[must_use]
    pub fn described(&self, digest: lithify_digest::Digest, size: u64) -> Descriptor {
        let media_type = self.media_type.as_deref();
        let mut descriptor =
            Descriptor::new(media_type.unwrap_or(media_type::OCI_MANIFEST), digest, size);
        let artifact_type = self.artifact_type.as_ref();
        descriptor.artifact_type = Some(artifact_type.unwrap_or(&self.config.media_type).clone())
            .filter(|t| !t.is_empty());
        descriptor.annotations.clone_from(&self.annotations);
        descriptor
    }

    /// Checks that this is a container image whose layers lithify can decode.
    ///
    /// # Errors
    /// [`Error::NotAnImage`] for artifacts, [`Error::TooMany`] layers, [`Error::EncryptedLayer`],
    /// [`Error::LayerMediaType`], [`Error::LayerRole`].
    pub fn check_image(&self, limits: &Limits) -> Result<(), Error> {
        if self.has_odd_config_type() && !self.may_be_an_image() {
            return Err(self.not_an_image());
        }
        if self.layers.len() > limits.layers {
            let (found, limit) = (self.layers.len(), limits.layers);
            return Err(Error::TooMany {
                what: "layers",
                found,
                limit,
                option: "layers",
            });
        }
        for (index, layer) in self.layers.iter().enumerate() {
            let media_type = || layer.media_type.clone();
            match LayerMediaType::of(&layer.media_type) {
                LayerMediaType::Tar { .. } | LayerMediaType::ErofsChunkIndex => {}
                LayerMediaType::Erofs { .. } => check_role(index, layer)?,
                LayerMediaType::Encrypted => {
                    return Err(Error::EncryptedLayer {
                        index,
                        media_type: media_type(),
                    });
                }
                LayerMediaType::Unknown => {
                    return Err(Error::LayerMediaType {
                        index,
                        media_type: media_type(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Parses `json` as the config of this manifest, and checks that it describes as many layers as there are.
    ///
    /// A config whose media type is not that of an image config is one if it says so itself: it parses as such, and has
    /// a diff id for each layer.
    ///
    /// # Errors
    /// [`Error`] as [`ImageConfig::parse`]; [`Error::NotAnImage`].
    pub fn parse_config(&self, json: &[u8]) -> Result<ImageConfig, Error> {
        let parsed = ImageConfig::parse(json);
        if !self.has_odd_config_type() {
            return parsed;
        }
        match parsed {
            Ok(config) if self.check_config(&config).is_ok() => Ok(config),
            _ => Err(self.not_an_image()),
        }
    }

    /// Checks that `config` describes as many layers as there are.
    ///
    /// # Errors
    /// [`Error::LayerCount`].
    pub fn check_config(&self, config: &ImageConfig) -> Result<(), Error> {
        check_layer_count(self.layers.len(), config)
    }

    /// Whether one of its layers, if it has any, is of a kind that images have, also where lithify cannot decode it.
    pub(crate) fn has_layers_of_images(&self) -> bool {
        let is_layer = |layer: &Descriptor| {
            LayerMediaType::of(&layer.media_type) != LayerMediaType::Unknown
                || layer.media_type.is_empty()
                || media_type::is_of_a_layer(&layer.media_type)
        };
        self.layers.is_empty() || self.layers.iter().any(is_layer)
    }

    fn has_odd_config_type(&self) -> bool {
        !media_type::is_image_config(&self.config.media_type)
    }

    /// Whether, by its layers, it may be an image in spite of its config's media type: that says nothing about the files
    /// in it, some builders write `application/json` or nothing, and Docker's registries had `application/octet-stream` and
    /// `text/html` there from 2015 to 2017. An image of Docker's may have no layers.
    fn may_be_an_image(&self) -> bool {
        let is_layer = |layer: &Descriptor| {
            !matches!(
                LayerMediaType::of(&layer.media_type),
                LayerMediaType::Encrypted | LayerMediaType::Unknown
            )
        };
        self.artifact_type.is_none()
            && self.config.media_type != media_type::OCI_EMPTY
            && (!self.layers.is_empty()
                || self.media_type.as_deref() == Some(media_type::DOCKER_MANIFEST))
            && self.layers.iter().all(is_layer)
    }

    /// The artifact type says more than the empty config artifacts have.
    fn not_an_image(&self) -> Error {
        match &self.artifact_type {
            Some(found) => Error::NotAnImage {
                found: found.clone(),
                artifact: true,
            },
            None => Error::NotAnImage {
                found: self.config.media_type.clone(),
                artifact: false,
            },
        }
    }
}

/// Layers that only hold data for others are none lithify can stack (erofs-image-spec 2.4).
fn check_role(index: usize, layer: &Descriptor) -> Result<(), Error> {
    match layer.annotations.get(EROFS_ROLE).map(String::as_str) {
        None | Some("" | "overlay-lower") => Ok(()),
        Some(role) => Err(Error::LayerRole {
            index,
            role: role.to_owned(),
        }),
    }
}

/// The annotation of an EROFS layer that says what part it has in the image (erofs-image-spec 2.4).
pub const EROFS_ROLE: &str = "org.erofs.role";

/// The annotation of an EROFS layer with the digest of the image without its compression, that is, the diff_id
/// (erofs-image-spec 2.3).
pub const EROFS_UNCOMPRESSED: &str = "org.erofs.uncompressed-digest";

pub(crate) fn check_layer_count(layers: usize, config: &ImageConfig) -> Result<(), Error> {
    let diff_ids = config.diff_ids.len();
    if layers == diff_ids {
        Ok(())
    } else {
        Err(Error::LayerCount { layers, diff_ids })
    }
}
