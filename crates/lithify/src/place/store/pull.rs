//! Images of registries into the store.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lithify_oci::{Located, Reference};
use lithify_store::{Lease, Store};
use serde::Serialize;

use super::beside::BesideStore;
use super::destination::StoreDestination;
use super::lookup::{in_store, located, not_in_store};
use super::{InStoreTarget, NATURE};
use crate::Error;
use crate::PullPolicy;
use crate::error::{OpenError, TransferError};
use crate::image::Origin;
use crate::name::name_in_store;
use crate::session::Session;
use crate::transfer::{Plan, PlanReport, Target as _, TransferCounts, Transferred, run, survey};

/// How an image is pulled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PullOptions {
    /// When. Default: always.
    pub policy: PullPolicy,
    /// Pull it for all platforms, not for one.
    pub all_platforms: bool,
    /// Pull what refers to it too: signatures, root hashes, filesystems made of it.
    pub referrers: bool,
    /// Blobs pulled at the same time; `None` is 4.
    pub downloads: Option<NonZeroUsize>,
    /// Wait until everything is on the disk. Default true.
    pub durable: bool,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            policy: PullPolicy::Always,
            all_platforms: false,
            referrers: false,
            downloads: None,
            durable: true,
        }
    }
}

/// What was pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PullReport {
    /// The name in the store.
    pub reference: String,
    /// Digest of the manifest or index that has the name now.
    pub digest: String,
    /// Digest of the index it was chosen from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The platform, unless it is for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Whether anything was pulled or looked up at all.
    pub pulled: bool,
    /// Digests of the manifests that refer to it and were pulled too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<String>,
    /// The reasons why there may be more of them, or why they are not listed where they were put: what a registry does not say
    /// keeps the image from nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers_unlisted: Vec<String>,
    /// The delta that layers were made of, if one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<DeltaSavings>,
    /// What happened to the blobs; those that were made of a delta count as sent.
    pub blobs: TransferCounts,
}

/// A delta that was used in place of layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeltaSavings {
    /// Digest of its manifest.
    pub digest: String,
    /// The name of the old image.
    pub base: String,
    /// Layers that were made of it.
    pub layers: u64,
    /// Bytes of it that were read for them.
    pub delta_bytes: u64,
    /// Bytes of these layers, which were not sent.
    pub layer_bytes: u64,
}

/// Changes a plan of what is pulled before it is run: layers may be had in another way.
pub(crate) type Rework<'a> =
    dyn FnMut(&Located, &mut Plan, &Lease) -> Result<Option<DeltaSavings>, Error> + 'a;

/// Pulls an image of a registry into a store.
pub(crate) fn pull_into(
    store: &Store,
    reference: &Reference,
    options: &PullOptions,
    session: &Session,
    rework: &mut Rework<'_>,
) -> Result<PullReport, Error> {
    let name = name_in_store(reference);
    // Whether what refers to it is all in the store, only the registry knows.
    let here = options.policy == PullPolicy::Never || !options.referrers;
    if options.policy != PullPolicy::Always
        && here
        && let Some(found) = in_store(&store.lease()?, &name, options.all_platforms, session)?
    {
        return Ok(PullReport {
            reference: name,
            digest: found.descriptor.digest.to_string(),
            index: found.index.map(|d| d.to_string()),
            platform: found.descriptor.platform.map(|p| p.to_string()),
            pulled: false,
            referrers: Vec::new(),
            referrers_unlisted: Vec::new(),
            delta: None,
            blobs: TransferCounts::default(),
        });
    }
    if options.policy == PullPolicy::Never {
        return Err(not_in_store(store, name, options.all_platforms, session));
    }
    let limits = &session.limits.image;
    let mut located = session
        .registries
        .locate(reference, limits, &session.cancel)?;
    let root = located.root.clone();
    let mut destination =
        StoreDestination::new(store, name.clone(), options.durable, session.cancel.clone())?;
    located.content = Arc::new(BesideStore {
        lease: destination.lease().clone(),
        remote: located.content,
        limits: limits.clone(),
    });
    let lease = destination.lease().clone();
    let (mut plan, index, platform) = if options.all_platforms {
        let plan = Plan::of_all(&name, &located, options.referrers, NATURE, session)?;
        (plan, None, None)
    } else {
        let (plan, platform) = chosen(&name, &located, options.referrers, session)?;
        let index = root.digest;
        let chosen = plan.root().is_some_and(|manifest| manifest.digest != index);
        if chosen && let Some(bytes) = read_root(&name, &located, session)? {
            destination.chosen_from(&index, &bytes)?;
        }
        (plan, chosen.then_some(index), platform)
    };
    let delta = rework(&located, &mut plan, &lease)?;
    let digest = plan.root().map_or(root.digest, |d| d.digest);
    let referrers = plan.referrers();
    let at_a_time =
        session
            .registries
            .at_a_time(options.downloads, [reference], &session.cancel)?;
    let Transferred { counts, unlisted } = run(plan, Box::new(destination), at_a_time, session)?;
    Ok(PullReport {
        reference: name,
        digest: digest.to_string(),
        index: index.map(|d| d.to_string()),
        platform,
        pulled: true,
        referrers,
        referrers_unlisted: unlisted,
        delta,
        blobs: counts,
    })
}

/// Returns the plan of the image for the platform asked for, and the platform it is for.
fn chosen(
    name: &str,
    located: &Located,
    referrers: bool,
    session: &Session,
) -> Result<(Plan, Option<String>), Error> {
    let Origin::Oci(oci) = Origin::of_located(name, located.clone(), session)? else {
        return Err(TransferError::NoManifest.into());
    };
    let plan = Plan::of_image(name, &oci, referrers, NATURE, session)?;
    let plan = plan.ok_or(TransferError::NoManifest)?;
    Ok((plan, Some(oci.platform().to_string())))
}

/// Returns what pulling would bring, and brings nothing.
pub(crate) fn survey_pull(
    reference: &Reference,
    options: &PullOptions,
    session: &Session,
) -> Result<PlanReport, Error> {
    let name = name_in_store(reference);
    let target = InStoreTarget::new(reference, options.durable, session);
    let store = target.existing()?;
    let source = format!("docker://{reference}");
    let found = match &store {
        Some(store) if options.policy != PullPolicy::Always => {
            in_store(&store.lease()?, &name, options.all_platforms, session)?
        }
        _ => None,
    };
    if let (Some(found), Some(store)) = (found, &store)
        && (options.policy == PullPolicy::Never || !options.referrers)
    {
        let located = located(store.lease()?, found);
        let plan = match options.all_platforms {
            true => Plan::of_all(&name, &located, false, NATURE, session)?,
            false => chosen(&name, &located, false, session)?.0,
        };
        return survey(&plan, &source, &format!("store:{name}"), &*target.look()?);
    }
    if options.policy == PullPolicy::Never {
        return Err(match &store {
            Some(store) => not_in_store(store, name, options.all_platforms, session),
            None => Error::from(OpenError::NotInStore { name }),
        });
    }
    let located = session
        .registries
        .locate(reference, &session.limits.image, &session.cancel)?;
    let plan = match options.all_platforms {
        true => Plan::of_all(&name, &located, options.referrers, NATURE, session)?,
        false => chosen(&name, &located, options.referrers, session)?.0,
    };
    survey(&plan, &source, &format!("store:{name}"), &*target.look()?)
}

fn read_root(name: &str, located: &Located, session: &Session) -> Result<Option<Vec<u8>>, Error> {
    let bytes = located.read_manifest(&located.root, &session.limits.image);
    bytes.map_err(|e| Error::opening(name, e))
}
