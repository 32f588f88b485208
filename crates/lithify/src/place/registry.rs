//! `docker://`: images of registries.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use lithify_digest::{Digest, Mismatch, VerifiedReader, Verifier};
use lithify_oci::manifest::Descriptor;
use lithify_oci::reference::DEFAULT_TAG;
use lithify_oci::source::Source;
use lithify_oci::{Limits, Located, Reference};
use lithify_registry::{Content, ManifestName, PushOptions, Repository};

use super::room::Place;
use super::room::Writing;
use super::room::leads_to;
use crate::Error;
use crate::image::Origin;
use crate::session::Session;
use crate::transfer::signatures::{self, There};
use crate::transfer::{
    BlobSource, Destination, Look, Nature, Placed, Plan, SignatureTag, Sort, Target, referrers,
};

/// The name of an image in its registry.
pub(super) struct InRegistry<'a>(pub(super) &'a Reference);

impl Place for InRegistry<'_> {
    fn open(&self, name: &str, session: &Session) -> Result<Origin, Error> {
        Origin::of_located(name, self.locate(name, session)?, session)
    }

    fn locate(&self, _: &str, session: &Session) -> Result<Located, Error> {
        let limits = &session.limits.image;
        session.registries.locate(self.0, limits, &session.cancel)
    }

    fn target(
        &self,
        _: &str,
        writing: &Writing,
        session: &Session,
    ) -> Result<Box<dyn Target>, Error> {
        let mut options = PushOptions::default().chunk(writing.chunk);
        let from = writing.source.as_ref();
        if let Some(from) = from.and_then(|s| same_registry(s, self.0)) {
            options = options.mount_from(from);
        }
        Ok(Box::new(RegistryTarget {
            repository: session.registries.repository(self.0, &session.cancel)?,
            reference: self.0.clone(),
            options,
            limits: session.limits.image.clone(),
        }))
    }
}

/// Returns the repository of a source in the same registry, if it is another one.
fn same_registry(source: &Source, destination: &Reference) -> Option<String> {
    let Source::Docker(source) = source else {
        return None;
    };
    let (source, destination) = (source.normalised(), destination.normalised());
    (source.domain() == destination.domain() && source.path() != destination.path())
        .then(|| source.path().to_owned())
}

/// A repository, and the tag an image gets there.
#[derive(Debug)]
struct RegistryTarget {
    repository: Repository,
    reference: Reference,
    options: PushOptions,
    limits: Limits,
}

impl Target for RegistryTarget {
    fn nature(&self) -> Nature {
        Nature {
            vendor_layers: false,
            ..Nature::ANYTHING
        }
    }

    fn look(&self) -> Result<Look, Error> {
        let repository = self.repository.clone();
        Ok(Box::new(move |sort, part| {
            Ok(match sort {
                Sort::Blob => repository.has_blob(&part.digest, part.size)?,
                Sort::Document => repository.has_manifest(&part.digest, part.size)?,
            })
        }))
    }

    fn open(self: Box<Self>) -> Result<Box<dyn Destination>, Error> {
        Ok(Box::new(RegistryDestination {
            repository: self.repository,
            reference: self.reference,
            options: self.options,
            documents: Mutex::default(),
            signed: HashSet::new(),
            unlisted: Mutex::default(),
            limits: self.limits,
        }))
    }
}

/// A repository that is written to, and the tag an image gets there.
#[derive(Debug)]
struct RegistryDestination {
    repository: Repository,
    reference: Reference,
    options: PushOptions,
    /// What was put. One of them is the root; what refers to it may come after it.
    documents: Mutex<HashMap<Digest, (Descriptor, Vec<u8>)>>,
    /// Tags of signatures that have there what they are to have.
    signed: HashSet<String>,
    /// The reasons why referrers are not listed.
    unlisted: Mutex<Vec<String>>,
    limits: Limits,
}

