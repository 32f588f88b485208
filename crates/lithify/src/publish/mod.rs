//! Images as filesystems, published the way images are.
//!
//! `erofs`: every layer becomes an EROFS image, byte for byte the one `-f containerd-cache` makes, and is the layer of a second
//! manifest. An index names the image's own manifest first: whoever knows nothing of EROFS takes the first that
//! suits the platform. The second one's configuration has the digests of the EROFS images as `rootfs.diff_ids` and
//! `erofs` among its `os.features`, like its entry in the index.
//!
//! `squashfs` and `erofs-image`: the merged filesystem as one file, an artifact whose subject is the image's manifest.

pub(crate) mod artifact; // manifests of artifacts
mod config; // rewritten configurations
pub(crate) mod facts; // what an artifact says it is
mod layers; // EROFS layers and their descriptors
mod spec; // the two conventions
mod survey; // publishing that is not done

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use lithify_oci::manifest::{Descriptor, ImageManifest, Index, media_type};
use lithify_oci::platform::EROFS_FEATURE;
use lithify_oci::source::Source;
use lithify_oci::{LayerKind, Platform};
use serde::Serialize;

use crate::base_config;
use crate::error::{OutputError, PublishError};
use crate::image::LayerBlob;
use crate::make::filesystem::Kind;
use crate::name::shown;
use crate::place::{self, Writing};
use crate::read_back::read_back;
use crate::transfer::{Bytes, Plan, PlanReport, PlannedBlob, Target, run};
use crate::{Compression, Error, Image, ReadOptions, StoreChoice};

pub use spec::{ErofsSpec, UnknownErofsSpec};

/// As what an image is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishForm {
    /// An index of the image and of the same image with EROFS layers, or these [alone](PublishOptions::only).
    #[default]
    ErofsLayers,
    /// One EROFS image with the merged filesystem, as an artifact.
    ErofsImage,
    /// One squashfs image with the merged filesystem, as an artifact.
    Squashfs,
}

/// How an image is published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishOptions {
    /// As what.
    pub form: PublishForm,
    /// Publish the image with EROFS layers alone, without the one it is made of: a manifest for one platform, an index of
    /// such manifests for several. What knows nothing of EROFS then finds nothing to run. Only for EROFS layers.
    pub only: bool,
    /// By which convention EROFS layers are described.
    pub spec: ErofsSpec,
    /// Compress each EROFS layer as a whole with zstd, for the way. Whoever uses it decompresses it.
    pub zstd: bool,
    /// How file data is compressed in the images. Default as for builds.
    pub compression: Option<Compression>,
    /// Append a dm-verity hash tree to each image and publish the root hashes.
    pub verity: bool,
    /// Leave out extended attributes the images cannot hold; without, they are an error.
    pub drop_xattrs: bool,
    /// Where images of layers are kept and looked for.
    pub store: StoreChoice,
    /// Blobs moved at the same time; `None` is 4.
    pub transfers: Option<NonZeroUsize>,
    /// Bytes of one piece of an upload to a registry; `None` uploads blobs in one.
    pub chunk: Option<u64>,
    /// Wait until what was written here is on the disk. Default true.
    pub durable: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            form: PublishForm::default(),
            only: false,
            spec: ErofsSpec::default(),
            zstd: false,
            compression: None,
            drop_xattrs: false,
            verity: false,
            store: StoreChoice::default(),
            transfers: None,
            chunk: None,
            durable: true,
        }
    }
}

/// What was published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PublishReport {
    /// Digest of what the destination's name leads to: an index, or the image's manifest an artifact was added to.
    pub digest: String,
    /// The manifests, in the order of the index.
    pub manifests: Vec<PublishedManifest>,
    /// The reasons why artifacts that are there are not listed as referring to the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers_unlisted: Vec<String>,
}

/// One manifest of what was published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PublishedManifest {
    /// Its digest.
    pub digest: String,
    /// `tar` for the image's own, `erofs` for the one with EROFS layers, else the type of the artifact.
    pub form: String,
    /// What it is for.
    pub platform: String,
    /// Its layers' media types, sizes and digests.
    pub layers: Vec<PublishedLayer>,
}

/// One layer of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PublishedLayer {
    /// Its media type.
    pub media_type: String,
    /// Digest of its blob.
    pub digest: String,
    /// Bytes of its blob.
    pub size: u64,
}

