//! Images into the store, and what is in the store opened.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

use lithify_oci::manifest::{Descriptor, ImageManifest, LayerMediaType};
use lithify_oci::source::Source;
use lithify_oci::{Limits, Located, Platform, Reference};
use lithify_store::{Access, Lease, OpenOptions, Store, Tagged};
use lithify_tree::Escaped;
use serde::Serialize;

use super::beside::BesideStore;
use super::plan::Plan;
use super::run::{TransferCounts, Transferred, run};
use super::store::StoreDestination;
use crate::error::OpenError;
use crate::name::shown;
use crate::{CancelToken, Error, Image, ReadOptions, StoreChoice};

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullPolicy {
    /// Always: the registry is asked what the name means. What is in the store already is not pulled again.
    Always,
    /// When the store does not have it.
    #[default]
    Missing,
    /// Never.
    Never,
}

/// A policy that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy `{}`: use always, missing or never", Escaped(.found))]
pub struct UnknownPolicy {
    /// What was given.
    pub found: String,
}

impl FromStr for PullPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "always" => Ok(Self::Always),
            "missing" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            found => Err(UnknownPolicy {
                found: found.to_owned(),
            }),
        }
    }
}

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
    /// What happened to the blobs.
    pub blobs: TransferCounts,
}

/// Pulls an image of a registry, `docker://NAME` or `NAME`, into the store of [`ReadOptions::store`].
///
/// What an earlier attempt brought is not brought again. Nothing has the name before everything is there.
///
/// # Errors
/// [`Cause::Registry`](crate::Cause::Registry) and [`OpenError::Open`](crate::OpenError::Open) for what is wrong with registry or image, [`OpenError::NotInStore`](crate::OpenError::NotInStore) by policy.
pub fn pull(
    name: impl AsRef<OsStr>,
    options: &PullOptions,
    read: &ReadOptions,
) -> Result<PullReport, Error> {
    let name = name.as_ref();
    let (Source::Docker(reference) | Source::Name(reference)) = Source::parse(name)? else {
        return Err(Error::from(OpenError::UnsupportedSource {
            name: shown(name),
            hint: "images of registries are pulled; `lithify copy` brings others into the store",
        }));
    };
    let store = open_store(&read.store, &read.cancel)?;
    pull_into(&store, &reference, options, read).map_err(|e| read.reason(e))
}

pub(super) fn open_store(choice: &StoreChoice, cancel: &CancelToken) -> Result<Store, Error> {
    choice.open_until(OpenOptions::new().create(true), cancel)
}

/// The name a store knows an image of a registry by.
pub(crate) fn name_in_store(reference: &Reference) -> String {
    reference.normalised().with_default_tag().to_string()
}

/// The name a store knows an image of a registry by, defaults spelled out; `None` for what is in no registry.
#[must_use]
pub fn full_name(name: &str) -> Option<String> {
    match name.parse::<Source>() {
        Ok(Source::Docker(reference) | Source::Store(reference) | Source::Name(reference)) => {
            Some(name_in_store(&reference))
        }
        _ => None,
    }
}

fn pull_into(
    store: &Store,
    reference: &Reference,
    options: &PullOptions,
    read: &ReadOptions,
) -> Result<PullReport, Error> {
    let name = name_in_store(reference);
    // Whether what refers to it is all in the store, only the registry knows.
    let here = options.policy == PullPolicy::Never || !options.referrers;
    if options.policy != PullPolicy::Always
        && here
        && let Some(found) = in_store(&store.lease()?, &name, options.all_platforms, read)?
    {
        return Ok(PullReport {
            reference: name,
            digest: found.descriptor.digest.to_string(),
            index: found.index.map(|d| d.to_string()),
            platform: found.descriptor.platform.map(|p| p.to_string()),
            pulled: false,
            referrers: Vec::new(),
            referrers_unlisted: Vec::new(),
            blobs: TransferCounts::default(),
        });
    }
    if options.policy == PullPolicy::Never {
        return Err(not_in_store(store, name, options.all_platforms, read));
    }
    let limits = &read.limits.image;
    let mut located = read.registries.locate(reference, limits, &read.cancel)?;
    let root = located.root.clone();
    let mut destination =
        StoreDestination::new(store, name.clone(), options.durable, read.cancel.clone())?;
    located.content = Arc::new(BesideStore {
        lease: destination.lease().clone(),
        remote: located.content,
        limits: limits.clone(),
    });
    let (plan, index, platform) = if options.all_platforms {
        let plan = Plan::of_all(&name, &located, options.referrers, &destination, read)?;
        (plan, None, None)
    } else {
        let image = Image::of_located(&name, located.clone(), read)?;
        let platform = image.oci().map(|oci| oci.platform().to_string());
        let plan = Plan::of_image(&image, options.referrers, &destination, read)?;
        let index = root.digest;
        let chosen = plan.root().is_some_and(|manifest| manifest.digest != index);
        if chosen && let Some(bytes) = read_root(&name, &located, read)? {
            destination.chosen_from(&index, &bytes)?;
        }
        (plan, chosen.then_some(index), platform)
    };
    let digest = plan.root().map_or(root.digest, |d| d.digest);
    let referrers = plan.referrers();
    let at_a_time = read
        .registries
        .at_a_time(options.downloads, [reference], &read.cancel)?;
    let Transferred { counts, unlisted } = run(plan, Box::new(destination), at_a_time, read)?;
    Ok(PullReport {
        reference: name,
        digest: digest.to_string(),
        index: index.map(|d| d.to_string()),
        platform,
        pulled: true,
        referrers,
        referrers_unlisted: unlisted,
        blobs: counts,
    })
}

