//! The blobs of a store as the content of images.

use lithify_digest::Digest;
use lithify_oci::Content;
use lithify_oci::blob::{self, Blob, BlobName};
use lithify_oci::manifest::Descriptor;

use super::Lease;

/// What is asked for stays while the lease lives. Nothing is verified here: whoever reads it does.
impl Content for Lease {
    fn open_manifest(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error> {
        open(self, digest, BlobName::Manifest(Box::new(*digest)))
    }

    fn open_blob(&self, digest: &Digest, _: Option<u64>) -> Result<Option<Blob>, blob::Error> {
        open(self, digest, BlobName::Layer(Box::new(*digest)))
    }

    fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, blob::Error> {
        let nameless = self.store().nameless().map_err(|e| blob::Error::Content {
            name: BlobName::IndexJson,
            verification: false,
            source: Box::new(e),
        })?;
        lithify_oci::referrers_among(self, &nameless, digest, artifact_type)
    }
}

fn open(lease: &Lease, digest: &Digest, name: BlobName) -> Result<Option<Blob>, blob::Error> {
    let file = match lease.open(digest) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        Err(e) => {
            return Err(blob::Error::Content {
                name,
                verification: false,
                source: Box::new(e),
            });
        }
    };
    match file.metadata() {
        Ok(metadata) => Ok(Some(Blob::of_file(file, metadata.len()))),
        Err(source) => Err(blob::Error::Io { name, source }),
    }
}
