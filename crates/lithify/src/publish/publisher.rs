//! The plan of what is published, as it grows.

use std::path::PathBuf;
use std::sync::Arc;

use lithify_oci::manifest::Descriptor;
use lithify_oci::{LayerKind, Platform};
use serde::Serialize;

use super::options::{PublishOptions, PublishReport, PublishedLayer, PublishedManifest};
use crate::error::{OutputError, PublishError};
use crate::transfer::{Look, Nature, Plan, Sort};
use crate::{Error, Image, Session};

/// The plan as it grows, and what all steps of publishing need.
pub(super) struct Publisher<'a> {
    pub(super) plan: Plan,
    pub(super) report: PublishReport,
    /// That of the destination.
    pub(super) nature: Nature,
    /// Answers what the destination has.
    pub(super) look: &'a Look,
    pub(super) beside: PathBuf,
    pub(super) options: &'a PublishOptions,
    pub(super) session: &'a Session,
}

impl Publisher<'_> {
    /// Adds a manifest or index.
    pub(super) fn document(
        &mut self,
        media_type: &str,
        document: &impl Serialize,
    ) -> Result<Descriptor, Error> {
        let bytes = serde_json::to_vec(document).map_err(OutputError::Json)?;
        let descriptor = described_bytes(media_type, &bytes);
        self.plan.add_document(descriptor.clone(), bytes);
        Ok(descriptor)
    }
}

/// Checks that a destination has the manifest of an image whose blobs cannot be put there: what refers to it would
/// otherwise refer to nothing.
pub(super) fn check_there(image: &Image, manifest: &Descriptor, look: &Look) -> Result<(), Error> {
    match look(Sort::Document, manifest)? {
        true => Ok(()),
        false => Err(Error::from(PublishError::NotThere {
            name: image.name().to_owned(),
            manifest: Box::new(manifest.digest),
        })),
    }
}

/// The image an artifact is made of.
pub(super) fn one(images: &[Image]) -> Result<&Image, Error> {
    match images {
        [image] => Ok(image),
        _ => Err(Error::from(PublishError::PublishSource {
            name: images
                .first()
                .map(|i| i.name().to_owned())
                .unwrap_or_default(),
            reason: "an artifact is of one platform's image",
        })),
    }
}

/// Whether an image is published beside its EROFS form: one of EROFS layers alone is its own.
pub(super) fn is_published_too(image: &lithify_oci::Image) -> bool {
    let layers = image.layers();
    layers.is_empty() || layers.iter().any(|l| l.kind == LayerKind::Tar)
}

/// The image with its manifest and configuration, which those of files do not have.
pub(super) fn source(image: &Image) -> Result<&Arc<lithify_oci::Image>, Error> {
    image.shared_oci().ok_or_else(|| {
        Error::from(PublishError::PublishSource {
            name: image.name().to_owned(),
            reason: "it has no configuration",
        })
    })
}

pub(super) fn described_bytes(media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = lithify_digest::Digest::of(lithify_digest::Algorithm::Sha256, bytes);
    Descriptor::new(media_type, digest, bytes.len() as u64)
}

pub(super) fn described(
    form: &str,
    descriptor: &Descriptor,
    platform: &Platform,
    layers: &[Descriptor],
) -> PublishedManifest {
    PublishedManifest {
        digest: descriptor.digest.to_string(),
        form: form.to_owned(),
        platform: platform.to_string(),
        layers: layers
            .iter()
            .map(|layer| PublishedLayer {
                media_type: layer.media_type.clone(),
                digest: layer.digest.to_string(),
                size: layer.size,
            })
            .collect(),
    }
}
