//! Manifests, configurations and tags.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};

use lithify_digest::{Digest, Mismatch};
use lithify_verity::file::FileDigest;

use crate::repository::{
    Category, ErofsFormat, NameError, Publication, Reference, Repository, Stored,
};
use crate::splitstream::{Check, ContentType, Rebuilt, StreamError, StreamReader};

use super::document::{parse_config, parse_manifest};
use super::error::ImageError;
use super::names::{
    TAGS, blob_stream, config_stream, image_name, layer_stream, manifest_of, manifest_stream,
    tag_of, tag_reference,
};

/// Most bytes of a manifest, a configuration or a small blob.
const DOCUMENT_MAX: u64 = 16 << 20;

const MANIFEST: &str = "manifest";
const CONFIG: &str = "configuration";
const BLOB: &str = "blob";

/// An image to be stored. Its layers are in the repository already.
#[derive(Clone, Debug)]
pub struct NewImage<'a> {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: &'a [u8],
    /// The configuration.
    pub config: &'a [u8],
    /// The objects that the streams of its layers are, by diff_id, or digest for layers that are no
    /// tars.
    pub layers: &'a BTreeMap<Digest, FileDigest>,
    /// Images made of it, which are in the repository already, by [`image_name`] and
    /// [`profile_name`](super::profile_name).
    pub images: &'a BTreeMap<String, FileDigest>,
    /// Objects that these images need and the streams of the layers do not.
    pub kept: &'a [FileDigest],
}

/// An image whose streams are objects and have no names yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The manifest's stream.
    pub manifest: Stored,
    /// The digest of the configuration.
    pub config_digest: Digest,
    /// The configuration's stream.
    pub config: Stored,
    layers: Vec<(Digest, FileDigest)>,
    images: Vec<FileDigest>,
}

impl StoredImage {
    /// Publishes the streams of the image and its layers, and the images made of it, without a tag.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn publish(&self, publication: &mut Publication) -> Result<(), NameError> {
        for (digest, id) in &self.layers {
            publication.stream(layer_stream(digest), *id)?;
        }
        for id in &self.images {
            publication.image(*id);
        }
        publication.stream(config_stream(&self.config_digest), self.config.id)?;
        publication.stream(manifest_stream(&self.digest), self.manifest.id)
    }

    /// Publishes a tag of the image.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn tag(&self, publication: &mut Publication, tag: &str) -> Result<(), NameError> {
        publication.stream_reference(tag_reference(tag)?, manifest_stream(&self.digest))
    }
}

/// Stores the manifest and the configuration of an image. Both are compared with their digests, and
/// layers with what the configuration says.
///
/// # Errors
/// [`ImageError`].
pub fn store_image(
    repository: &Repository,
    image: &NewImage<'_>,
) -> Result<StoredImage, ImageError> {
    verify(MANIFEST, &image.digest, image.manifest)?;
    let manifest = parse_manifest(image.manifest, &image.digest)?;
    verify(CONFIG, &manifest.config, image.config)?;
    let names = match manifest.is_image {
        true => parse_config(image.config, &manifest.config)?,
        false => manifest.layers.clone(),
    };
    if names.len() != manifest.layers.len() {
        return Err(ImageError::LayerCount {
            manifest: manifest.layers.len(),
            config: names.len(),
        });
    }
    let mut layers = Vec::with_capacity(names.len());
    for layer in names {
        let id = image.layers.get(&layer);
        let id = id.ok_or_else(|| ImageError::NoLayer {
            layer: Box::new(layer),
        })?;
        layers.push((layer, *id));
    }
    let mut needs: Vec<(String, FileDigest)> = layers
        .iter()
        .map(|(name, id)| (name.to_string(), *id))
        .collect();
    if manifest.is_by_blob {
        let blobs = manifest.layers.iter().zip(&layers);
        needs.extend(blobs.map(|(blob, (_, id))| (blob.to_string(), *id)));
    }
    let made = image.images.iter().map(|(name, id)| (name.clone(), *id));
    let config_needs: Vec<_> = needs.iter().cloned().chain(made).collect();
    let config = Document {
        content_type: ContentType::CONFIG,
        bytes: image.config,
        needs: config_needs,
        kept: image.kept,
    };
    let config = config.store(repository)?;
    needs.push((config_name(&manifest.config), config.id));
    let stored = Document {
        content_type: ContentType::MANIFEST,
        bytes: image.manifest,
        needs,
        kept: &[],
    };
    let stored = stored.store(repository)?;
    Ok(StoredImage {
        digest: image.digest,
        manifest: stored,
        config_digest: manifest.config,
        config,
        layers,
        images: image.images.values().copied().collect(),
    })
}

