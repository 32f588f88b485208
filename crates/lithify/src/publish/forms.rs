//! The forms an image is published in.

use lithify_oci::manifest::{Descriptor, ImageManifest, Index, media_type};
use lithify_oci::platform::EROFS_FEATURE;

use super::publisher::{Publisher, check_there, described, is_published_too, one, source};
use super::{artifact, config, layers};
use crate::artifacts::{self, VERITY};
use crate::error::{OutputError, PublishError};
use crate::fs::Kind;
use crate::manifest::base_config;
use crate::manifest::read_back::read_back;
use crate::transfer::{Plan, PlannedBlob};
use crate::{Error, Image};

impl Publisher<'_> {
    /// Adds the images and their EROFS forms, and the index of all.
    pub(super) fn index(&mut self, images: &[Image]) -> Result<(), Error> {
        if images.is_empty() {
            return Err(PublishError::NoImages.into());
        }
        let mut entries = Vec::new();
        for image in images {
            let oci = source(image)?;
            if is_published_too(oci) {
                entries.extend(self.original(image)?);
            }
        }
        for image in images {
            // Others have no use for EROFS.
            if base_config::platform(source(image)?, self.session).os() == "linux" {
                entries.push(self.erofs(image)?);
            }
        }
        self.document(media_type::OCI_INDEX, &Index::new(entries))?;
        Ok(())
    }

    /// Adds the EROFS forms of images: a manifest for one, an index for several.
    pub(super) fn only(&mut self, images: &[Image]) -> Result<(), Error> {
        let mut entries = Vec::new();
        for image in images {
            if base_config::platform(source(image)?, self.session).os() == "linux" {
                entries.push(self.erofs(image)?);
            }
        }
        match &*entries {
            [] => Err(Error::from(PublishError::PublishSource {
                name: images
                    .first()
                    .map(|i| i.name().to_owned())
                    .unwrap_or_default(),
                reason: "only Linux mounts EROFS layers, and it is for another system",
            })),
            // A client asks for the tag and gets the manifest: nothing is left to choose, for which many look for tars.
            [only] => {
                self.plan.end_with(only);
                Ok(())
            }
            _ => {
                self.document(media_type::OCI_INDEX, &Index::new(entries))?;
                Ok(())
            }
        }
    }

    /// Adds an image as it is. `None` if it has no manifest: one of `docker save`.
    ///
    /// Of an image whose blobs are not here any more, such as one in a composefs repository that keeps layers
    /// decompressed, only the manifest can be put; so the destination must have the rest already.
    fn original(&mut self, image: &Image) -> Result<Option<Descriptor>, Error> {
        let oci = source(image)?;
        let (Some(raw), Some(digest), Some(media_type)) =
            (oci.raw_manifest(), oci.manifest_digest(), oci.media_type())
        else {
            return Ok(None);
        };
        let manifest = ImageManifest::parse(raw, Some(media_type)).map_err(|source| {
            let name = lithify_oci::blob::BlobName::Manifest(Box::new(*digest));
            Error::opening(image.name(), lithify_oci::Error::Manifest { name, source })
        })?;
        // Their vendor's layers stay with him, as in a copy.
        let own = Plan::of_image(image.name(), oci, false, self.nature, self.session)?;
        let mut descriptor = Descriptor::new(media_type, *digest, raw.len() as u64);
        descriptor.platform = Some(oci.platform().clone());
        match own {
            Some(own) => self.plan.absorb(own),
            None => {
                check_there(image, &descriptor, self.look)?;
                self.plan.add_document(descriptor.clone(), raw.to_vec());
            }
        }
        self.report.manifests.push(described(
            "tar",
            &descriptor,
            oci.platform(),
            &manifest.layers,
        ));
        Ok(Some(descriptor))
    }

    /// Adds the image with EROFS layers.
    fn erofs(&mut self, image: &Image) -> Result<Descriptor, Error> {
        let oci = source(image)?;
        let layers::Made { layers, has_root } = layers::make(self, image)?;
        let sidecars = layers::sidecars(&layers);
        let diff_ids: Vec<_> = layers.iter().map(|l| l.diff_id).collect();
        let descriptors: Vec<_> = layers.iter().map(|l| l.descriptor.clone()).collect();
        for layer in layers {
            self.plan.add(PlannedBlob {
                descriptor: layer.descriptor,
                source: layer.blob,
            });
        }
        let config = config::rewrite(base_config::of(oci, self.session)?, &diff_ids, has_root)?;
        let config_blob = PlannedBlob::of_bytes(media_type::OCI_CONFIG, config.clone());
        let mut manifest = ImageManifest::new(config_blob.descriptor.clone(), descriptors.clone());
        self.plan.add(config_blob);
        if let Some(annotations) = oci.annotations() {
            manifest.annotations.clone_from(annotations);
        }
        let bytes = serde_json::to_vec(&manifest).map_err(OutputError::Json)?;
        read_back(&bytes, &config, diff_ids.len(), self.session)?;
        let mut descriptor = self.document(media_type::OCI_MANIFEST, &manifest)?;
        let platform = base_config::platform(oci, self.session);
        let features = oci.platform().os_features().iter().cloned();
        let platform = platform.with_os_features(features.chain([EROFS_FEATURE.to_owned()]));
        self.report
            .manifests
            .push(described("erofs", &descriptor, &platform, &descriptors));
        if self.options.verity {
            let artifact = artifact::sidecars(self, &descriptor, sidecars)?;
            self.report.manifests.push(described(
                VERITY,
                &artifact.descriptor,
                &platform,
                &artifact.layers,
            ));
        }
        descriptor.platform = Some(platform);
        Ok(descriptor)
    }

    /// Adds the image that an artifact is to refer to.
    pub(super) fn subject(&mut self, image: &Image) -> Result<Descriptor, Error> {
        let subject = self.original(image)?;
        subject.ok_or_else(|| {
            Error::from(PublishError::PublishSource {
                name: image.name().to_owned(),
                reason: "it has no manifest an artifact could refer to; copy it into a layout first",
            })
        })
    }

    /// Adds the merged filesystem as an artifact beside the image.
    pub(super) fn artifact(&mut self, images: &[Image], kind: Kind) -> Result<(), Error> {
        let image = one(images)?;
        let platform = source(image)?.platform();
        let subject = self.subject(image)?;
        let artifact = artifact::flat(self, image, &subject, kind)?;
        self.report.manifests.push(described(
            artifacts::media_type(kind),
            &artifact.descriptor,
            platform,
            &artifact.layers,
        ));
        self.plan.artifact_of = Some(subject);
        Ok(())
    }
}