fn read_root(name: &str, located: &Located, read: &ReadOptions) -> Result<Option<Vec<u8>>, Error> {
    let bytes = located.read_manifest(&located.root, &read.limits.image);
    bytes.map_err(|e| Error::opening(name, e))
}

/// An index lists platforms; whether it has the right one is found when it is opened.
fn is_index(tagged: &Tagged) -> bool {
    tagged.descriptor.platform.is_none()
}

/// Why the store does not have a name for a platform, or for all.
fn not_in_store(store: &Store, name: String, all: bool, read: &ReadOptions) -> Error {
    let wanted = read.platform.clone().unwrap_or_else(Platform::host);
    // That it cannot be read was said before.
    let there = store.find(&name).unwrap_or_default();
    let is_wanted = |t: &&Tagged| {
        let platform = t.descriptor.platform.as_ref();
        all || platform.is_none_or(|p| wanted.rank(p).is_some())
    };
    // What is damaged is there, and no less so for its name.
    for tagged in there.iter().filter(is_wanted) {
        if let Err(error) = store.check_manifest(&tagged.descriptor.digest) {
            return error.into();
        }
    }
    let platforms = there.iter().map(|t| t.descriptor.platform.as_ref());
    let Some(platforms) = platforms.collect::<Option<Vec<&Platform>>>() else {
        return Error::from(OpenError::NotInStore { name });
    };
    // One for the platform that is there has lost parts.
    if platforms.is_empty() || !all && platforms.iter().any(|p| wanted.rank(p).is_some()) {
        return Error::from(OpenError::NotInStore { name });
    }
    let wanted = match all {
        true => "all platforms".to_owned(),
        false => wanted.to_string(),
    };
    Error::from(OpenError::NotInStoreFor {
        there: platforms.iter().map(ToString::to_string).collect(),
        name,
        wanted,
    })
}

/// What the store has of that name for a platform, or for all. What lost parts is not there.
fn in_store(
    lease: &Lease,
    name: &str,
    all: bool,
    read: &ReadOptions,
) -> Result<Option<Tagged>, Error> {
    let wanted = read.platform.clone().unwrap_or_else(Platform::host);
    let tagged = lease.store().find(name)?;
    let rank = |t: &Tagged| wanted.rank(t.descriptor.platform.as_ref()?);
    let best = match all {
        true => None,
        false => tagged
            .iter()
            .filter_map(|t| Some((rank(t)?, t)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, t)| t.clone()),
    };
    let Some(found) = best.or_else(|| tagged.into_iter().find(is_index)) else {
        return Ok(None);
    };
    Ok(is_whole(lease, &found, &read.limits.image)?.then_some(found))
}

