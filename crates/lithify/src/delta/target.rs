//! The target of a delta, as an image whose layers are made as they are read.

use std::fmt;
use std::io::{Cursor, Read};
use std::sync::Arc;

use lithify_digest::{Digest, VerifiedReader, Verifier};
use lithify_oci::blob::{self, Blob, BlobName};
use lithify_oci::delta::{LayerDelta, LayerOrigin, LayerWay};
use lithify_oci::manifest::{Descriptor, LayerMediaType};
use lithify_oci::source::{Selector, Source};
use lithify_oci::{Content, LayerKind, LayerStore, Unpacked};

use super::artifact::Artifact;
use super::base::{Base, SharedSources};
use super::patch;
use super::recipe::{Recipe, Recompressed};
use crate::Error;
use crate::Image;
use crate::error::DeltaError;
use crate::image::Origin;
use crate::session::Session;

/// The layers of a delta's target.
pub(super) struct Layers {
    artifact: Artifact,
    base: Base,
    /// The base's files, where layers are made of them.
    sources: Option<SharedSources>,
    session: Session,
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("artifact", &self.artifact)
            .finish_non_exhaustive()
    }
}

/// The way a layer of the target is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way<'a> {
    /// The base has the tar, in the layer of that number.
    Reused(usize),
    /// The delta has the blob.
    Whole(&'a LayerDelta),
    /// It is made.
    Made(&'a LayerDelta),
}

impl Layers {
    /// Takes a delta and a base that has what it needs.
    pub(super) fn new(artifact: Artifact, base: Base, session: &Session) -> Result<Self, Error> {
        let session = artifact.session_for_base(session);
        let mut layers = Self {
            artifact,
            base,
            sources: None,
            session,
        };
        let mut is_made = false;
        for layer in &layers.artifact.layers {
            is_made |= matches!(layers.way(layer)?, Way::Made(_));
        }
        if is_made {
            layers.sources = Some(layers.base.sources(&layers.session)?);
        }
        Ok(layers)
    }

    /// Returns the way a layer is had.
    pub(super) fn way<'a>(&self, layer: &'a LayerWay) -> Result<Way<'a>, Error> {
        match &layer.origin {
            LayerOrigin::Delta(delta) if delta.is_whole() => Ok(Way::Whole(delta)),
            LayerOrigin::Delta(delta) => Ok(Way::Made(delta)),
            LayerOrigin::Reused => {
                let image = self.base.image().and_then(Image::oci);
                let layers = image.map(|image| image.layers()).unwrap_or_default();
                let same_blob = |l: &lithify_oci::LayerDescriptor| {
                    l.diff_id == layer.diff_id && l.digest == Some(layer.descriptor.digest)
                };
                let same_tar = |l: &lithify_oci::LayerDescriptor| l.diff_id == layer.diff_id;
                let found = layers.iter().position(same_blob);
                let found = found.or_else(|| layers.iter().position(same_tar));
                found.map(Way::Reused).ok_or_else(|| {
                    DeltaError::NoLayer {
                        name: self.artifact.name.clone(),
                        diff_id: Box::new(layer.diff_id),
                        is_image: image.is_some(),
                    }
                    .into()
                })
            }
        }
    }

    /// Tells whether the blobs of all layers can be had as the target's manifest has them.
    pub(super) fn are_exact(&self) -> bool {
        self.artifact
            .layers
            .iter()
            .all(|layer| self.is_exact(layer))
    }

    /// Returns the delta.
    pub(super) const fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Returns the digest of the delta's manifest.
    pub(super) const fn digest(&self) -> Digest {
        self.artifact.descriptor.digest
    }

    /// Returns the bytes of the delta that make a blob of the target; `None` for one that cannot be made byte for byte.
    pub(super) fn bytes_for(&self, digest: &Digest) -> Option<u64> {
        let layer = self.layer(digest)?;
        match self.way(layer).ok()? {
            Way::Made(delta) if self.is_exact(layer) => Some(delta.blob.size),
            _ => None,
        }
    }

    /// Opens a blob that can be made byte for byte, at an offset.
    pub(super) fn open_exact(
        &self,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, Error> {
        let name = || BlobName::Layer(Box::new(*digest));
        let failed = |e: blob::Error| Error::opening(&*self.artifact.name, e);
        let opened = match self.layer(digest) {
            Some(layer) => self.open(layer, true).map_err(failed)?,
            None => None,
        };
        let blob = opened.ok_or_else(|| failed(blob::Error::Missing { name: name() }))?;
        // Whoever takes it compares it with its digest.
        let rest = Blob::new(blob.into_reader(), size).skip(offset);
        let rest = rest.map_err(|source| {
            failed(blob::Error::Io {
                name: name(),
                source,
            })
        })?;
        Ok(rest.into_reader())
    }

    fn layer(&self, digest: &Digest) -> Option<&LayerWay> {
        let mut layers = self.artifact.layers.iter();
        layers.find(|layer| layer.descriptor.digest == *digest)
    }

    /// Returns the target as an image that has the delta's name.
    fn named(&self, origin: Origin) -> Image {
        let source = with_digest(&self.artifact.source, self.artifact.delta.target);
        Image::new(&self.artifact.name, source, origin)
    }

    /// Tells whether the blob of a layer can be had as the target's manifest has it.
    fn is_exact(&self, layer: &LayerWay) -> bool {
        match self.way(layer) {
            Ok(Way::Whole(_)) => true,
            Ok(Way::Reused(index)) => {
                let image = self.base.image().and_then(Image::oci);
                let digest = image.and_then(|image| image.layers()[index].digest);
                digest == Some(layer.descriptor.digest)
            }
            Ok(Way::Made(delta)) => Recipe::of_layer(layer, delta).is_some(),
            Err(_) => false,
        }
    }

    /// Opens the blob of a layer, or, unless it is to be `exact`, what has the same tar in it.
    fn open(&self, layer: &LayerWay, exact: bool) -> Result<Option<Blob>, blob::Error> {
        let name = || BlobName::Layer(Box::new(layer.descriptor.digest));
        let failed = |error: Error| blob::Error::Content {
            name: name(),
            verification: error.is_verification(),
            source: Box::new(error),
        };
        match self.way(layer).map_err(failed)? {
            Way::Whole(delta) => {
                let located = &self.artifact.located;
                located
                    .content
                    .open_blob(&delta.blob.digest, Some(delta.blob.size))
            }
            Way::Reused(index) => {
                let Some(image) = self.base.image().and_then(Image::oci) else {
                    return Ok(None);
                };
                let opened = image.open_layer(index);
                let opened = opened.map_err(|e| failed(Error::opening(&*self.artifact.name, e)))?;
                Ok(Some(opened))
            }
            Way::Made(delta) => {
                let tar = self.made(delta).map_err(failed)?;
                let length = match exact {
                    true => layer.descriptor.size,
                    false => delta.encoded.tar_size.unwrap_or(0),
                };
                let recipe = Recipe::of_layer(layer, delta).filter(|_| exact);
                Ok(Some(match recipe {
                    Some(recipe) => {
                        let blob = Recompressed::new(tar, recipe);
                        let blob = blob.map_err(|source| blob::Error::Io {
                            name: name(),
                            source,
                        })?;
                        Blob::new(blob, length)
                    }
                    None => Blob::new(tar, length),
                }))
            }
        }
    }

    /// Makes the tar of a layer, as it is read.
    fn made(&self, delta: &LayerDelta) -> Result<impl Read + Send + 'static, Error> {
        let content = &self.artifact.located.content;
        let Descriptor { digest, size, .. } = &delta.blob;
        let blob = content.open_blob(digest, Some(*size));
        let blob = blob.map_err(|e| Error::opening(&*self.artifact.name, e))?;
        let blob = blob.ok_or_else(|| {
            let name = BlobName::Layer(Box::new(*digest));
            Error::opening(&*self.artifact.name, blob::Error::Missing { name })
        })?;
        let reader = VerifiedReader::new(blob.into_reader(), Verifier::new(*digest, *size));
        let sources = self.sources.clone().ok_or_else(|| DeltaError::NoBase {
            name: self.artifact.name.clone(),
            config: Box::new(self.artifact.delta.source_config),
        })?;
        let patch = patch::begin(reader, sources, &self.session);
        patch.map_err(|source| DeltaError::layer(&self.artifact.name, *digest, source))
    }
}