/// Stores a small blob and the stream of it, to be published as [`blob_stream`].
///
/// # Errors
/// [`ImageError`].
pub fn store_blob(
    repository: &Repository,
    digest: &Digest,
    blob: &[u8],
) -> Result<Stored, ImageError> {
    verify(BLOB, digest, blob)?;
    let document = Document {
        content_type: ContentType::BLOB,
        bytes: blob,
        needs: Vec::new(),
        kept: &[],
    };
    document.store(repository)
}

/// Reads a small blob, and compares it with its digest.
///
/// # Errors
/// [`ImageError`].
pub fn open_blob(repository: &Repository, digest: &Digest) -> Result<Vec<u8>, ImageError> {
    let stream = repository.open_stream(&blob_stream(digest), ContentType::BLOB)?;
    read_document(repository, stream, BLOB, digest).map(|(bytes, _)| bytes)
}

fn config_name(config: &Digest) -> String {
    format!("config:{config}")
}

/// A short blob, and what its stream needs.
struct Document<'a> {
    content_type: ContentType,
    bytes: &'a [u8],
    /// By name.
    needs: Vec<(String, FileDigest)>,
    /// Objects.
    kept: &'a [FileDigest],
}

impl Document<'_> {
    /// Stores the blob as an object, and its stream.
    fn store(self, repository: &Repository) -> Result<Stored, ImageError> {
        let object = repository.store_object(self.bytes)?;
        let mut stream = repository.write_stream(self.content_type)?;
        for (name, id) in self.needs {
            stream.name(name, id)?;
        }
        stream.object(object.id, object.size)?;
        for id in self.kept {
            stream.keep(*id)?;
        }
        Ok(stream.finish()?)
    }
}

fn verify(document: &'static str, digest: &Digest, bytes: &[u8]) -> Result<(), ImageError> {
    let found = Digest::of(digest.algorithm(), bytes);
    let compared = Mismatch::of_digests(digest, &found);
    compared.map_err(|source| ImageError::Content {
        document,
        expected: Box::new(*digest),
        source,
    })
}

/// An image of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The digest of the configuration.
    pub config_digest: Digest,
    /// The configuration.
    pub config: Vec<u8>,
    /// The layers, bottom first.
    pub layers: Vec<ImageLayer>,
    /// The other needs of the configuration's stream, such as images made of it, by [`image_name`].
    pub images: BTreeMap<String, FileDigest>,
    /// The object that the configuration's stream is.
    config_id: FileDigest,
}

/// A layer of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLayer {
    /// The diff_id, or the digest of a layer that is no tar.
    pub digest: Digest,
    /// The object that its stream is.
    pub id: FileDigest,
}

