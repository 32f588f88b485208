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

    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>, blob::Error> {
        let failed = |e| blob::Error::Content {
            name: BlobName::IndexJson,
            verification: false,
            source: Box::new(e),
        };
        let nameless = self.store().nameless().map_err(failed)?;
        let brought = nameless.into_iter().find(|d| {
            let annotation = d.annotations.get(crate::TAG_ANNOTATION);
            annotation.is_some_and(|found| found == tag)
        });
        // Who has such a tag by itself pulled it like an image.
        let by_name = || {
            let all = self.store().tagged().map_err(failed)?;
            let is_it = |name: &str| {
                name.strip_suffix(tag)
                    .is_some_and(|rest| rest.ends_with(':'))
            };
            let found = all.into_iter().find(|t| is_it(&t.name));
            Ok(found.map(|found| found.descriptor))
        };
        let found = match brought {
            Some(found) => Some(found),
            None => by_name()?,
        };
        Ok(found.map(|mut descriptor| {
            descriptor.annotations.clear();
            descriptor
        }))
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
