//! The store as a destination.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use lithify_digest::{Digest, Mismatch};
use lithify_oci::manifest::Descriptor;
use lithify_oci::{Content, Limits, Reference};
use lithify_store::{Begun, Ingest, Lease, Store};

use crate::place::room::check_digest;
use crate::transfer::{BlobSource, Destination, Placed, Plan, SignatureTag, referrers, signatures};
use crate::{CancelToken, Error};

/// Bytes moved at once.
const BUFFER: usize = 256 << 10;

/// The store, and the name an image gets there.
#[derive(Debug)]
pub(super) struct StoreDestination {
    lease: Lease,
    name: String,
    /// The index the image was chosen from.
    index: Option<Digest>,
    cancel: CancelToken,
    /// Buffers not in use.
    buffers: Mutex<Vec<Vec<u8>>>,
    /// What refers to something else, and to what.
    referrers: Mutex<Vec<(Digest, Descriptor)>>,
    /// What has a tag made of something else's digest: that digest, and the tag.
    signatures: Mutex<Vec<(Digest, String, Descriptor)>>,
    /// For what comes from elsewhere than the registry of its name.
    elsewhere: Option<Elsewhere>,
}

/// What is to be known of an image that does not come from the registry of its name.
#[derive(Debug)]
struct Elsewhere {
    /// The name it is to have.
    reference: Reference,
    limits: Limits,
}

impl StoreDestination {
    pub(crate) fn new(
        store: &Store,
        name: String,
        durable: bool,
        cancel: CancelToken,
    ) -> Result<Self, Error> {
        Ok(Self {
            lease: store.lease()?.durable(durable),
            name,
            index: None,
            cancel,
            buffers: Mutex::default(),
            referrers: Mutex::default(),
            signatures: Mutex::default(),
            elsewhere: None,
        })
    }

    /// Has signatures not take the place of those that are there, and only the image a digest names be named by it: it comes
    /// from elsewhere. What is pulled again is as its registry has it.
    pub(super) fn of_elsewhere(self, reference: Reference, limits: &Limits) -> Self {
        let limits = limits.clone();
        Self {
            elsewhere: Some(Elsewhere { reference, limits }),
            ..self
        }
    }

    /// What keeps the image's parts while they come.
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The image was chosen from this index, which is kept with it.
    pub(crate) fn chosen_from(&mut self, index: &Digest, bytes: &[u8]) -> Result<(), Error> {
        self.lease.put(index, bytes)?;
        self.index = Some(*index);
        Ok(())
    }

    fn fill(&self, ingest: &mut Ingest, content: &dyn BlobSource) -> Result<(), Error> {
        let digest = *ingest.digest();
        let lock = || self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reader = content.open(ingest.offset())?;
        let mut buffer = lock().pop().unwrap_or_else(|| vec![0; BUFFER]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => ingest.append(&buffer[..read])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::of_reader(&digest, e)),
            }
        }
        lock().push(buffer);
        Ok(())
    }
}

impl Destination for StoreDestination {
    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        if let Some(Elsewhere { reference, limits }) = &self.elsewhere {
            check_digest(reference, plan)?;
            let content: Arc<dyn Content> = Arc::new(self.lease.clone());
            // Entering those again that are the same changes nothing.
            signatures::already_there(plan, |tag| {
                signatures::in_content(&self.name, &content, tag, limits)
            })?;
        }
        Ok(())
    }

    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.lease.has(&blob.digest, blob.size)?)
    }

    fn put_blob(&self, blob: &Descriptor, content: &dyn BlobSource) -> Result<Placed, Error> {
        let mut wait = |_: &lithify_store::Waiting| match self.cancel.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        loop {
            let begun = self.lease.ingest(&blob.digest, blob.size, Some(&mut wait));
            let mut ingest = match begun {
                Ok(Begun::Complete) => return Ok(Placed::Existed),
                Ok(Begun::Partial(ingest)) => ingest,
                Err(lithify_store::Error::AbandonedBlob { .. }) => return Err(Error::cancelled()),
                Err(e) => return Err(e.into()),
            };
            let resumed = ingest.resumed() > 0;
            if resumed {
                log::info!("{}: going on at byte {}", blob.digest, ingest.offset());
            }
            self.fill(&mut ingest, content)?;
            match ingest.finish() {
                Ok(()) => return Ok(Placed::Copied),
                // What an earlier attempt left may be what is wrong.
                Err(
                    e @ lithify_store::Error::BlobMismatch {
                        source: Mismatch::Digest { .. },
                        ..
                    },
                ) if resumed => {
                    log::info!("{e}; starting over");
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn put_manifest(&self, manifest: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        self.lease.put(&manifest.digest, bytes)?;
        if let Some(referrer) = referrers::of(manifest, bytes) {
            let mut referrers = self
                .referrers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            referrers.push(referrer);
        }
        Ok(())
    }

    /// They go with what they belong to, and have no names here.
    fn put_tag(&self, tag: &SignatureTag, manifest: &Descriptor, _: &[u8]) -> Result<(), Error> {
        let mut signatures = self
            .signatures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        signatures.push((tag.subject, tag.tag.clone(), manifest.clone()));
        Ok(())
    }

    fn finish(self: Box<Self>, root: &Descriptor) -> Result<(), Error> {
        let store = self.lease.store();
        store.tag(&self.name, root, self.index.as_ref())?;
        let referrers = self.referrers.into_inner();
        let mut referrers = referrers.unwrap_or_else(PoisonError::into_inner);
        // The image itself has its name.
        referrers.retain(|(_, d)| d.digest != root.digest);
        store.add_referrers(&referrers)?;
        let signatures = self.signatures.into_inner();
        let signatures = signatures.unwrap_or_else(PoisonError::into_inner);
        Ok(store.add_tagged_referrers(&signatures)?)
    }
}
