//! A repository as a place images are opened from.

use std::collections::HashMap;
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, PoisonError};

use lithify_digest::Digest;
use lithify_oci::blob::{self, Blob, BlobName, RandomAccess};
use lithify_oci::manifest::Descriptor;
use lithify_oci::{Content, Limits, Located, Reference};
use lithify_storage::{Cached, ReadAt};

use crate::error::{Error, Operation};
use crate::manifest::{Manifest, ManifestName};
use crate::repository::Repository;

/// Bytes of a blob that is read in parts that are kept.
const CACHE: usize = 16 << 20;
/// Most manifests that are kept.
const KEPT: usize = 64;

/// What a repository holds, by digest. Manifests are asked for once; blobs stream from the registry each time.
#[derive(Debug)]
pub struct RepositoryContent {
    repository: Repository,
    limits: Limits,
    manifests: Mutex<HashMap<Digest, Arc<[u8]>>>,
}

impl RepositoryContent {
    /// Looks up what a reference names: its digest if it has one, else its tag.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such image, and anything a registry may do wrong.
    pub fn locate(
        repository: &Repository,
        reference: &Reference,
        limits: &Limits,
    ) -> Result<Located, Error> {
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => ManifestName::Digest(*digest),
            (None, tag) => {
                let default = lithify_oci::reference::DEFAULT_TAG;
                ManifestName::Tag(tag.unwrap_or(default).to_owned())
            }
        };
        let manifest = repository.manifest(&name, limits.manifest_bytes)?;
        let Some(Manifest { descriptor, bytes }) = manifest else {
            return Err(Error::NotFound {
                host: repository.origin().endpoint.host.clone(),
                operation: Operation::Manifest(format!("{}:{name}", repository.name())),
                message: String::new(),
            });
        };
        let content = Self {
            repository: repository.clone(),
            limits: limits.clone(),
            manifests: Mutex::new(HashMap::from([(descriptor.digest, bytes.into())])),
        };
        let names = vec![reference.normalised().with_default_tag().to_string()];
        Ok(Located::new(Arc::new(content), descriptor, names))
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    fn manifest(&self, digest: &Digest) -> Result<Option<Arc<[u8]>>, Error> {
        let lock = || {
            self.manifests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(bytes) = lock().get(digest) {
            return Ok(Some(Arc::clone(bytes)));
        }
        let name = ManifestName::Digest(*digest);
        let Some(found) = self
            .repository
            .manifest(&name, self.limits.manifest_bytes)?
        else {
            return Ok(None);
        };
        let bytes: Arc<[u8]> = found.bytes.into();
        let mut manifests = lock();
        if manifests.len() < KEPT {
            manifests.insert(*digest, Arc::clone(&bytes));
        }
        Ok(Some(bytes))
    }
}

fn failed(name: BlobName, error: Error) -> blob::Error {
    blob::Error::Content {
        name,
        verification: error.is_verification(),
        source: Box::new(error),
    }
}

/// As [`failed`], of what an image does without.
fn unlisted(name: BlobName, error: Error) -> blob::Error {
    match error.is_refusal() {
        true => blob::Error::Unlisted {
            name,
            source: Box::new(error),
        },
        false => failed(name, error),
    }
}

impl Content for RepositoryContent {
    fn open_manifest(&self, digest: &Digest) -> Result<Option<Blob>, blob::Error> {
        let manifest = self
            .manifest(digest)
            .map_err(|e| failed(BlobName::Manifest(Box::new(*digest)), e))?;
        Ok(manifest.map(|bytes| {
            let length = bytes.len() as u64;
            Blob::new(Cursor::new(bytes), length)
        }))
    }

    /// Reading one that is not there tells as well, and costs no more.
    fn has_manifest(&self, _: &Digest) -> Result<bool, blob::Error> {
        Ok(true)
    }

    fn open_blob(&self, digest: &Digest, size: Option<u64>) -> Result<Option<Blob>, blob::Error> {
        let name = || BlobName::Layer(Box::new(*digest));
        let Some(size) = size else {
            return Err(blob::Error::Missing { name: name() });
        };
        let reader = self.repository.blob(digest, size, 0);
        let reader = reader.map_err(|e| failed(name(), e))?;
        Ok(reader.map(|reader| Blob::new(reader, size)))
    }

    /// Parts of it are read when they are needed, and kept for a while.
    fn open_blob_at(
        &self,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<Option<RandomAccess>, blob::Error> {
        let Some(size) = size else { return Ok(None) };
        let parts = Parts {
            repository: self.repository.clone(),
            digest: *digest,
            size,
        };
        let cached = Cached::new(parts, CACHE).map_err(|source| blob::Error::Io {
            name: BlobName::Layer(Box::new(*digest)),
            source,
        })?;
        Ok(Some(Arc::new(cached)))
    }

    fn resume_blob(
        &self,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<Option<Blob>, blob::Error> {
        let reader = self.repository.blob(digest, size, offset);
        let reader = reader.map_err(|e| failed(BlobName::Layer(Box::new(*digest)), e))?;
        Ok(reader.map(|reader| Blob::new(reader, size.saturating_sub(offset))))
    }

    fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, blob::Error> {
        self.repository
            .referrers(digest, artifact_type)
            .map_err(|e| unlisted(BlobName::Manifest(Box::new(*digest)), e))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn tagged(&self, tag: &str) -> Result<Option<Descriptor>, blob::Error> {
        let name = ManifestName::Tag(tag.to_owned());
        let found = self
            .repository
            .manifest(&name, self.limits.manifest_bytes)
            .map_err(|e| unlisted(BlobName::Tag(tag.to_owned()), e))?;
        Ok(found.map(|found| found.descriptor))
    }

    fn distrust(&self, digest: &Digest) -> bool {
        self.repository.distrust(digest)
    }

    fn given_by(&self, digest: &Digest) -> Vec<String> {
        self.repository.given_by(digest)
    }
}

/// A blob read in parts.
#[derive(Debug)]
struct Parts {
    repository: Repository,
    digest: Digest,
    size: u64,
}

impl ReadAt for Parts {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = self
            .repository
            .blob_part(&self.digest, self.size, offset..end)?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}
