//! Where an image's documents and layers come from.

use std::fmt;
use std::sync::Arc;

use lithify_digest::Digest;

use crate::Limits;
use crate::blob::{self, Blob, BlobName, Expected};
use crate::layout::{Member, Members};
use crate::manifest::Descriptor;

/// Content by digest. Manifests and blobs are asked for apart, because registries keep them apart.
pub(super) trait Content: Send + Sync + fmt::Debug {
    /// Opens a manifest or index; `None` if it is not there.
    fn open_manifest(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error>;

    /// Opens a config or layer; `None` if it is not there.
    fn open_blob(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error>;
}

impl<T: Members + ?Sized> Content for T {
    fn open_manifest(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error> {
        self.open(Member::Blob(digest))
    }

    fn open_blob(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error> {
        self.open(Member::Blob(digest))
    }
}

/// Reads and verifies a manifest or index; `None` if it is not there.
pub(super) fn read_manifest(
    content: &dyn Content,
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
    let expected = Expected {
        size: Some(descriptor.size),
        digest: Some(descriptor.digest),
        limit: limits.config_bytes,
        option: "config_bytes",
    };
    content
        .open_blob(&descriptor.digest)?
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
pub(super) trait LayerStore: Send + Sync + fmt::Debug {
    /// Opens layer `index`; `None` if its blob is not there.
    fn open_layer(&self, index: usize) -> Result<Option<Blob>, blob::Error>;
}

/// Layers found by digest.
#[derive(Debug)]
pub(super) struct LayersByDigest {
    pub(super) content: Arc<dyn Content>,
    pub(super) digests: Vec<Digest>,
}

impl LayerStore for LayersByDigest {
    fn open_layer(&self, index: usize) -> Result<Option<Blob>, blob::Error> {
        match self.digests.get(index) {
            Some(digest) => self.content.open_blob(digest),
            None => Ok(None),
        }
    }
}
