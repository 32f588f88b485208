//! `copy`, `push` and `tag`.

use std::ffi::OsStr;
use std::num::NonZeroUsize;

use lithify_oci::source::{DaemonImage, Selector, Source};
use lithify_oci::{Located, Reference};
use lithify_registry::PushOptions;
use serde::Serialize;

use super::archive::{DaemonDestination, DockerArchiveDestination, OciArchiveDestination};
use super::plan::Plan;
use super::pull::{name_in_store, open_store};
use super::registry::RegistryDestination;
use super::run::{TransferCounts, Transferred, run};
use super::store::StoreDestination;
use super::{Destination, LayoutDestination};
use crate::error::{OpenError, TransferError};
use crate::name::shown;
use crate::{Error, Image, PullPolicy, ReadOptions};

/// How an image is copied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Copy it for all platforms, not for one.
    pub all_platforms: bool,
    /// Copy what refers to it too: signatures, root hashes, filesystems made of it.
    pub referrers: bool,
    /// Blobs copied at the same time; `None` is 4.
    pub transfers: Option<NonZeroUsize>,
    /// Bytes of one piece of an upload to a registry; `None` uploads blobs in one.
    pub chunk: Option<u64>,
    /// Wait until everything is on the disk. Default true.
    pub durable: bool,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            all_platforms: false,
            referrers: false,
            transfers: None,
            chunk: None,
            durable: true,
        }
    }
}

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopyReport {
    /// Where it was; what is not UTF-8 in it is spelled `\xNN`.
    pub source: String,
    /// Where it is too.
    pub destination: String,
    /// Digest of its manifest or index. One made for an image without depends on where it goes.
    pub digest: String,
    /// Media type of that.
    pub media_type: String,
    /// Digests of the manifests that refer to it and were copied too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<String>,
    /// The reasons why there may be more of them, or why they are not listed where they were put: what a registry does not say
    /// keeps the image from nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers_unlisted: Vec<String>,
    /// What happened to the blobs.
    pub blobs: TransferCounts,
}

/// Copies an image from one place to another, both named as sources are: `docker://NAME`, `oci:DIR:TAG`,
/// `oci-archive:FILE:TAG`, `docker-archive:FILE:NAME`, `docker-daemon:NAME`, `store:NAME`; a bare name is refused as a destination. Manifests stay
/// as they are, byte for byte; an image that has none, as `docker save` writes it, gets one. A docker-archive and a daemon
/// have no place for manifests: they get the config and the layers' tars, which are verified as they are decompressed. A
/// file that is there is replaced when its successor is complete.
///
/// # Errors
/// [`TransferError::NotTransferable`](crate::TransferError::NotTransferable), [`TransferError::TransferDestination`](crate::TransferError::TransferDestination), [`TransferError::OnePlatform`](crate::TransferError::OnePlatform) and [`TransferError::NotArchivable`](crate::TransferError::NotArchivable) for what
/// cannot be copied so, and whatever either side fails with. Nothing has the destination's name before everything is there.
pub fn copy(
    source: impl AsRef<OsStr>,
    destination: impl AsRef<OsStr>,
    options: &CopyOptions,
    read: &ReadOptions,
) -> Result<CopyReport, Error> {
    copy_to(source.as_ref(), destination.as_ref(), options, read).map_err(|e| read.reason(e))
}

fn copy_to(
    source: &OsStr,
    destination: &OsStr,
    options: &CopyOptions,
    read: &ReadOptions,
) -> Result<CopyReport, Error> {
    let parsed = Source::parse(source)?;
    // Who is to get it is known to be able to before anything is read.
    let to = self::destination(destination, Some(&parsed), options, read)?;
    let plan = match options.all_platforms {
        true => {
            let name = &shown(source);
            let located = locate(name, &parsed, read)?;
            Plan::of_all(name, &located, options.referrers, &*to, read)?
        }
        false => {
            let image = Image::open(source, read)?;
            Plan::of_image(&image, options.referrers, &*to, read)?
        }
    };
    let referrers = plan.referrers();
    let (digest, media_type) = match plan.root() {
        Some(root) => (root.digest.to_string(), root.media_type.clone()),
        None => return Err(TransferError::NoManifest.into()),
    };
    let target = Source::parse_destination(destination)?;
    let registries = [&parsed, &target].into_iter().filter_map(|s| match s {
        Source::Docker(reference) => Some(reference),
        _ => None,
    });
    let at_a_time = read
        .registries
        .at_a_time(options.transfers, registries, &read.cancel)?;
    let Transferred { counts, unlisted } = run(plan, to, at_a_time, read)?;
    Ok(CopyReport {
        source: shown(source),
        destination: shown(destination),
        digest,
        media_type,
        referrers,
        referrers_unlisted: unlisted,
        blobs: counts,
    })
}

