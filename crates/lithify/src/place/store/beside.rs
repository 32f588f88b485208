//! A registry with a store beside it: what the store has is not asked for again.

use std::io::Read as _;
use std::sync::Arc;

use lithify_digest::Digest;
use lithify_oci::blob::{self, Blob, BlobName};
use lithify_oci::manifest::Descriptor;
use lithify_oci::{Content, Limits};
use lithify_store::Lease;

/// Documents come from the store if it has them, and are kept in it when they come from the registry. Layers are always the
/// registry's: whoever transfers them looks in the store first.
#[derive(Debug)]
pub(super) struct BesideStore {
    pub(super) lease: Lease,
    pub(super) remote: Arc<dyn Content>,
    pub(super) limits: Limits,
}

impl BesideStore {
    fn keep(
        &self,
        digest: &Digest,
        blob: Blob,
        limit: u64,
        name: fn(Box<Digest>) -> BlobName,
    ) -> Result<Blob, blob::Error> {
        let length = blob.len();
        if length > limit {
            return Ok(blob);
        }
        let mut bytes = Vec::new();
        blob.into_reader()
            .take(length)
            .read_to_end(&mut bytes)
            .map_err(|source| blob::Error::Io {
                name: name(Box::new(*digest)),
                source,
            })?;
        // What is not what its digest says is noticed by who reads it; what cannot be kept now is kept later or reported then.
        if Digest::of(digest.algorithm(), &bytes) == *digest
            && let Err(e) = self.lease.put(digest, &bytes)
        {
            log::debug!("{digest} is not kept: {e}");
        }
        Ok(Blob::new(std::io::Cursor::new(bytes), length))
    }
}

impl Content for BesideStore {
    /// The store may have some of them.
    fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, blob::Error> {
        self.remote.referrers(digest, artifact_type)
    }

    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>, blob::Error> {
        self.remote.tagged(tag)
    }

    fn open_manifest(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error> {
        if let Some(found) = self.lease.open_manifest(digest)? {
            return Ok(Some(found));
        }
        match self.remote.open_manifest(digest)? {
            Some(blob) => {
                let limit = self.limits.manifest_bytes;
                self.keep(digest, blob, limit, BlobName::Manifest).map(Some)
            }
            None => Ok(None),
        }
    }

    fn has_manifest(&self, digest: &Digest) -> Result<bool, blob::Error> {
        self.remote.has_manifest(digest)
    }

    fn open_blob(&self, digest: &Digest, size: Option<u64>) -> Result<Option<Blob>, blob::Error> {
        if let Some(size) = size
            && let Some(found) = self.lease.open_blob(digest, Some(size))?
            && found.len() == size
        {
            return Ok(Some(found));
        }
        match self.remote.open_blob(digest, size)? {
            Some(blob) => {
                let limit = self.limits.config_bytes;
                self.keep(digest, blob, limit, BlobName::Config).map(Some)
            }
            None => Ok(None),
        }
    }

    fn resume_blob(
        &self,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<Option<Blob>, blob::Error> {
        self.remote.resume_blob(digest, size, offset)
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn distrust(&self, digest: &Digest) -> bool {
        self.remote.distrust(digest)
    }

    fn given_by(&self, digest: &Digest) -> Vec<String> {
        self.remote.given_by(digest)
    }
}
