//! The tars of an image's layers, put together from what a repository has.

use std::sync::Arc;

use lithify_composefs::oci;
use lithify_composefs::repository::{EntryError, Repository};
use lithify_digest::Digest;
use lithify_oci::LayerStore;
use lithify_oci::blob::{self, Blob, BlobName};

/// The tars of an image.
#[derive(Debug)]
pub(super) struct Tars {
    repository: Arc<Repository>,
    diff_ids: Vec<Digest>,
}

impl Tars {
    pub(super) fn new(repository: Arc<Repository>, diff_ids: Vec<Digest>) -> Self {
        Self {
            repository,
            diff_ids,
        }
    }
}

impl LayerStore for Tars {
    fn open_layer(&self, index: usize) -> Result<Option<Blob>, blob::Error> {
        match self.diff_ids.get(index) {
            Some(diff_id) => open(&self.repository, diff_id),
            None => Ok(None),
        }
    }
}

/// Opens a layer; `None` if it is not there.
pub(super) fn open(
    repository: &Arc<Repository>,
    digest: &Digest,
) -> Result<Option<Blob>, blob::Error> {
    let opened = oci::open_layer(Arc::clone(repository), digest);
    match opened {
        Ok(layer) => {
            let size = layer.size();
            Ok(Some(Blob::new(layer, size)))
        }
        Err(EntryError::Missing { .. }) => Ok(None),
        Err(source) => Err(blob::Error::Content {
            name: BlobName::Layer(Box::new(*digest)),
            verification: !matches!(source, EntryError::Io { .. } | EntryError::Cancelled(_)),
            source: Box::new(source),
        }),
    }
}