/// Publishes an image, opened once for each platform it is wanted for. `destination` is `oci:DIR` or `oci:DIR:TAG`.
///
/// The same images and options give the same digests.
///
/// # Errors
/// [`PublishError::PublishDestination`](crate::PublishError::PublishDestination) and [`PublishError::PublishSource`](crate::PublishError::PublishSource) for what cannot be published so; [`LayerError::Overlay`](crate::LayerError::Overlay) for a
/// layer that cannot be one of an overlay (a character device 0:0); [`PublishError::PublishWhiteouts`](crate::PublishError::PublishWhiteouts); and what building and
/// writing fails with. Nothing has the destination's name before everything is there.
pub fn publish(
    images: &[Image],
    destination: impl AsRef<OsStr>,
    options: &PublishOptions,
    read: &ReadOptions,
) -> Result<PublishReport, Error> {
    let read = &crate::make::xattrs::reading(read, options.drop_xattrs);
    publish_to(images, destination.as_ref(), options, read).map_err(|e| read.reason(e))
}

/// Says what [`publish`] would send and make, and what of it is there already. Nothing is written.
///
/// # Errors
/// As [`publish`], as far as it comes.
pub fn plan_publish(
    images: &[Image],
    destination: impl AsRef<OsStr>,
    options: &PublishOptions,
    read: &ReadOptions,
) -> Result<PlanReport, Error> {
    let target = target(images, destination.as_ref(), options, read);
    let planned = target.and_then(|(name, target)| {
        let look = target.look()?;
        survey::plan(images, &name, target.nature(), &look, options, read)
    });
    planned.map_err(|e| read.reason(e))
}

/// Checks that the destination can take what is published. Returns its name too.
fn target(
    images: &[Image],
    destination: &OsStr,
    options: &PublishOptions,
    read: &ReadOptions,
) -> Result<(String, Box<dyn Target>), Error> {
    let name = shown(destination);
    let writing = Writing {
        source: images.first().map(|image| image.source().clone()),
        chunk: options.chunk,
        durable: options.durable,
        all_platforms: false,
    };
    let target = place::target(destination, &writing, read)?;
    match target.nature().other_layers {
        true => Ok((name, target)),
        false => Err(Error::from(PublishError::PublishDestination { name })),
    }
}

fn publish_to(
    images: &[Image],
    destination: &OsStr,
    options: &PublishOptions,
    read: &ReadOptions,
) -> Result<PublishReport, Error> {
    let (_, target) = target(images, destination, options, read)?;
    let to = Source::parse_destination(destination)?;
    let nature = target.nature();
    // What is made on the way goes where it can be written to: into a layout's own directory.
    let beside = target.scratch();
    let destination = target.open()?;
    let (plan, mut report) = plan(images, beside, options, read)?;
    let places = images.iter().map(Image::source).chain([&to]);
    let workers = place::at_a_time(options.transfers, places, nature, read)?;
    if let Some(root) = plan.root() {
        report.digest = root.digest.to_string();
    }
    report.referrers_unlisted = run(plan, destination, workers, read)?.unlisted;
    Ok(report)
}

/// Makes everything that is to be published. Scratch files go beside `beside`.
fn plan(
    images: &[Image],
    beside: PathBuf,
    options: &PublishOptions,
    read: &ReadOptions,
) -> Result<(Plan, PublishReport), Error> {
    let mut publisher = Publisher {
        plan: Plan::default(),
        report: PublishReport::default(),
        beside,
        options,
        read,
    };
    match options.form {
        PublishForm::ErofsLayers if options.only => publisher.only(images)?,
        PublishForm::ErofsLayers => publisher.index(images)?,
        PublishForm::ErofsImage => publisher.artifact(images, Kind::Erofs)?,
        PublishForm::Squashfs => publisher.artifact(images, Kind::Squashfs)?,
    }
    Ok((publisher.plan, publisher.report))
}

/// The plan as it grows, and what all steps of publishing need.
struct Publisher<'a> {
    plan: Plan,
    report: PublishReport,
    beside: PathBuf,
    options: &'a PublishOptions,
    read: &'a ReadOptions,
}

