//! Layers of an image that is pulled, made of a delta.

use std::ffi::OsStr;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lithify_digest::Digest;
use lithify_oci::{Located, Reference};
use lithify_store::Lease;

use super::find::{Wanted, none};
use super::policy::DeltaPolicy;
use super::target::Layers;
use crate::Error;
use crate::place::store::DeltaSavings;
use crate::session::Session;
use crate::transfer::{BlobSource, Plan};

/// Has layers of a plan that the store lacks made of a delta, where that gives the very blobs and saves bytes.
pub(crate) fn with_delta(
    reference: &Reference,
    located: &Located,
    plan: &mut Plan,
    lease: &Lease,
    (policy, from): (DeltaPolicy, Option<&OsStr>),
    session: &Session,
) -> Result<Option<DeltaSavings>, Error> {
    let name = reference.to_string();
    let Some(manifest) = plan.root().map(|root| root.digest) else {
        return Ok(None);
    };
    let mut missing = Vec::new();
    for (index, blob) in plan.blobs.iter().enumerate() {
        if !lease.has(&blob.descriptor.digest, blob.descriptor.size)? {
            missing.push(index);
        }
    }
    // The configuration is one of them.
    if missing.is_empty() {
        return Ok(None);
    }
    let wanted = Wanted {
        name: &name,
        reference,
        located,
        manifest: &manifest,
        from,
    };
    let found = match wanted.find(session) {
        Err(e) if policy == DeltaPolicy::Auto && !session.cancel.is_cancelled() => {
            log::warn!("{}; going on without a delta", e.report());
            None
        }
        found => found?,
    };
    let Some(target) = found else {
        return none(policy, &name);
    };
    let layers = target.layers();
    let mut savings = DeltaSavings {
        digest: layers.digest().to_string(),
        base: target.report().base.clone(),
        layers: 0,
        delta_bytes: 0,
        layer_bytes: 0,
    };
    for index in missing {
        let blob = &mut plan.blobs[index];
        let descriptor = &blob.descriptor;
        let Some(delta_bytes) = layers.bytes_for(&descriptor.digest) else {
            continue;
        };
        if delta_bytes >= descriptor.size {
            continue;
        }
        savings.layers += 1;
        savings.delta_bytes = savings.delta_bytes.saturating_add(delta_bytes);
        savings.layer_bytes = savings.layer_bytes.saturating_add(descriptor.size);
        let registry = std::mem::replace(&mut blob.source, Box::new(Nowhere));
        blob.source = Box::new(Made {
            layers: Arc::clone(layers),
            digest: descriptor.digest,
            size: descriptor.size,
            otherwise: (policy == DeltaPolicy::Auto).then_some(registry),
            failed: AtomicBool::new(false),
        });
    }
    savings.delta_bytes = savings.delta_bytes.saturating_add(target.bytes_before());
    match savings.layers {
        0 => none(policy, &name),
        _ => Ok(Some(savings)),
    }
}

/// A blob that a delta makes.
struct Made {
    layers: Arc<Layers>,
    digest: Digest,
    size: u64,
    /// Where it is read from if that fails.
    otherwise: Option<Box<dyn BlobSource>>,
    failed: AtomicBool,
}

impl BlobSource for Made {
    fn open(&self, offset: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        if self.failed.load(Ordering::Acquire)
            && let Some(otherwise) = &self.otherwise
        {
            return otherwise.open(offset);
        }
        match self.layers.open_exact(&self.digest, self.size, offset) {
            Err(e) if self.distrust() => {
                log::warn!("{}: {}; from the registry then", self.digest, e.report());
                self.open(offset)
            }
            opened => opened,
        }
    }

    fn distrust(&self) -> bool {
        match &self.otherwise {
            None => false,
            Some(otherwise) => match self.failed.swap(true, Ordering::AcqRel) {
                false => true,
                true => otherwise.distrust(),
            },
        }
    }

    fn given_by(&self) -> Vec<String> {
        match &self.otherwise {
            Some(otherwise) if self.failed.load(Ordering::Acquire) => otherwise.given_by(),
            _ => Vec::new(),
        }
    }
}

/// What stands in for a source while it is moved.
struct Nowhere;

impl BlobSource for Nowhere {
    fn open(&self, _: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        Ok(Box::new(std::io::empty()))
    }
}
