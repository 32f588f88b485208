//! Writing to a registry: blobs, then what refers to them.

mod upload; // one blob

use lithify_digest::Digest;
use lithify_oci::manifest::Descriptor;
use ureq::http::Method;

use crate::error::{Error, Operation};
use crate::manifest::ManifestName;
use crate::repository::{Repository, accept};
use crate::session::{Access, Answer, Call, CallBody, To};

pub use upload::{Content, PushOptions, Pushed};

impl Repository {
    /// Whether the registry itself, not a mirror, has a blob of that size, and says so: it is asked to save work, and one
    /// that refuses to tell may take the blob all the same.
    ///
    /// # Errors
    /// Anything a registry may do wrong.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let operation = Operation::Blob(Box::new(*digest));
        self.has(&format!("blobs/{digest}"), size, &[], operation)
    }

    /// Whether the registry itself, not a mirror, has a manifest or index of that size under its digest, and says so, as
    /// [`has_blob`](Self::has_blob) does of blobs.
    ///
    /// # Errors
    /// Anything a registry may do wrong.
    pub fn has_manifest(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let name = ManifestName::Digest(*digest);
        let operation = self.manifest_operation(&name);
        self.has(&format!("manifests/{name}"), size, &accept(), operation)
    }

    fn has(
        &self,
        path: &str,
        size: u64,
        headers: &[(&'static str, String)],
        operation: Operation,
    ) -> Result<bool, Error> {
        let call = Call {
            method: Method::HEAD,
            to: To::Repository(path),
            headers,
            body: CallBody::Empty,
            operation: &operation,
            access: Access::Push,
            from: None,
            tried: 0,
        };
        match self.origin().call(&call) {
            Ok(Answer { response, .. }) => {
                Ok(response.content_length().is_none_or(|found| found == size))
            }
            Err(e) if e.is_not_found() => Ok(false),
            Err(
                error @ (Error::Unauthorized { .. }
                | Error::Status {
                    status: 400..=428 | 430..=499 | 501,
                    ..
                }),
            ) => {
                log::info!("{error}; taken for absent");
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// Stores a manifest or index, all of whose parts are there, under a tag or its digest. Returns the digest the
    /// registry of an older kind said has a `subject` it keeps no list of, if so.
    ///
    /// # Errors
    /// [`Error::Digest`] when the registry understood something else, and anything a registry may do wrong.
    pub fn put_manifest(
        &self,
        name: &ManifestName,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<Stored, Error> {
        let operation = Operation::PutManifest(name.to_string());
        let headers = [("content-type", descriptor.media_type.clone())];
        let session = self.origin();
        let Answer { response, .. } = session.call(&Call {
            method: Method::PUT,
            to: To::Repository(&format!("manifests/{name}")),
            headers: &headers,
            body: CallBody::Bytes(bytes),
            operation: &operation,
            access: Access::Push,
            from: None,
            tried: 0,
        })?;
        if let Some(found) = response.header("docker-content-digest")
            && let Ok(found) = found.parse::<Digest>()
            && found.algorithm() == descriptor.digest.algorithm()
            && found != descriptor.digest
        {
            return Err(Error::Digest {
                host: session.endpoint.host.clone(),
                operation,
                found: Box::new(found),
            });
        }
        let lists_referrers = response.header("oci-subject").is_some();
        response.discard();
        Ok(Stored { lists_referrers })
    }
}

/// What a registry said when it stored a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Whether it noticed the manifest's `subject` and lists it among the referrers of that (distribution-spec,
    /// "Pushing Manifests with Subject"). Where it does not, the list has to be kept under a tag.
    pub lists_referrers: bool,
}
