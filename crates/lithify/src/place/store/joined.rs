//! Platforms of an image that came to the store one by one, as the one image they are.

use std::io::Cursor;
use std::sync::Arc;

use lithify_digest::{Algorithm, Digest};
use lithify_oci::blob::{self, Blob, RandomAccess};
use lithify_oci::manifest::{Descriptor, Index, media_type};
use lithify_oci::{Content, Limits, Located};
use lithify_store::{Lease, Tagged};

use crate::Error;
use crate::error::OutputError;

/// The index over what has a name in the store: that from which all of it was chosen, if nothing it lists is missing, else
/// one of what is there, the same whenever the same is there.
pub(super) fn index_of(lease: Lease, found: &[Tagged], limits: &Limits) -> Result<Located, Error> {
    let names = found.first().map(|t| t.name.clone()).into_iter().collect();
    if let Some(root) = common_index(&lease, found, limits)? {
        return Ok(Located::new(Arc::new(lease), root, names));
    }
    let manifests = found.iter().map(|tagged| {
        let mut descriptor = tagged.descriptor.clone();
        descriptor.annotations.clear();
        descriptor
    });
    let index = Index::new(manifests.collect());
    let bytes = serde_json::to_vec(&index).map_err(OutputError::Json)?;
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let root = Descriptor::new(media_type::OCI_INDEX, digest, bytes.len() as u64);
    let content = Joined {
        lease,
        digest,
        bytes: bytes.into(),
    };
    Ok(Located::new(Arc::new(content), root, names))
}

/// The index all were chosen from, if the store has it and all it lists.
fn common_index(
    lease: &Lease,
    found: &[Tagged],
    limits: &Limits,
) -> Result<Option<Descriptor>, Error> {
    let Some(digest) = found.first().and_then(|tagged| tagged.index) else {
        return Ok(None);
    };
    if found.iter().any(|tagged| tagged.index != Some(digest)) {
        return Ok(None);
    }
    let Ok(Some(blob)) = lease.open_manifest(&digest) else {
        return Ok(None);
    };
    let root = Descriptor::new("", digest, blob.len());
    let located = Located::new(Arc::new(lease.clone()), root.clone(), Vec::new());
    // What is damaged is no reason to fail: what it lists is there by itself.
    let Ok(Some(bytes)) = located.read_manifest(&root, limits) else {
        return Ok(None);
    };
    let Ok(index) = Index::parse(&bytes) else {
        return Ok(None);
    };
    for listed in &index.manifests {
        if !lease.has(&listed.digest, listed.size)? {
            return Ok(None);
        }
    }
    let media_type = index
        .media_type
        .unwrap_or_else(|| media_type::OCI_INDEX.to_owned());
    Ok(Some(Descriptor::new(&media_type, digest, root.size)))
}

/// A store, and an index that is not in it.
#[derive(Debug)]
struct Joined {
    lease: Lease,
    digest: Digest,
    bytes: Arc<[u8]>,
}

impl Content for Joined {
    fn open_manifest(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error> {
        if *digest == self.digest {
            let bytes = Arc::clone(&self.bytes);
            let length = bytes.len() as u64;
            return Ok(Some(Blob::new(Cursor::new(bytes), length)));
        }
        self.lease.open_manifest(digest)
    }

    fn open_blob(&self, digest: &Digest, size: Option<u64>) -> Result<Option<Blob>, blob::Error> {
        self.lease.open_blob(digest, size)
    }

    fn open_blob_at(
        &self,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<Option<RandomAccess>, blob::Error> {
        self.lease.open_blob_at(digest, size)
    }

    fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, blob::Error> {
        self.lease.referrers(digest, artifact_type)
    }

    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>, blob::Error> {
        self.lease.tagged(tag)
    }
}