/// Whether the store has all parts of a manifest, by their sizes. Those of an index are looked for when it is opened.
fn is_whole(lease: &Lease, found: &Tagged, limits: &Limits) -> Result<bool, Error> {
    let Descriptor { digest, size, .. } = &found.descriptor;
    if !lease.has(digest, *size)? {
        return Ok(false);
    }
    let located = located(lease.clone(), found.clone());
    let manifest = located.read_manifest(&found.descriptor, limits);
    let Ok(Some(bytes)) = manifest else {
        return Ok(false);
    };
    let Ok(manifest) = ImageManifest::parse(&bytes, Some(&found.descriptor.media_type)) else {
        return Ok(true);
    };
    for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
        // Layers their vendor distributes may not have been there.
        let foreign = matches!(
            LayerMediaType::of(&part.media_type),
            LayerMediaType::Tar { foreign: true, .. }
        );
        if !foreign && !lease.has(&part.digest, part.size)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens an image by a bare name: from the store, or pulled into it.
pub(crate) fn open_name(
    name: &OsStr,
    reference: &Reference,
    read: &ReadOptions,
) -> Result<Image, Error> {
    match locate_name(reference, read)? {
        Some(located) => Image::of_located(name, located, read),
        // Nothing is kept: straight from the registry.
        None => {
            let located = read
                .registries
                .locate(reference, &read.limits.image, &read.cancel)?;
            Image::of_located(name, located, read)
        }
    }
}

/// Finds an image by a bare name in the store, or pulls it into it. `None` when there is no store that can keep it.
fn locate_name(reference: &Reference, read: &ReadOptions) -> Result<Option<Located>, Error> {
    let name = name_in_store(reference);
    let open = |create| {
        let options = OpenOptions::new().create(create).access(Access::Preferred);
        read.store.open_until(options, &read.cancel)
    };
    let asked_for = match read.store.directory() {
        Ok(Some((_, asked_for))) => asked_for,
        Ok(None) => false,
        Err(e) if e.is_no_place_for_a_store() => false,
        Err(e) => return Err(e),
    };
    let existing = match open(false) {
        Ok(store) => Some(store),
        // One that is not there yet is made below.
        Err(e) if e.is_no_place_for_a_store() || e.is_no_store() => None,
        // A default nobody asked for is no reason to fail.
        Err(e) if asked_for => return Err(e),
        Err(_) => None,
    };
    if read.pull != PullPolicy::Always
        && let Some(store) = &existing
    {
        let lease = store.lease()?;
        if let Some(found) = in_store(&lease, &name, false, read)? {
            return Ok(Some(located(lease, found)));
        }
    }
    if read.pull == PullPolicy::Never {
        return Err(match &existing {
            Some(store) => not_in_store(store, name, false, read),
            None => Error::from(OpenError::NotInStore { name }),
        });
    }
    if read.store == StoreChoice::None {
        return Ok(None);
    }
    let store = match existing {
        Some(store) => store,
        None => match open(true) {
            Ok(store) => store,
            Err(e) if asked_for => return Err(e),
            Err(e) => {
                log::info!("{e}; reading straight from the registry");
                return Ok(None);
            }
        },
    };
    if store.read_only() {
        return Ok(None);
    }
    pull_into(&store, reference, &PullOptions::default(), read)?;
    let lease = store.lease()?;
    let found = in_store(&lease, &name, false, read)?;
    Ok(found.map(|found| located(lease, found)))
}

/// Finds what a bare name means for all platforms: in the store, else in its registry.
pub(super) fn locate_all(reference: &Reference, read: &ReadOptions) -> Result<Located, Error> {
    let name = name_in_store(reference);
    let options = OpenOptions::new().access(Access::Preferred);
    if read.pull != PullPolicy::Always
        && let Ok(store) = read.store.open_until(options, &read.cancel)
    {
        let lease = store.lease()?;
        let mut tagged = store.find(&name)?;
        if let Some(index) = tagged.iter().position(is_index) {
            return Ok(located(lease, tagged.swap_remove(index)));
        }
        match tagged.len() {
            0 => {}
            // What was chosen from an index is not all of it; the registry has the rest.
            _ if read.pull != PullPolicy::Never && tagged.iter().any(|t| t.index.is_some()) => {}
            1 => return Ok(located(lease, tagged.swap_remove(0))),
            _ => return super::joined::index_of(lease, &tagged, &read.limits.image),
        }
    }
    if read.pull == PullPolicy::Never {
        return Err(Error::from(OpenError::NotInStore { name }));
    }
    read.registries
        .locate(reference, &read.limits.image, &read.cancel)
}

fn located(lease: Lease, found: Tagged) -> Located {
    log::info!("{}: {} from the store", found.name, found.descriptor.digest);
    let mut root = found.descriptor;
    root.annotations.clear();
    Located::new(Arc::new(lease), root, vec![found.name])
}