impl Image {
    /// Opens an image by the digest of its manifest. Manifest and configuration are compared with
    /// their digests.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn open(repository: &Repository, digest: &Digest) -> Result<Self, ImageError> {
        let name = manifest_stream(digest);
        let stream = repository.open_stream(&name, ContentType::MANIFEST)?;
        let (manifest_bytes, manifest_needs) = read_document(repository, stream, MANIFEST, digest)?;
        let manifest = parse_manifest(&manifest_bytes, digest)?;
        let config_digest = manifest.config;
        let config_id = manifest_needs.get(&config_name(&config_digest));
        let config_id = config_id.ok_or_else(|| ImageError::NoConfig {
            config: Box::new(config_digest),
        })?;
        let config_id = *config_id;
        let stream = open_document(repository, &config_id, CONFIG, &config_digest)?;
        let (config, mut needs) = read_document(repository, stream, CONFIG, &config_digest)?;
        let names = match manifest.is_image {
            true => parse_config(&config, &config_digest)?,
            false => manifest.layers.clone(),
        };
        if names.len() != manifest.layers.len() {
            return Err(ImageError::LayerCount {
                manifest: manifest.layers.len(),
                config: names.len(),
            });
        }
        let mut layers = Vec::with_capacity(names.len());
        for (digest, blob) in names.into_iter().zip(&manifest.layers) {
            let named = |needs: &BTreeMap<String, FileDigest>| {
                needs
                    .get(&digest.to_string())
                    .or_else(|| needs.get(&blob.to_string()))
                    .copied()
            };
            let id = named(&needs).or_else(|| named(&manifest_needs));
            let id = id.ok_or_else(|| ImageError::NoLayer {
                layer: Box::new(digest),
            })?;
            layers.push(ImageLayer { digest, id });
        }
        needs.retain(|name, _| name.parse::<Digest>().is_err());
        Ok(Self {
            digest: *digest,
            manifest: manifest_bytes,
            config_digest,
            config,
            layers,
            images: needs,
            config_id,
        })
    }

    /// Opens an image by its tag.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn open_tag(repository: &Repository, tag: &str) -> Result<Self, ImageError> {
        Self::open(repository, &resolve_tag(repository, tag)?)
    }

    /// Returns the image of a format that was made of it.
    #[must_use]
    pub fn image(&self, format: ErofsFormat) -> Option<FileDigest> {
        self.images.get(image_name(format)).copied()
    }

    /// Tells whether everything the image needs has its name and is [as it was
    /// published](Repository::is_intact): then importing it once more has nothing to do.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn is_intact(&self, repository: &Repository) -> Result<bool, ImageError> {
        // A layer may come many times.
        let layers = self.layers.iter().map(|l| (layer_stream(&l.digest), l.id));
        let mut streams: BTreeMap<String, FileDigest> = layers.collect();
        streams.insert(config_stream(&self.config_digest), self.config_id);
        for (stream, id) in &streams {
            if !repository.is_intact(Category::Streams, stream, Some(id))? {
                return Ok(false);
            }
        }
        let manifest = manifest_stream(&self.digest);
        if !repository.is_intact(Category::Streams, &manifest, None)? {
            return Ok(false);
        }
        let images: BTreeSet<&FileDigest> = self.images.values().collect();
        for id in images {
            if !repository.is_intact(Category::Images, &id.hex(), Some(id))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn open_document(
    repository: &Repository,
    id: &FileDigest,
    document: &'static str,
    digest: &Digest,
) -> Result<StreamReader<File>, ImageError> {
    let error = |source| ImageError::Stream {
        document,
        digest: Box::new(*digest),
        source,
    };
    let stream = StreamReader::open(repository.open_object(id)?).map_err(error)?;
    stream
        .expect(ContentType::CONFIG, repository.algorithm())
        .map_err(error)?;
    Ok(stream)
}

/// Reads the whole of a stream that is a document, compares it with its digest, and returns what it
/// needs by name.
fn read_document(
    repository: &Repository,
    stream: StreamReader<File>,
    document: &'static str,
    digest: &Digest,
) -> Result<(Vec<u8>, BTreeMap<String, FileDigest>), ImageError> {
    let size = stream.size();
    if size > DOCUMENT_MAX {
        return Err(ImageError::TooLong {
            document,
            digest: Box::new(*digest),
            found: size,
            limit: DOCUMENT_MAX,
        });
    }
    let needs = stream
        .names()
        .iter()
        .map(|n| (n.name.clone(), n.id))
        .collect();
    let mut bytes = Vec::new();
    // The digest of the whole says it of every object.
    let mut whole = Rebuilt::new(stream, repository, Check::Nothing);
    let read = whole.read_to_end(&mut bytes);
    read.map_err(|e| ImageError::Stream {
        document,
        digest: Box::new(*digest),
        source: stream_error(e),
    })?;
    verify(document, digest, &bytes)?;
    Ok((bytes, needs))
}

/// Returns the error of a stream that travelled as one of the system's.
fn stream_error(error: io::Error) -> StreamError {
    match error.downcast::<StreamError>() {
        Ok(error) => error,
        Err(error) => StreamError::Io(error),
    }
}

/// A name of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The name.
    pub name: String,
    /// The digest of the manifest.
    pub digest: Digest,
}

/// Lists the tags of a repository, sorted. What is no tag of a manifest is passed over.
///
/// # Errors
/// [`ImageError`].
pub fn tags(repository: &Repository) -> Result<Vec<Tag>, ImageError> {
    let references = repository.references(Category::Streams, Some(TAGS))?;
    let tag = |r: Reference| {
        let digest = manifest_of(&r.entry)?;
        let name = tag_of(&r.name);
        Some(Tag { name, digest })
    };
    let mut tags: Vec<Tag> = references.into_iter().filter_map(tag).collect();
    tags.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(tags)
}

/// Returns the digest of the manifest that a tag leads to.
///
/// # Errors
/// [`ImageError`].
pub fn resolve_tag(repository: &Repository, tag: &str) -> Result<Digest, ImageError> {
    let reference = tag_reference(tag)?;
    let stream = repository.reference(Category::Streams, &reference)?;
    let stream = stream.ok_or_else(|| ImageError::NoTag {
        name: tag.to_owned(),
    })?;
    manifest_of(&stream).ok_or_else(|| ImageError::NotAManifest {
        name: tag.to_owned(),
        stream,
    })
}

/// Removes a tag. What only it kept is collected later.
///
/// # Errors
/// [`ImageError`]; [`ImageError::NoTag`] if there is none.
pub fn untag(repository: &Repository, tag: &str) -> Result<(), ImageError> {
    match repository.remove_reference(Category::Streams, &tag_reference(tag)?)? {
        true => Ok(()),
        false => Err(ImageError::NoTag {
            name: tag.to_owned(),
        }),
    }
}
