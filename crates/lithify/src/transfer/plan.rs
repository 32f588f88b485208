//! What is to be transferred: blobs, and the documents that refer to them, in the order they can be put.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use lithify_digest::{Algorithm, Digest};
use lithify_oci::blob::{self, BlobName};
use lithify_oci::manifest::{Descriptor, Document, ImageManifest, LayerMediaType};
use lithify_oci::{Content, Limits, Located};
use lithify_storage::FileCursor;

use super::blob::{BlobSource, Nature};
use crate::Error;
use crate::session::Session;

/// How far what refers to an image is followed: a signature of a list of parts of an artifact is three.
const REFERRERS_DEPTH: usize = 4;

/// An image's parts.
#[derive(Default)]
pub(crate) struct Plan {
    /// Each blob once.
    pub(crate) blobs: Vec<PlannedBlob>,
    /// Manifests and indexes, each after what it refers to; the root is last.
    pub(crate) documents: Vec<(Descriptor, Vec<u8>)>,
    /// Documents that get a tag of their own beside the image's.
    pub(crate) tags: Vec<SignatureTag>,
    /// Layers that are got from their vendor, and that are not transferred.
    pub(crate) foreign: u64,
    /// The reasons why it is not known of everything what refers to it.
    pub(crate) unlisted: Vec<String>,
    /// The manifest that is there for the sake of an artifact that refers to it.
    pub(crate) artifact_of: Option<Descriptor>,
}

/// A tag that is made of the digest of what its manifest belongs to.
#[derive(Debug)]
pub(crate) struct SignatureTag {
    /// The manifest or index the tag is made of.
    pub(crate) subject: Digest,
    pub(crate) tag: String,
    /// What has the tag.
    pub(crate) manifest: Digest,
}

/// A blob and where it is.
pub(crate) struct PlannedBlob {
    pub(crate) descriptor: Descriptor,
    pub(crate) source: Box<dyn BlobSource>,
}

impl PlannedBlob {
    /// A document that is no manifest, such as a configuration, made here.
    pub(crate) fn of_bytes(media_type: &str, bytes: Vec<u8>) -> Self {
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Self {
            descriptor: Descriptor::new(media_type, digest, bytes.len() as u64),
            source: Box::new(Bytes(bytes.into())),
        }
    }

    /// A blob of an image of that name.
    pub(crate) fn of_content(
        name: &str,
        content: &Arc<dyn Content>,
        descriptor: Descriptor,
    ) -> Self {
        Self {
            source: Box::new(ContentBlob {
                name: name.to_owned(),
                content: Arc::clone(content),
                digest: descriptor.digest,
                size: descriptor.size,
            }),
            descriptor,
        }
    }
}

impl Plan {
    /// Returns the plan of a manifest that was made here, with the blobs it names.
    pub(crate) fn of_made(blobs: Vec<PlannedBlob>, root: Descriptor, manifest: Vec<u8>) -> Self {
        let mut plan = Self::default();
        for blob in blobs {
            plan.add(blob);
        }
        plan.documents.push((root, manifest));
        plan
    }

    /// Returns the plan of one image, for one platform, on its way to a place of that nature; with `referrers`, of what refers
    /// to it too. `None` for an image without a manifest.
    pub(crate) fn of_image(
        name: &str,
        oci: &lithify_oci::Image,
        referrers: bool,
        to: Nature,
        session: &Session,
    ) -> Result<Option<Self>, Error> {
        let (Some(content), Some(digest), Some(raw)) =
            (oci.content(), oci.manifest_digest(), oci.raw_manifest())
        else {
            return Ok(None);
        };
        let mut root = Descriptor::new(
            oci.media_type().unwrap_or_default(),
            *digest,
            raw.len() as u64,
        );
        root.platform = Some(oci.platform().clone());
        let located = Located::new(Arc::clone(content), root.clone(), oci.names().to_vec());
        let mut builder = Builder::new(name, &located, to, &session.limits.image);
        builder.seen.insert(root.digest);
        builder.document(&root, raw.to_vec(), 1)?;
        if referrers {
            builder.referrers()?;
        }
        Ok(Some(builder.finish()))
    }