impl RegistryDestination {
    /// Lists what was put among the referrers of its subject, where the registry lets it be listed.
    fn list(&self, subject: &Digest, referrer: &Descriptor) -> Result<(), Error> {
        match self.repository.list_referrer(subject, referrer) {
            Ok(()) => Ok(()),
            Err(error) if error.is_refusal() => {
                let reason = format!(
                    "{} is there, but not listed among the referrers of {subject}: {error}",
                    referrer.digest
                );
                log::warn!("{reason}");
                let unlisted = self.unlisted.lock();
                unlisted
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(reason);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Destination for RegistryDestination {
    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        super::room::check_digest(&self.reference, plan)?;
        self.signed = signatures::already_there(plan, |tag| {
            let name = ManifestName::Tag(tag.to_owned());
            let limit = self.limits.manifest_bytes;
            let found = self.repository.own_manifest(&name, limit)?;
            Ok(found.map(|found| There {
                digest: found.descriptor.digest,
                bytes: Some(found.bytes),
            }))
        })?;
        Ok(())
    }

    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.repository.has_blob(&blob.digest, blob.size)?)
    }

    fn put_blob(&self, blob: &Descriptor, content: &dyn BlobSource) -> Result<Placed, Error> {
        let adapter = Adapter {
            content,
            failed: Mutex::new(None),
        };
        let pushed = self
            .repository
            .upload_blob(&blob.digest, blob.size, &adapter, &self.options);
        let failed = adapter.failed.into_inner();
        match (pushed, failed.unwrap_or_else(PoisonError::into_inner)) {
            // The reason is known better here than after its way through the client.
            (Err(_), Some(error)) => Err(error),
            // What a registry says of a blob that is not what its digest says (distribution-spec, `DIGEST_INVALID`).
            (Err(error @ lithify_registry::Error::Status { status: 400, .. }), None) => {
                check(blob, content)?;
                Err(error.into())
            }
            (Err(error), None) => Err(error.into()),
            (Ok(lithify_registry::Pushed::Mounted(_)), _) => Ok(Placed::Mounted),
            (Ok(_), _) => Ok(Placed::Copied),
        }
    }

    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        let name = ManifestName::Digest(manifest.digest);
        let stored = self.repository.put_manifest(&name, manifest, bytes)?;
        // What was put twice may be listed already; who lists it finds out.
        if let Some((subject, referrer)) = referrers::of(manifest, bytes)
            && !stored.lists_referrers
        {
            self.list(&subject, &referrer)?;
        }
        let documents = self.documents.lock();
        documents
            .unwrap_or_else(PoisonError::into_inner)
            .insert(manifest.digest, (manifest.clone(), bytes.to_vec()));
        Ok(())
    }

    fn put_tag(
        &self,
        tag: &SignatureTag,
        manifest: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), Error> {
        if self.signed.contains(&tag.tag) {
            return Ok(());
        }
        let name = ManifestName::Tag(tag.tag.clone());
        self.repository.put_manifest(&name, manifest, bytes)?;
        Ok(())
    }

    fn unlisted(&self) -> Vec<String> {
        let unlisted = self.unlisted.lock();
        unlisted.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn finish(self: Box<Self>, root: &Descriptor) -> Result<(), Error> {
        if self.reference.digest().is_some() {
            // It has that digest, and there is no tag to be put.
            return Ok(());
        }
        let documents = self.documents.into_inner();
        let mut documents = documents.unwrap_or_else(PoisonError::into_inner);
        let Some((descriptor, bytes)) = documents.remove(&root.digest) else {
            return Ok(());
        };
        let tag = self.reference.tag().unwrap_or(DEFAULT_TAG).to_owned();
        self.repository
            .put_manifest(&ManifestName::Tag(tag), &descriptor, &bytes)?;
        Ok(())
    }

    /// The tag leads to the subject then, as after a copy. One that leads to an index with the subject stays as it is:
    /// it leads to more.
    fn finish_artifact(self: Box<Self>, subject: &Descriptor) -> Result<(), Error> {
        if self.reference.digest().is_some() {
            return Ok(());
        }
        let limit = self.limits.manifest_bytes;
        let read = |name| self.repository.own_manifest(&name, limit);
        let tag = self.reference.tag().unwrap_or(DEFAULT_TAG).to_owned();
        if let Some(there) = read(ManifestName::Tag(tag))?
            && leads_to(
                (&there.descriptor, &there.bytes),
                &subject.digest,
                self.limits.index_depth,
                &|entry| {
                    let found = read(ManifestName::Digest(entry.digest))?;
                    Ok(found.map(|found| found.bytes))
                },
            )?
        {
            return Ok(());
        }
        self.finish(subject)
    }
}

/// Compares a source with the descriptor of its blob. One that cannot be read again is not found wrong.
fn check(blob: &Descriptor, content: &dyn BlobSource) -> Result<(), Error> {
    let Ok(reader) = content.open(0) else {
        return Ok(());
    };
    let mut reader = VerifiedReader::new(reader, Verifier::new(blob.digest, blob.size));
    match io::copy(&mut reader, &mut io::sink()) {
        Err(e) if Mismatch::in_error(&e).is_some() => Err(Error::of_reader(&blob.digest, e)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A source as the client reads it.
struct Adapter<'a> {
    content: &'a dyn BlobSource,
    /// Why it could not be opened.
    failed: Mutex<Option<Error>>,
}

impl Content for Adapter<'_> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        self.content.open(offset).map_err(|error| {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            *failed = Some(error);
            io::Error::other("the source cannot be opened")
        })
    }
}