/// The target with the very blobs that its manifest names.
#[derive(Debug)]
struct Exact(Arc<Layers>);

impl Content for Exact {
    fn open_manifest(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error> {
        let artifact = &self.0.artifact;
        let is_it = *digest == artifact.delta.target;
        Ok(is_it.then(|| of_bytes(&artifact.manifest)))
    }

    fn open_blob(&self, digest: &Digest, _: Option<u64>) -> Result<Option<Blob>, blob::Error> {
        let artifact = &self.0.artifact;
        if *digest == artifact.delta.config.digest {
            return Ok(Some(of_bytes(&artifact.config)));
        }
        match self.0.layer(digest) {
            Some(layer) => self.0.open(layer, true),
            None => Ok(None),
        }
    }

    /// Layers are not made only to be looked at.
    fn is_remote(&self) -> bool {
        true
    }
}

fn of_bytes(bytes: &[u8]) -> Blob {
    Blob::new(Cursor::new(bytes.to_vec()), bytes.len() as u64)
}

/// The tars of the target's layers; those that are there compressed stay so.
#[derive(Debug)]
struct Tars(Arc<Layers>);

impl LayerStore for Tars {
    fn open_layer(&self, index: usize) -> Result<Option<Blob>, blob::Error> {
        match self.0.artifact.layers.get(index) {
            Some(layer) => self.0.open(layer, false),
            None => Ok(None),
        }
    }
}

/// Opens the target with the very blobs that its manifest names.
pub(super) fn blobs(layers: &Arc<Layers>, session: &Session) -> Result<Image, Error> {
    let artifact = &layers.artifact;
    let mut root = artifact.delta.manifest.clone();
    root.annotations.clear();
    let open = lithify_oci::OpenOptions::default()
        .with_limits(session.limits.image.clone())
        .with_platform(artifact.platform.clone());
    let content = Arc::new(Exact(Arc::clone(layers)));
    let image = lithify_oci::Image::from_content(content, root, Vec::new(), &open);
    let image = image.map_err(|e| Error::opening(&*artifact.name, e))?;
    Ok(layers.named(Origin::of(image)))
}

/// Opens the target with its layers' tars: nothing is compressed on the way to who reads them.
pub(super) fn tars(layers: &Arc<Layers>, session: &Session) -> Result<Image, Error> {
    let artifact = &layers.artifact;
    let unpacked = Unpacked {
        names: Vec::new(),
        manifest: (artifact.delta.target, artifact.manifest.clone()),
        config: (artifact.delta.config.digest, artifact.config.clone()),
        sizes: vec![None; artifact.layers.len()],
        store: Arc::new(Tars(Arc::clone(layers))),
    };
    let image = lithify_oci::Image::from_unpacked(unpacked, &session.limits.image);
    let mut image = image.map_err(|e| Error::opening(&*artifact.name, e))?;
    for (index, layer) in artifact.layers.iter().enumerate() {
        let media_type = LayerMediaType::of(&layer.descriptor.media_type);
        if let LayerMediaType::Erofs { compression } = media_type {
            image.set_layer_kind(index, LayerKind::Erofs, compression);
        }
    }
    Ok(layers.named(Origin::Oci(Arc::new(image))))
}

/// Returns the name of an image that is not there: the place of its delta, and the digest of its manifest.
fn with_digest(source: &Source, digest: Digest) -> Source {
    let mut source = source.clone();
    if let Source::Oci { selector, .. } | Source::OciArchive { selector, .. } = &mut source {
        *selector = Some(Selector::Digest(digest));
    }
    source
}