    /// Returns the manifest of a plan that is of one image and nothing else, with its bytes; else the reason why it is not. For
    /// places that have room for no more.
    pub(crate) fn only_manifest(
        &self,
    ) -> Result<(&Descriptor, &[u8], Box<ImageManifest>), &'static str> {
        let parse = |(document, bytes): &(Descriptor, Vec<u8>)| {
            Document::parse(bytes, Some(&document.media_type))
        };
        let [document] = &*self.documents else {
            let is_index = |document| matches!(parse(document), Ok(Document::Index(_)));
            return Err(match self.documents.iter().any(is_index) {
                true => "it is for several platforms, or none",
                false => "what refers to it would be lost: leave --referrers away",
            });
        };
        match parse(document) {
            Ok(Document::Manifest(manifest)) => Ok((&document.0, &document.1, manifest)),
            _ => Err("it has no manifest of an image"),
        }
    }

    /// All that a manifest or index refers to; with `referrers`, what refers to any of it too.
    pub(crate) fn of_all(
        name: &str,
        located: &Located,
        referrers: bool,
        to: Nature,
        session: &Session,
    ) -> Result<Self, Error> {
        let mut builder = Builder::new(name, located, to, &session.limits.image);
        builder.visit(&located.root, 1)?;
        if referrers {
            builder.referrers()?;
        }
        Ok(builder.finish())
    }

    /// Adds a blob, unless it is among the parts.
    pub(crate) fn add(&mut self, blob: PlannedBlob) {
        if !self.has(&blob.descriptor.digest) {
            self.blobs.push(blob);
        }
    }

    /// Adds a manifest or index whose parts are among the parts.
    pub(crate) fn add_document(&mut self, descriptor: Descriptor, bytes: Vec<u8>) {
        if self
            .documents
            .iter()
            .all(|(d, _)| d.digest != descriptor.digest)
        {
            self.documents.push((descriptor, bytes));
        }
    }

    /// Adds all parts of another plan.
    pub(crate) fn absorb(&mut self, other: Self) {
        for blob in other.blobs {
            self.add(blob);
        }
        for (descriptor, bytes) in other.documents {
            self.add_document(descriptor, bytes);
        }
        self.foreign += other.foreign;
    }

    /// Has a manifest that is among the parts be that everything belongs to.
    pub(crate) fn end_with(&mut self, root: &Descriptor) {
        if let Some(at) = self
            .documents
            .iter()
            .position(|(d, _)| d.digest == root.digest)
        {
            let (_, bytes) = self.documents.remove(at);
            self.documents.push((root.clone(), bytes));
        }
    }

    /// Whether a blob is among the parts.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.blobs.iter().any(|b| b.descriptor.digest == *digest)
    }

    /// The digests of what refers to other manifests here.
    pub(crate) fn referrers(&self) -> Vec<String> {
        let others = self
            .documents
            .split_last()
            .map_or(&[][..], |(_, others)| others);
        let refers = others.iter().filter(|(d, bytes)| {
            let is_tagged = self.tags.iter().any(|tag| tag.manifest == d.digest);
            is_tagged || super::referrers::of(d, bytes).is_some()
        });
        refers.map(|(d, _)| d.digest.to_string()).collect()
    }

    /// The manifest or index everything belongs to.
    pub(crate) fn root(&self) -> Option<&Descriptor> {
        let last = || self.documents.last().map(|(descriptor, _)| descriptor);
        self.artifact_of.as_ref().or_else(last)
    }
}

struct Builder<'a> {
    name: &'a str,
    located: &'a Located,
    takes_vendor_layers: bool,
    limits: &'a Limits,
    seen: HashSet<Digest>,
    bytes: u64,
    plan: Plan,
}

impl<'a> Builder<'a> {
    fn new(name: &'a str, located: &'a Located, to: Nature, limits: &'a Limits) -> Self {
        Self {
            name,
            located,
            takes_vendor_layers: to.vendor_layers,
            limits,
            seen: HashSet::new(),
            bytes: 0,
            plan: Plan::default(),
        }
    }

    fn finish(self) -> Plan {
        self.plan
    }

    fn failed(&self, error: impl Into<lithify_oci::Error>) -> Error {
        Error::opening(self.name, error)
    }

    fn visit(&mut self, descriptor: &Descriptor, depth: usize) -> Result<(), Error> {
        if !self.seen.insert(descriptor.digest) {
            return Ok(());
        }
        let bytes = self.read(descriptor)?.ok_or_else(|| {
            let name = BlobName::Manifest(Box::new(descriptor.digest));
            self.failed(blob::Error::Missing { name })
        })?;
        self.document(descriptor, bytes, depth)
    }

