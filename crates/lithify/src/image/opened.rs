//! An opened image, whatever it came from.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_cancel::Interruptible;
use lithify_digest::Digest;
use lithify_layer::Names;
use lithify_oci::manifest::Compression;
use lithify_oci::platform::EROFS_FEATURE;
use lithify_oci::source::{Selector, Source, TarInput};
use lithify_oci::{Content, LayerKind};

use super::NativeBlob;
use super::Sniffed;
use super::TreeImage;
use super::sniff;
use crate::CancelToken;
use crate::Error;
use crate::description::{
    Description, LayerDescription, PlatformDescription, ReferrerDescription, Referrers,
};
use crate::name::{name_of_source, shown};
use crate::session::Session;
use crate::transfer::BlobSource;

/// An image: some layers and, unless it is a bare root filesystem, a configuration.
///
/// Opening reads and verifies manifest and configuration; layers are read when something is made of them.
#[derive(Debug)]
pub struct Image {
    source: Source,
    /// The name as it was given, for messages.
    name: String,
    origin: Origin,
}

#[derive(Debug)]
pub(crate) enum Origin {
    /// Manifest, configuration, layers.
    Oci(Arc<lithify_oci::Image>),
    /// A host directory.
    Rootfs(PathBuf),
    /// A tar of a root filesystem.
    Tar(TarInput),
    /// A root filesystem in an image file.
    Filesystem(Arc<dyn TreeImage>),
}

/// What a layer is read from.
pub(crate) enum LayerInput {
    /// A blob, what is known about it, and what its names mean.
    Blob(Box<dyn Read + Send>, lithify_layer::Expected, Names),
    /// An EROFS image.
    Native(NativeBlob),
    /// A host directory.
    Directory(PathBuf),
    /// A filesystem that is no layer.
    Filesystem(Box<dyn TreeImage>),
}

impl Origin {
    /// An image, and what its layers really are: where no media type says so, or a wrong one, the blobs do. Those that are
    /// not at hand are looked at when they are read.
    pub(crate) fn of(mut image: lithify_oci::Image) -> Self {
        let remote = image.content().is_some_and(|content| content.is_remote());
        for index in 0..image.layers().len() {
            if remote || image.layers()[index].kind != LayerKind::Tar {
                continue;
            }
            // What cannot be opened is an error for who reads it.
            if let Ok(blob) = image.open_layer(index)
                && let Some(compression) = sniff(blob.into_reader()).erofs
            {
                image.set_layer_kind(index, LayerKind::Erofs, compression);
            }
        }
        Self::Oci(Arc::new(image))
    }

    /// Opens the image for the platform asked for.
    pub(crate) fn of_located(
        name: &str,
        located: lithify_oci::Located,
        session: &Session,
    ) -> Result<Self, Error> {
        let limits = session.limits.image.clone();
        let mut open = lithify_oci::OpenOptions::default()
            .with_limits(limits)
            .preferring(session.layers);
        open.platform.clone_from(&session.platform);
        let (content, root, names) = (located.content, located.root, located.names);
        let image = lithify_oci::Image::from_content(content, root, names, &open);
        Ok(Self::of(image.map_err(|e| Error::opening(name, e))?))
    }
}

impl Image {
    /// Returns an image that was opened.
    pub(crate) fn new(name: &str, source: Source, origin: Origin) -> Self {
        Self {
            source,
            name: name.to_owned(),
            origin,
        }
    }