/// Finds the manifest or index a source names, whatever it is for.
pub(crate) fn locate(name: &str, source: &Source, read: &ReadOptions) -> Result<Located, Error> {
    let limits = &read.limits.image;
    match source {
        Source::Docker(reference) => read.registries.locate(reference, limits, &read.cancel),
        Source::Name(reference) => super::pull::locate_all(reference, read),
        Source::Store(reference) => {
            let read = ReadOptions {
                pull: PullPolicy::Never,
                ..read.clone()
            };
            super::pull::locate_all(reference, &read)
        }
        Source::Rootfs(_) | Source::Tar(_) => Err(Error::from(TransferError::NotTransferable {
            name: name.to_owned(),
        })),
        // It is saved as one.
        Source::DockerDaemon(_) => Err(Error::opening(name, lithify_oci::Error::NoManifest)),
        other => lithify_oci::locate_until(other, limits, &read.cancel)
            .map_err(|e| Error::opening(name, e)),
    }
}

/// Opens the place an image is to go to.
pub(crate) fn destination(
    given: &OsStr,
    source: Option<&Source>,
    options: &CopyOptions,
    read: &ReadOptions,
) -> Result<Box<dyn Destination>, Error> {
    let name = &shown(given);
    let refused = || Error::from(TransferError::TransferDestination { name: name.clone() });
    let tag = |selector: Option<Selector>| match selector {
        Some(Selector::Name(name)) => Ok(Some(name)),
        None => Ok(None),
        Some(_) => Err(refused()),
    };
    Ok(match Source::parse_destination(given)? {
        Source::Docker(reference) => {
            let mut push = PushOptions::default().chunk(options.chunk);
            if let Some(from) = source.and_then(|s| same_registry(s, &reference)) {
                push = push.mount_from(from);
            }
            let repository = read.registries.repository(&reference, &read.cancel)?;
            Box::new(RegistryDestination::new(
                repository,
                reference,
                push,
                &read.limits.image,
            ))
        }
        Source::Oci { path, selector } => Box::new(LayoutDestination::open(
            &path,
            tag(selector)?,
            options.durable,
            &read.limits.image,
            &read.cancel,
        )?),
        Source::OciArchive { path, selector } => Box::new(OciArchiveDestination::create(
            &path,
            tag(selector)?,
            options.durable,
            read.cancel.clone(),
        )?),
        Source::DockerArchive { .. } | Source::DockerDaemon(_) if options.all_platforms => {
            return Err(Error::from(TransferError::OnePlatform {
                name: name.clone(),
            }));
        }
        Source::DockerArchive { path, selector } => {
            let tags = match tag(selector)? {
                Some(tag) => {
                    vec![loaded_name(&tag.parse().map_err(|_| refused())?).ok_or_else(refused)?]
                }
                None => Vec::new(),
            };
            Box::new(DockerArchiveDestination::create(
                &path,
                name,
                tags,
                options.durable,
                read,
            )?)
        }
        Source::DockerDaemon(DaemonImage::Name(reference)) => {
            let tags = vec![loaded_name(&reference).ok_or_else(refused)?];
            Box::new(DaemonDestination::connect(name, tags, read)?)
        }
        // It may have been meant for a file, or for a registry.
        Source::Name(_) => {
            return Err(Error::from(TransferError::BareDestination {
                name: name.clone(),
            }));
        }
        Source::Store(reference) => Box::new(
            StoreDestination::new(
                &open_store(&read.store, &read.cancel)?,
                name_in_store(&reference),
                options.durable,
                read.cancel.clone(),
            )?
            .keeping_signatures(&read.limits.image),
        ),
        _ => return Err(refused()),
    })
}

/// The name an image gets by `docker load`, which takes names with tags only.
fn loaded_name(reference: &Reference) -> Option<String> {
    let full = reference.normalised().with_default_tag();
    full.digest().is_none().then(|| full.to_string())
}

/// The repository of a source in the same registry, but not the same repository.
fn same_registry(source: &Source, destination: &Reference) -> Option<String> {
    let Source::Docker(source) = source else {
        return None;
    };
    let (source, destination) = (source.normalised(), destination.normalised());
    (source.domain() == destination.domain() && source.path() != destination.path())
        .then(|| source.path().to_owned())
}

/// Gives an image of the store one more name. Returns the names as the store knows them.
///
/// # Errors
/// [`OpenError::NotInStore`](crate::OpenError::NotInStore); [`Cause::Store`](crate::Cause::Store).
pub fn tag(
    source: impl AsRef<OsStr>,
    new: impl AsRef<OsStr>,
    read: &ReadOptions,
) -> Result<(String, String), Error> {
    let in_store = |name: &OsStr| match Source::parse(name)? {
        Source::Name(reference) | Source::Store(reference) | Source::Docker(reference) => {
            Ok(name_in_store(&reference))
        }
        _ => Err(Error::from(OpenError::NotInStore { name: shown(name) })),
    };
    let (source, new) = (in_store(source.as_ref())?, in_store(new.as_ref())?);
    let store = open_store(&read.store, &read.cancel)?;
    let found = store.find(&source)?;
    if found.is_empty() {
        return Err(Error::from(OpenError::NotInStore { name: source }));
    }
    for tagged in found {
        store.tag(&new, &tagged.descriptor, tagged.index.as_ref())?;
    }
    Ok((source, new))
}