    /// Reads a manifest or index, within the limits for all of them.
    fn read(&mut self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>, Error> {
        if self.seen.len() > self.limits.index_entries {
            let limit = self.limits.index_entries;
            return Err(self.failed(lithify_oci::Error::IndexEntries { limit }));
        }
        self.bytes = self.bytes.saturating_add(descriptor.size);
        if self.bytes > self.limits.document_bytes {
            let limit = self.limits.document_bytes;
            return Err(self.failed(lithify_oci::Error::DocumentBytes { limit }));
        }
        self.located
            .read_manifest(descriptor, self.limits)
            .map_err(|e| self.failed(e))
    }

    /// Adds what refers to anything here, and what refers to that, each once. The root stays last: until it is put,
    /// nothing of it can be seen.
    fn referrers(&mut self) -> Result<(), Error> {
        let Some(root) = self.plan.documents.pop() else {
            return Ok(());
        };
        let documents = self.plan.documents.iter().map(|(d, _)| d.digest);
        let mut open: Vec<_> = documents.chain([root.0.digest]).collect();
        for _ in 0..REFERRERS_DEPTH {
            let mut found = Vec::new();
            for subject in open {
                let listed = self.located.content.referrers(&subject, None);
                for entry in self.listed(listed)?.unwrap_or_default() {
                    if self.referrer(&subject, &entry)? {
                        found.push(entry.digest);
                    }
                }
                found.extend(self.signatures(&subject, &root.0.digest)?);
            }
            open = found;
        }
        self.plan.documents.push(root);
        Ok(())
    }

    /// What is listed, if its place says so: what nobody can list keeps nothing else from being transferred.
    fn listed<T>(
        &mut self,
        listed: Result<T, lithify_oci::blob::Error>,
    ) -> Result<Option<T>, Error> {
        match listed {
            Ok(listed) => Ok(Some(listed)),
            Err(error @ lithify_oci::blob::Error::Unlisted { .. }) => {
                log::warn!("{error}; going on without");
                self.plan.unlisted.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Adds what the tags for signatures of a manifest lead to; those that were not known.
    fn signatures(&mut self, subject: &Digest, root: &Digest) -> Result<Vec<Digest>, Error> {
        let mut found = Vec::new();
        for tag in lithify_oci::signature_tags(subject) {
            let tagged = self.located.content.tagged(&tag);
            let Some(tagged) = self.listed(tagged)? else {
                // It will not say more of the others.
                break;
            };
            // Some registries take such a tag for the digest it is made of.
            let Some(entry) = tagged.filter(|entry| entry.digest != *subject) else {
                continue;
            };
            // What was seen may have been left out for not being what it was listed as.
            let manifest = entry.digest;
            let mut documents = self.plan.documents.iter();
            if manifest != *root && !documents.any(|(d, _)| d.digest == manifest) {
                self.seen.insert(manifest);
                let Some(bytes) = self.read(&entry)? else {
                    self.left_out(format!("{tag}: what it names is not there"));
                    continue;
                };
                self.document(&entry, bytes, 1)?;
                found.push(manifest);
            }
            self.plan.tags.push(SignatureTag {
                subject: *subject,
                tag,
                manifest,
            });
        }
        Ok(found)
    }

    /// Adds a manifest that is said to refer to another; `false` if it does not, or is known.
    fn referrer(&mut self, subject: &Digest, entry: &Descriptor) -> Result<bool, Error> {
        if !self.seen.insert(entry.digest) {
            return Ok(false);
        }
        let Some(bytes) = self.read(entry)? else {
            self.left_out(format!("{}: it is listed, but not there", entry.digest));
            return Ok(false);
        };
        match super::referrers::of(entry, &bytes) {
            Some((found, descriptor)) if found == *subject => {
                self.document(&descriptor, bytes, 1)?;
                Ok(true)
            }
            _ => {
                let digest = &entry.digest;
                log::warn!(
                    "{digest}: it is listed among what refers to {subject}, but does not; left out"
                );
                Ok(false)
            }
        }
    }

    /// Notes that something which refers to the image is not moved with it.
    fn left_out(&mut self, reason: String) {
        log::warn!("{reason}; left out");
        self.plan.unlisted.push(reason);
    }

    fn document(
        &mut self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        depth: usize,
    ) -> Result<(), Error> {
        let refused = |source| lithify_oci::Error::Manifest {
            name: BlobName::Manifest(Box::new(descriptor.digest)),
            source,
        };
        let document = Document::parse(&bytes, Some(&descriptor.media_type))
            .map_err(|e| self.failed(refused(e)))?;
        let mut descriptor = descriptor.clone();
        match document {
            Document::Index(index) => {
                if depth >= self.limits.index_depth {
                    let limit = self.limits.index_depth;
                    return Err(self.failed(lithify_oci::Error::IndexDepth { limit }));
                }
                for child in &index.manifests {
                    self.visit(child, depth + 1)?;
                }
                complete(
                    &mut descriptor,
                    index.media_type,
                    lithify_oci::manifest::media_type::OCI_INDEX,
                );
            }
            Document::Manifest(manifest) => {
                self.parts(&manifest)?;
                let default = lithify_oci::manifest::media_type::OCI_MANIFEST;
                complete(&mut descriptor, manifest.media_type.clone(), default);
            }
            _ => {
                let unknown = lithify_oci::manifest::Error::Unrecognised;
                return Err(self.failed(refused(unknown)));
            }
        }
        self.plan.documents.push((descriptor, bytes));
        Ok(())
    }

    fn parts(&mut self, manifest: &ImageManifest) -> Result<(), Error> {
        let layers = manifest.layers.iter().enumerate();
        let config = std::iter::once((None, &manifest.config));
        for (index, part) in config.chain(layers.map(|(index, layer)| (Some(index), layer))) {
            if let Some(index) = index
                && is_left_to_its_vendor(
                    self.name,
                    self.located.content.as_ref(),
                    index,
                    part,
                    self.takes_vendor_layers,
                )?
            {
                self.plan.foreign += 1;
                continue;
            }
            if !self.seen.insert(part.digest) {
                continue;
            }
            let content = &self.located.content;
            let blob = PlannedBlob::of_content(self.name, content, part.clone());
            self.plan.blobs.push(blob);
        }
        Ok(())
    }
}

/// Whether a layer stays where its vendor has it. One that nobody has is an error: the copy could not be used.
pub(crate) fn is_left_to_its_vendor(
    name: &str,
    content: &dyn Content,
    index: usize,
    layer: &Descriptor,
    takes_vendor_layers: bool,
) -> Result<bool, Error> {
    let media_type = LayerMediaType::of(&layer.media_type);
    if !matches!(media_type, LayerMediaType::Tar { foreign: true, .. }) {
        return Ok(false);
    }
    if !layer.urls.is_empty() && !takes_vendor_layers {
        return Ok(true);
    }
    let there = content
        .open_blob(&layer.digest, Some(layer.size))
        .map_err(|e| Error::opening(name, e))?
        .is_some();
    match (there, layer.urls.is_empty()) {
        (true, _) => Ok(false),
        (false, false) => Ok(true),
        (false, true) => {
            let urls = Vec::new();
            let missing = lithify_oci::Error::ForeignLayer { index, urls };
            Err(Error::opening(name, missing))
        }
    }
}

/// A descriptor has to say what it points to.
fn complete(descriptor: &mut Descriptor, own: Option<String>, default: &str) {
    if descriptor.media_type.is_empty() {
        descriptor.media_type = own.unwrap_or_else(|| default.to_owned());
    }
}

/// A blob found by its digest.
struct ContentBlob {
    name: String,
    content: Arc<dyn Content>,
    digest: Digest,
    size: u64,
}

impl BlobSource for ContentBlob {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        let failed = |e: blob::Error| Error::opening(self.name.clone(), e);
        let name = || BlobName::Layer(Box::new(self.digest));
        let blob = self
            .content
            .resume_blob(&self.digest, self.size, offset)
            .map_err(failed)?
            .ok_or_else(|| failed(blob::Error::Missing { name: name() }))?;
        Ok(blob.into_reader())
    }

    fn distrust(&self) -> bool {
        self.content.distrust(&self.digest)
    }

    fn given_by(&self) -> Vec<String> {
        self.content.given_by(&self.digest)
    }
}

/// A file, whose position does not matter.
pub(crate) struct FileBlob(pub(crate) Arc<File>);

impl BlobSource for FileBlob {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        Ok(Box::new(FileCursor::new(Arc::clone(&self.0), offset)))
    }
}

/// Bytes in memory.
pub(crate) struct Bytes(pub(crate) Arc<[u8]>);

impl BlobSource for Bytes {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        let mut cursor = io::Cursor::new(Arc::clone(&self.0));
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    }
}
