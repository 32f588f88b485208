//! An image whose blobs a repository has as they are.

use std::io::Cursor;
use std::sync::Arc;

use lithify_composefs::oci;
use lithify_composefs::repository::Repository;
use lithify_digest::Digest;
use lithify_oci::Content;
use lithify_oci::blob::{self, Blob};

use super::layers;

/// The documents and layers of an image.
#[derive(Debug)]
pub(super) struct InRepositoryContent {
    repository: Arc<Repository>,
    manifest: (Digest, Arc<[u8]>),
    config: (Digest, Arc<[u8]>),
    layers: Vec<Digest>,
}

impl InRepositoryContent {
    pub(super) fn new(repository: Arc<Repository>, image: &oci::Image) -> Self {
        Self {
            repository,
            manifest: (image.digest, image.manifest.as_slice().into()),
            config: (image.config_digest, image.config.as_slice().into()),
            layers: image.layers.iter().map(|layer| layer.digest).collect(),
        }
    }
}

fn document(bytes: &Arc<[u8]>) -> Blob {
    let length = bytes.len() as u64;
    Blob::new(Cursor::new(Arc::clone(bytes)), length)
}

impl Content for InRepositoryContent {
    fn open_manifest(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error> {
        let (own, bytes) = &self.manifest;
        Ok((own == digest).then(|| document(bytes)))
    }

    fn open_blob(&self, digest: &Digest, _: Option<u64>) -> Result<Option<Blob>, blob::Error> {
        let (own, bytes) = &self.config;
        match self.layers.contains(digest) {
            _ if own == digest => Ok(Some(document(bytes))),
            true => layers::open(&self.repository, digest),
            false => Ok(None),
        }
    }
}