    /// Opens what a name says for every platform it is there for. Of manifests that differ only in what their layers are,
    /// [`Session::layers`] says which.
    pub(crate) fn of_all(
        name: &str,
        source: &Source,
        located: &lithify_oci::Located,
        session: &Session,
    ) -> Result<Vec<Self>, Error> {
        let limits = &session.limits.image;
        let failed = |source| Error::opening(name, source);
        let native = |platform: &lithify_oci::Platform| {
            platform.os_features().iter().any(|f| f == EROFS_FEATURE)
        };
        let plain = |platform: &lithify_oci::Platform| {
            let features = platform
                .os_features()
                .iter()
                .filter(|f| *f != EROFS_FEATURE);
            platform.clone().with_os_features(features.cloned())
        };
        let there = located.platforms(limits).map_err(failed)?;
        let wants_native = session.layers == LayerKind::Erofs;
        let mut images = Vec::new();
        for (platform, manifest) in &there {
            let has_other = there.iter().any(|(other, _)| {
                native(other) != native(platform) && plain(other) == plain(platform)
            });
            if has_other && native(platform) != wants_native {
                continue;
            }
            let open = lithify_oci::OpenOptions::default()
                .with_limits(limits.clone())
                .with_platform(platform.clone());
            let (content, names) = (located.content.clone(), located.names.clone());
            let image = lithify_oci::Image::from_content(content, manifest.clone(), names, &open);
            let origin = Origin::of(image.map_err(failed)?);
            images.push(Self::new(name, source.clone(), origin));
        }
        Ok(images)
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The name it was opened by, as it was understood.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The manifest and configuration, to be kept.
    pub(crate) fn shared_oci(&self) -> Option<&Arc<lithify_oci::Image>> {
        match &self.origin {
            Origin::Oci(image) => Some(image),
            Origin::Rootfs(_) | Origin::Tar(_) | Origin::Filesystem(_) => None,
        }
    }

    /// The name the image was opened by; what is not UTF-8 in it is spelled `\xNN`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name by which a store knows the image: that of its place, wherever it was named from.
    #[must_use]
    pub fn store_name(&self) -> String {
        name_of_source(&self.source)
    }

    /// The name without what is of this machine: a tag or digest, or the kind of source.
    pub(crate) fn portable_name(&self) -> String {
        let selector = match &self.source {
            Source::Oci { selector, .. }
            | Source::OciArchive { selector, .. }
            | Source::DockerArchive { selector, .. }
            | Source::Composefs { selector, .. } => selector.as_ref(),
            _ => None,
        };
        match selector {
            Some(Selector::Name(name)) => name.clone(),
            Some(Selector::Digest(digest)) => digest.to_string(),
            _ => match self.oci() {
                Some(image) => image
                    .manifest_digest()
                    .unwrap_or(image.config_digest())
                    .to_string(),
                None => match &self.origin {
                    Origin::Rootfs(_) => "rootfs".to_owned(),
                    Origin::Filesystem(image) => image.kind_name().to_owned(),
                    _ => "tar".to_owned(),
                },
            },
        }
    }

    /// The manifest and configuration, for images that have them.
    #[must_use]
    pub fn oci(&self) -> Option<&lithify_oci::Image> {
        match &self.origin {
            Origin::Oci(image) => Some(image),
            Origin::Rootfs(_) | Origin::Tar(_) | Origin::Filesystem(_) => None,
        }
    }

    /// Number of layers.
    #[must_use]
    pub fn layer_count(&self) -> usize {
        self.oci().map_or(1, |image| image.layers().len())
    }

    /// What a person calls a layer.
    pub(crate) fn layer_name(&self, index: usize) -> String {
        match &self.origin {
            Origin::Oci(image) => {
                let layer = &image.layers()[index];
                layer.digest.unwrap_or(layer.diff_id).to_string()
            }
            Origin::Rootfs(path) | Origin::Tar(TarInput::File(path)) => shown(path.as_os_str()),
            Origin::Filesystem(image) => shown(image.path().as_os_str()),
            Origin::Tar(_) => "standard input".to_owned(),
        }
    }

    /// The hosts that gave a layer when it was read last, where the image's name does not say.
    pub(crate) fn layer_given_by(&self, index: usize) -> Vec<String> {
        let Origin::Oci(image) = &self.origin else {
            return Vec::new();
        };
        match (image.content(), image.layers()[index].digest) {
            (Some(content), Some(digest)) => content.given_by(&digest),
            _ => Vec::new(),
        }
    }

    /// Whether its layers can be read a second time.
    pub(crate) fn can_be_read_again(&self) -> bool {
        match &self.origin {
            // What is no regular file may be a pipe.
            Origin::Tar(TarInput::File(path)) => path.is_file(),
            Origin::Tar(_) => false,
            Origin::Oci(_) | Origin::Rootfs(_) | Origin::Filesystem(_) => true,
        }
    }

    /// Size of a layer's blob, where it is known.
    pub(crate) fn blob_size(&self, index: usize) -> Option<u64> {
        match &self.origin {
            Origin::Oci(image) => image.layers()[index].size,
            Origin::Tar(TarInput::File(path)) => std::fs::metadata(path)
                .ok()
                .filter(|m| m.is_file())
                .map(|m| m.len()),
            Origin::Rootfs(_) | Origin::Tar(_) | Origin::Filesystem(_) => None,
        }
    }

    /// Opens a layer for reading.
    pub(crate) fn open_layer(
        &self,
        index: usize,
        cancel: &CancelToken,
    ) -> Result<LayerInput, Error> {
        let unknown = lithify_layer::Expected::nothing();
        Ok(match &self.origin {
            Origin::Oci(image) => {
                let layer = &image.layers()[index];
                let blob = image
                    .open_layer(index)
                    .map_err(|e| Error::opening(self.name.clone(), e))?;
                let at = blob.random_access();
                let Sniffed { reader, erofs } = sniff(blob.into_reader());
                if let Some(compression) = erofs {
                    let native = NativeBlob::new(reader, at, compression, layer);
                    return Ok(LayerInput::Native(native));
                }
                if layer.kind != LayerKind::Tar {
                    let compression = layer.compression.unwrap_or(Compression::None);
                    let native = NativeBlob::new(reader, at, compression, layer);
                    return Ok(LayerInput::Native(native));
                }
                let expected = lithify_layer::Expected {
                    digest: layer.digest,
                    size: layer.size,
                    diff_id: Some(layer.diff_id),
                    compression: layer.compression.and_then(compression),
                };
                LayerInput::Blob(reader, expected, Names::Layer)
            }
            Origin::Rootfs(path) => LayerInput::Directory(path.clone()),
            Origin::Filesystem(image) => LayerInput::Filesystem(image.same_until(cancel)?),
            Origin::Tar(input) => {
                let tar: Box<dyn Read + Send> = match input {
                    TarInput::File(path) => open_file(path, cancel)?,
                    _ => Box::new(
                        Interruptible::stdin(cancel)
                            .map_err(|e| Error::input(Path::new("standard input"), e))?,
                    ),
                };
                let Sniffed { reader, erofs } = sniff(tar);
                match erofs {
                    Some(compression) => LayerInput::Native(NativeBlob::root(reader, compression)),
                    None => LayerInput::Blob(reader, unknown, Names::Plain),
                }
            }
        })
    }

    /// What its place lists as referring to its manifest: signatures, root hashes, filesystems made of it. Empty for
    /// images without a manifest. Nothing is verified.
    ///
    /// # Errors
    /// [`OpenError::Open`](crate::OpenError::Open). What its place does not say is no error: [`Referrers::unlisted`].
    pub fn referrers(&self) -> Result<Referrers, Error> {
        let Some((content, digest)) = self
            .oci()
            .and_then(|oci| Some((oci.content()?, oci.manifest_digest()?)))
        else {
            return Ok(Referrers::default());
        };
        let mut unlisted = Vec::new();
        let listed = self.said(content.referrers(digest, None), &mut unlisted)?;
        let listed = listed.unwrap_or_default();
        let described = listed.into_iter().map(|d| ReferrerDescription {
            digest: d.digest.to_string(),
            media_type: d.media_type,
            size: d.size,
            artifact_type: d.artifact_type,
            tag: None,
            annotations: d.annotations,
        });
        let mut described: Vec<_> = described.collect();
        for tag in lithify_oci::signature_tags(digest) {
            let Some(found) = self.said(content.tagged(&tag), &mut unlisted)? else {
                // It will not say more of the others.
                break;
            };
            // Some registries take such a tag for the digest it is made of.
            let Some(found) = found.filter(|found| found.digest != *digest) else {
                continue;
            };
            let found_digest = found.digest.to_string();
            let listed = described.iter_mut().find(|d| d.digest == found_digest);
            if let Some(listed) = listed.filter(|d| d.tag.is_none()) {
                listed.tag = Some(tag);
            } else {
                described.push(ReferrerDescription {
                    digest: found_digest,
                    media_type: found.media_type,
                    size: found.size,
                    tag: Some(tag),
                    ..ReferrerDescription::default()
                });
            }
        }
        Ok(Referrers {
            listed: described,
            unlisted,
        })
    }

    /// What its place says of what refers to it; nothing, and the reason, where it does not say.
    fn said<T>(
        &self,
        said: Result<T, lithify_oci::blob::Error>,
        unlisted: &mut Vec<String>,
    ) -> Result<Option<T>, Error> {
        match said {
            Ok(said) => Ok(Some(said)),
            Err(error @ lithify_oci::blob::Error::Unlisted { .. }) => {
                log::warn!("{error}");
                unlisted.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(Error::opening(self.name.clone(), error)),
        }
    }

    /// The image as data.
    #[must_use]
    pub fn describe(&self) -> Description {
        let mut description = Description {
            reference: self.name.clone(),
            ..Description::default()
        };
        let Some(image) = self.oci() else {
            description.layers = vec![LayerDescription {
                size: self.blob_size(0),
                ..LayerDescription::default()
            }];
            return description;
        };
        let platform = image.platform();
        description.manifest_digest = image.manifest_digest().map(ToString::to_string);
        description.media_type = image.media_type().map(ToString::to_string);
        description.config_digest = Some(image.config_digest().to_string());
        description.platform = Some(PlatformDescription {
            os: platform.os().to_owned(),
            architecture: platform.architecture().to_owned(),
            variant: platform.variant().map(ToOwned::to_owned),
            os_version: platform.os_version().map(ToOwned::to_owned),
            os_features: platform.os_features().to_vec(),
        });
        // The configuration was parsed when the image was opened; here its fields are wanted as they stand.
        if let Ok(mut config) = serde_json::from_slice::<serde_json::Value>(image.raw_config()) {
            description.created = config
                .get("created")
                .and_then(|c| c.as_str())
                .map(ToOwned::to_owned);
            description.config = config
                .get_mut("config")
                .map(serde_json::Value::take)
                .filter(|c| !c.is_null());
        }
        description.layers = image
            .layers()
            .iter()
            .map(|layer| LayerDescription {
                digest: layer.digest.map(|d| d.to_string()),
                diff_id: Some(layer.diff_id.to_string()),
                media_type: layer.media_type.clone(),
                filesystem: (layer.kind != LayerKind::Tar).then(|| "erofs".to_owned()),
                size: layer.size,
                ..LayerDescription::default()
            })
            .collect();
        description
    }
}

/// The blob of a layer, as it is.
pub(crate) struct LayerBlob {
    name: String,
    image: Arc<lithify_oci::Image>,
    index: usize,
}

impl LayerBlob {
    pub(crate) fn of(name: &str, image: &Arc<lithify_oci::Image>, index: usize) -> Self {
        Self {
            name: name.to_owned(),
            image: Arc::clone(image),
            index,
        }
    }

    /// Returns what finds the blob by its digest, where there is such a thing.
    fn content(&self) -> Option<(&dyn Content, &Digest, u64)> {
        let layer = self.image.layers().get(self.index)?;
        let content = self.image.content()?;
        Some((&**content, layer.digest.as_ref()?, layer.size?))
    }
}

impl BlobSource for LayerBlob {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        let failed = |e| Error::opening(self.name.clone(), e);
        if let Some((content, digest, size)) = self.content()
            && let Some(blob) = content
                .resume_blob(digest, size, offset)
                .map_err(|e| failed(e.into()))?
        {
            return Ok(blob.into_reader());
        }
        let blob = self.image.open_layer(self.index).map_err(failed)?;
        let rest = blob.skip(offset).map_err(|source| {
            let layer = format!("layer {} of {}", self.index, self.name);
            Error::input(Path::new(&layer), source)
        })?;
        Ok(rest.into_reader())
    }

    fn distrust(&self) -> bool {
        self.content()
            .is_some_and(|(content, digest, _)| content.distrust(digest))
    }

    fn given_by(&self) -> Vec<String> {
        self.content()
            .map(|(content, digest, _)| content.given_by(digest))
            .unwrap_or_default()
    }
}

/// What a media type says, as the decoder takes it.
pub(crate) fn compression(
    hint: lithify_oci::manifest::Compression,
) -> Option<lithify_layer::Compression> {
    match hint {
        lithify_oci::manifest::Compression::None => Some(lithify_layer::Compression::None),
        lithify_oci::manifest::Compression::Gzip => Some(lithify_layer::Compression::Gzip),
        lithify_oci::manifest::Compression::Zstd => Some(lithify_layer::Compression::Zstd),
        _ => None,
    }
}

fn open_file(path: &Path, cancel: &CancelToken) -> Result<Box<dyn Read + Send>, Error> {
    let opened = Interruptible::open(path, cancel).map_err(|e| Error::input(path, e))?;
    Ok(match opened.into_regular() {
        Ok(file) => Box::new(file),
        Err(pipe) => Box::new(pipe),
    })
}