impl Publisher<'_> {
    /// Adds the images and their EROFS forms, and the index of all.
    fn index(&mut self, images: &[Image]) -> Result<(), Error> {
        if images.is_empty() {
            return Err(PublishError::NoImages.into());
        }
        let mut entries = Vec::new();
        for image in images {
            let oci = source(image)?;
            // An image of EROFS layers alone is its own EROFS form.
            let layers = oci.layers();
            if layers.is_empty() || layers.iter().any(|l| l.kind == LayerKind::Tar) {
                entries.extend(self.original(image)?);
            }
        }
        for image in images {
            // Others have no use for EROFS.
            if base_config::platform(source(image)?, self.read).os() == "linux" {
                entries.push(self.erofs(image)?);
            }
        }
        self.document(media_type::OCI_INDEX, &Index::new(entries))?;
        Ok(())
    }

    /// Adds the EROFS forms of images: a manifest for one, an index for several.
    fn only(&mut self, images: &[Image]) -> Result<(), Error> {
        let mut entries = Vec::new();
        for image in images {
            if base_config::platform(source(image)?, self.read).os() == "linux" {
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
    fn original(&mut self, image: &Image) -> Result<Option<Descriptor>, Error> {
        let oci = source(image)?;
        let (Some(raw), Some(digest), Some(media_type)) =
            (oci.raw_manifest(), oci.manifest_digest(), oci.media_type())
        else {
            return Ok(None);
        };
        let opened = |source| Error::opening(image.name(), source);
        let manifest = ImageManifest::parse(raw, Some(media_type)).map_err(|source| {
            opened(lithify_oci::Error::Manifest {
                name: lithify_oci::blob::BlobName::Manifest(Box::new(*digest)),
                source,
            })
        })?;
        for (index, layer) in manifest.layers.iter().enumerate() {
            self.plan.add(PlannedBlob {
                descriptor: layer.clone(),
                source: Box::new(LayerBlob::of(image.name(), oci, index)),
            });
        }
        self.plan.add(PlannedBlob {
            descriptor: manifest.config.clone(),
            source: Box::new(Bytes(oci.raw_config().into())),
        });
        let mut descriptor = Descriptor::new(media_type, *digest, raw.len() as u64);
        self.plan.add_document(descriptor.clone(), raw.to_vec());
        descriptor.platform = Some(oci.platform().clone());
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
        let config = config::rewrite(base_config::of(oci, self.read)?, &diff_ids, has_root)?;
        let config_blob = PlannedBlob::of_bytes(media_type::OCI_CONFIG, config.clone());
        let mut manifest = ImageManifest::new(config_blob.descriptor.clone(), descriptors.clone());
        self.plan.add(config_blob);
        if let Some(annotations) = oci.annotations() {
            manifest.annotations.clone_from(annotations);
        }
        let bytes = serde_json::to_vec(&manifest).map_err(OutputError::Json)?;
        read_back(&bytes, &config, diff_ids.len(), self.read)?;
        let mut descriptor = self.document(media_type::OCI_MANIFEST, &manifest)?;
        let platform = base_config::platform(oci, self.read);
        let features = oci.platform().os_features().iter().cloned();
        let platform = platform.with_os_features(features.chain([EROFS_FEATURE.to_owned()]));
        self.report
            .manifests
            .push(described("erofs", &descriptor, &platform, &descriptors));
        if self.options.verity {
            let artifact = artifact::sidecars(self, &descriptor, sidecars)?;
            self.report.manifests.push(described(
                artifact::VERITY,
                &artifact.descriptor,
                &platform,
                &artifact.layers,
            ));
        }
        descriptor.platform = Some(platform);
        Ok(descriptor)
    }

    /// Adds the merged filesystem as an artifact beside the image.
    fn artifact(&mut self, images: &[Image], kind: Kind) -> Result<(), Error> {
        let [image] = images else {
            return Err(Error::from(PublishError::PublishSource {
                name: images
                    .first()
                    .map(|i| i.name().to_owned())
                    .unwrap_or_default(),
                reason: "an artifact is of one platform's image",
            }));
        };
        let platform = source(image)?.platform();
        let subject = self
            .original(image)?
            .ok_or_else(|| Error::from(PublishError::PublishSource {
                name: image.name().to_owned(),
                reason: "it has no manifest an artifact could refer to; copy it into a layout first",
            }))?;
        let artifact = artifact::flat(self, image, &subject, kind)?;
        self.report.manifests.push(described(
            artifact::media_type(kind),
            &artifact.descriptor,
            platform,
            &artifact.layers,
        ));
        self.plan.artifact_of = Some(subject);
        Ok(())
    }

    /// Adds a manifest or index.
    fn document(
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

/// The image with its manifest and configuration, which those of files do not have.
fn source(image: &Image) -> Result<&Arc<lithify_oci::Image>, Error> {
    image.shared_oci().ok_or_else(|| {
        Error::from(PublishError::PublishSource {
            name: image.name().to_owned(),
            reason: "it has no configuration",
        })
    })
}

fn described_bytes(media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = lithify_digest::Digest::of(lithify_digest::Algorithm::Sha256, bytes);
    Descriptor::new(media_type, digest, bytes.len() as u64)
}

fn described(
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
