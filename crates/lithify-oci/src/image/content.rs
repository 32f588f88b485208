//! Where an image's documents and layers come from.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use lithify_digest::Digest;

use crate::Limits;
use crate::blob::{self, Blob, BlobName, Expected, RandomAccess};
use crate::layout::{Member, Members};
use crate::manifest::{Descriptor, ImageManifest, media_type};

/// Content by digest, wherever it is. Manifests and blobs are asked for apart, because registries keep
/// them apart.
///
/// An implementation need not verify anything: manifests and configs are verified when they are read, layers
/// by who decodes them. What is wrong with a place that is no directory or archive is
/// [`blob::Error::Content`].
pub trait Content: Send + Sync + fmt::Debug {
    /// Opens a manifest or index; `None` if it is not there.
    ///
    /// # Errors
    /// The reason why it cannot be opened.
    fn open_manifest(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error>;

    /// Whether a manifest or index is there. Where asking costs as much as reading, it may be taken for granted:
    /// reading it tells.
    ///
    /// # Errors
    /// The reason why it cannot be opened.
    fn has_manifest(&self, digest: &Digest) -> Result<bool, blob::Error> {
        Ok(self.open_manifest(digest)?.is_some())
    }

    /// Opens a config or layer of `size` bytes, as far as that is known; `None` if it is not there.
    ///
    /// # Errors
    /// The reason why it cannot be opened.
    fn open_blob(&self, digest: &Digest, size: Option<u64>) -> Result<Option<Blob>, blob::Error>;

    /// Opens a layer of `size` bytes for reads by position, without reading it; `None` if it is not there or can only be
    /// read from start to end.
    ///
    /// # Errors
    /// The reason why it cannot be opened.
    fn open_blob_at(
        &self,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<Option<RandomAccess>, blob::Error> {
        Ok(self
            .open_blob(digest, size)?
            .and_then(|blob| blob.random_access()))
    }

    /// Opens a blob of `size` bytes at `offset`, to go on where reading it stopped; `None` if it is not there. The
    /// result's length is that of the rest.
    ///
    /// # Errors
    /// Why it cannot be opened, or read up to there.
    fn resume_blob(
        &self,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<Option<Blob>, blob::Error> {
        let Some(blob) = self.open_blob(digest, Some(size))? else {
            return Ok(None);
        };
        let rest = blob.skip(offset).map_err(|source| blob::Error::Io {
            name: BlobName::Layer(Box::new(*digest)),
            source,
        })?;
        Ok(Some(rest))
    }

    /// The manifests there whose `subject` is `digest`, with `artifact_type` only those of that type (image-spec 1.1,
    /// `manifest.md`). Each has its type and annotations in its descriptor.
    ///
    /// That one is listed proves nothing: whoever uses it reads it and looks at its `subject`.
    ///
    /// # Errors
    /// [`blob::Error::Unlisted`] where the rest can be had all the same.
    fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, blob::Error> {
        let (_, _) = (digest, artifact_type);
        Ok(Vec::new())
    }

    /// Whether opening a blob asks another machine for it, so that nothing should be opened only to look at it.
    fn is_remote(&self) -> bool {
        false
    }

    /// The manifest or index that has a tag beside the image: in its repository or layout, or in any repository of a store.
    /// `None` if nothing has, or where nothing has tags.
    ///
    /// # Errors
    /// [`blob::Error::Unlisted`] where that cannot be said, but the rest can be had all the same.
    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>, blob::Error> {
        let _ = tag;
        Ok(None)
    }

    /// Called when a blob was not what its digest says: whether it can be had in another way, in which it is read
    /// next.
    fn distrust(&self, digest: &Digest) -> bool {
        let _ = digest;
        false
    }

    /// The hosts that gave a blob when it was read last. None where there is one place only, and the image's name says it.
    fn given_by(&self, digest: &Digest) -> Vec<String> {
        let _ = digest;
        Vec::new()
    }
}

/// Longest tag (distribution-spec, "Pulling manifests").
const MAX_TAG: usize = 128;

/// What the tags of [`signature_tags`] end with.
const SIGNATURE_KINDS: [&str; 3] = ["sig", "att", "sbom"];

/// The tags under which cosign puts what it says of a manifest, where it is not told to use referrers: signatures,
/// attestations and lists of parts (cosign, `specs/SIGNATURE_SPEC.md`, "Tag-based discovery").
#[must_use]
pub fn signature_tags(digest: &Digest) -> Vec<String> {
    let (algorithm, hex) = (digest.algorithm(), digest.hex());
    SIGNATURE_KINDS
        .into_iter()
        .map(|kind| format!("{algorithm}-{hex}.{kind}"))
        .filter(|tag| tag.len() <= MAX_TAG)
        .collect()
}

/// Whether a name is a tag of [`signature_tags`], by itself or at the end of a reference.
pub(super) fn is_signature_tag(name: &str) -> bool {
    let tag = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
    let Some((subject, kind)) = tag.split_once('.') else {
        return false;
    };
    SIGNATURE_KINDS.contains(&kind) && subject.replacen('-', ":", 1).parse::<Digest>().is_ok()
}

/// Those of some manifests whose `subject` is `digest`: how a layout's `index.json` is searched (image-spec 1.1,
/// `image-layout.md`). Each is read and verified; what is not there, or no manifest lithify reads, is not among them.
///
/// # Errors
/// Why one cannot be read, or is not what its descriptor says.
pub fn referrers_among<'a, C: Content + ?Sized>(
    content: &C,
    manifests: impl IntoIterator<Item = &'a Descriptor>,
    digest: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, blob::Error> {
    let limits = Limits::default();
    let (mut found, mut bytes): (Vec<Descriptor>, u64) = (Vec::new(), 0);
    let mut seen = HashSet::new();
    for entry in manifests {
        bytes = bytes.saturating_add(entry.size);
        if entry.media_type != media_type::OCI_MANIFEST || seen.contains(&entry.digest) {
            continue;
        }
        if bytes > limits.document_bytes {
            break;
        }
        let Some(raw) = read_manifest(content, entry, &limits)? else {
            continue;
        };
        let Ok(manifest) = ImageManifest::parse(&raw, Some(&entry.media_type)) else {
            continue;
        };
        if manifest
            .subject
            .as_ref()
            .is_none_or(|s| s.digest != *digest)
        {
            continue;
        }
        let descriptor = manifest.described(entry.digest, entry.size);
        if artifact_type.is_none_or(|wanted| descriptor.artifact_type.as_deref() == Some(wanted)) {
            seen.insert(descriptor.digest);
            found.push(descriptor);
        }
    }
    Ok(found)
}

/// An image's manifest or index, and where its parts are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Located {
    /// Its parts.
    pub content: Arc<dyn Content>,
    /// The manifest or index itself.
    pub root: Descriptor,
    /// Its names. Hostile input.
    pub names: Vec<String>,
}

impl Located {
    /// What `root` names within `content`.
    #[must_use]
    pub fn new(content: Arc<dyn Content>, root: Descriptor, names: Vec<String>) -> Self {
        Self {
            content,
            root,
            names,
        }
    }

    /// Reads and verifies a manifest or index it refers to, or the root itself; `None` if it is not there.
    ///
    /// # Errors
    /// Why it cannot be read, or is not what its descriptor says.
    pub fn read_manifest(
        &self,
        descriptor: &Descriptor,
        limits: &Limits,
    ) -> Result<Option<Vec<u8>>, blob::Error> {
        read_manifest(&*self.content, descriptor, limits)
    }

    /// Reads and verifies a configuration, or another document that is kept among blobs; `None` if it is not there.
    ///
    /// # Errors
    /// Why it cannot be read, or is not what its descriptor says.
    pub fn read_config(
        &self,
        descriptor: &Descriptor,
        limits: &Limits,
    ) -> Result<Option<Vec<u8>>, blob::Error> {
        read_config(&*self.content, descriptor, limits)
    }
}

impl<T: Members + ?Sized> Content for T {
    fn open_manifest(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error> {
        self.open(Member::Blob(digest))
    }

    fn open_blob(&self, digest: &Digest, _: Option<u64>) -> Result<Option<Blob>, blob::Error> {
        self.open(Member::Blob(digest))
    }

    fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, blob::Error> {
        let index = crate::layout::read_index(self, &Limits::default()).map_err(|source| {
            blob::Error::Content {
                name: BlobName::IndexJson,
                verification: false,
                source: Box::new(source),
            }
        })?;
        referrers_among(self, &index.manifests, digest, artifact_type)
    }

    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>, blob::Error> {
        let index = crate::layout::read_index(self, &Limits::default()).map_err(|source| {
            blob::Error::Content {
                name: BlobName::IndexJson,
                verification: false,
                source: Box::new(source),
            }
        })?;
        // Some tools write the whole reference.
        let is_it = |name: &String| {
            name == tag
                || name
                    .strip_suffix(tag)
                    .is_some_and(|rest| rest.ends_with(':'))
        };
        let mut entries = index.manifests.into_iter();
        let found = entries.find(|d| {
            d.annotations
                .get(crate::layout::REF_NAME)
                .is_some_and(is_it)
        });
        Ok(found.map(|mut descriptor| {
            descriptor.annotations.clear();
            descriptor
        }))
    }
}

/// Reads and verifies a manifest or index; `None` if it is not there.
pub(super) fn read_manifest<C: Content + ?Sized>(
    content: &C,
    descriptor: &Descriptor,
    limits: &Limits,
) -> Result<Option<Vec<u8>>, blob::Error> {
    let expected = Expected {
        size: Some(descriptor.size),
        digest: Some(descriptor.digest),
        limit: limits.manifest_bytes,
        option: "manifest_bytes",
    };
    content
        .open_manifest(&descriptor.digest)?
        .map(|blob| {
            blob::read(
                blob,
                BlobName::Manifest(Box::new(descriptor.digest)),
                expected,
            )
        })
        .transpose()
}

/// Reads and verifies a config; `None` if it is not there.
pub(super) fn read_config(
    content: &dyn Content,
    descriptor: &Descriptor,
    limits: &Limits,
) -> Result<Option<Vec<u8>>, blob::Error> {
    loop {
        match try_config(content, descriptor, limits) {
            // What one place has wrong another may have right.
            Err(error) if error.is_verification() && content.distrust(&descriptor.digest) => {}
            other => return other,
        }
    }
}

fn try_config(
    content: &dyn Content,
    descriptor: &Descriptor,
    limits: &Limits,
) -> Result<Option<Vec<u8>>, blob::Error> {
    let expected = Expected {
        size: Some(descriptor.size),
        digest: Some(descriptor.digest),
        limit: limits.config_bytes,
        option: "config_bytes",
    };
    content
        .open_blob(&descriptor.digest, Some(descriptor.size))?
        .map(|blob| {
            blob::read(
                blob,
                BlobName::Config(Box::new(descriptor.digest)),
                expected,
            )
        })
        .transpose()
}

/// The layers of one image.
pub trait LayerStore: Send + Sync + fmt::Debug {
    /// Opens layer `index`; `None` if its blob is not there.
    ///
    /// # Errors
    /// The reason why it cannot be opened.
    fn open_layer(&self, index: usize) -> Result<Option<Blob>, blob::Error>;

    /// Opens layer `index` for reads by position; `None` where that cannot be.
    ///
    /// # Errors
    /// The reason why it cannot be opened.
    fn open_layer_at(&self, index: usize) -> Result<Option<RandomAccess>, blob::Error> {
        Ok(self
            .open_layer(index)?
            .and_then(|blob| blob.random_access()))
    }
}

/// Layers found by digest.
#[derive(Debug)]
pub(super) struct LayersByDigest {
    pub(super) content: Arc<dyn Content>,
    /// Digests and sizes.
    pub(super) layers: Vec<(Digest, u64)>,
}

impl LayerStore for LayersByDigest {
    fn open_layer(&self, index: usize) -> Result<Option<Blob>, blob::Error> {
        match self.layers.get(index) {
            Some((digest, size)) => self.content.open_blob(digest, Some(*size)),
            None => Ok(None),
        }
    }

    fn open_layer_at(&self, index: usize) -> Result<Option<RandomAccess>, blob::Error> {
        match self.layers.get(index) {
            Some((digest, size)) => self.content.open_blob_at(digest, Some(*size)),
            None => Ok(None),
        }
    }
}
