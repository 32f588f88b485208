//! `copy` and `push` of an image as it is.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::num::NonZeroUsize;

use lithify_oci::source::Source;
use serde::Serialize;

use crate::Error;
use crate::Image;
use crate::error::TransferError;
use crate::manifest;
use crate::name::shown;
use crate::place::{self, Writing};
use crate::session::Session;
use crate::transfer::{
    Nature, PartKind, PartState, Plan, PlanPart, PlanReport, Target, TransferCounts, Transferred,
    run, survey,
};

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

impl CopyOptions {
    fn writing(&self, source: Option<Source>) -> Writing {
        Writing {
            source,
            chunk: self.chunk,
            durable: self.durable,
            all_platforms: self.all_platforms,
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
    session: &Session,
) -> Result<CopyReport, Error> {
    copy_to(source.as_ref(), destination.as_ref(), options, session).map_err(|e| session.reason(e))
}

/// Says what [`copy`] would move, and what of it is there already. The source is read as far as its manifests, the destination
/// is asked for what it has; nothing is written.
///
/// # Errors
/// As [`copy`].
pub fn plan_copy(
    source: impl AsRef<OsStr>,
    destination: impl AsRef<OsStr>,
    options: &CopyOptions,
    session: &Session,
) -> Result<PlanReport, Error> {
    let session = &session.for_plan();
    plan_to(source.as_ref(), destination.as_ref(), options, session).map_err(|e| session.reason(e))
}

fn plan_to(
    source: &OsStr,
    destination: &OsStr,
    options: &CopyOptions,
    session: &Session,
) -> Result<PlanReport, Error> {
    let parsed = Source::parse(source)?;
    let target = place::target(destination, &options.writing(Some(parsed.clone())), session)?;
    let nature = target.nature();
    let (name, to) = (&shown(source), &shown(destination));
    if options.all_platforms && !is_tree(&parsed) {
        let located = place::of(name, &parsed)?.locate(name, session)?;
        let plan = Plan::of_all(name, &located, options.referrers, nature, session)?;
        return survey(&plan, name, to, &*target.look()?);
    }
    let image = Image::open_source(name, parsed, session)?;
    let plan = match image.oci() {
        Some(oci) => Plan::of_image(name, oci, options.referrers, nature, session)?,
        None => None,
    };
    let look = target.look()?;
    match plan {
        Some(plan) => survey(&plan, name, to, &*look),
        // Its manifest will be made; the digests are known then.
        None => Ok(plan_made(&image, name, to)),
    }
}

/// Says what copying an image without a manifest would make.
fn plan_made(image: &Image, source: &str, destination: &str) -> PlanReport {
    let mut report = PlanReport::new(source, destination);
    let mut seen = HashSet::new();
    for layer in image.describe().layers {
        // A layer named again is read once.
        if let Some(id) = &layer.diff_id
            && !seen.insert(id.clone())
        {
            continue;
        }
        let mut part = PlanPart::new(PartKind::Layer, PartState::Read);
        part.digest = layer.digest;
        part.diff_id = layer.diff_id;
        part.size = layer.size;
        report.add(part);
    }
    for kind in [PartKind::Config, PartKind::Manifest] {
        report.add(PlanPart::new(kind, PartState::Make));
    }
    report
}

/// Copies an image that was opened, as [`copy`] does for the platform it was opened for. What is made while it is read, such as the
/// target of a delta, is made on the way.
///
/// # Errors
/// As [`copy`].
pub fn copy_image(
    image: &Image,
    destination: impl AsRef<OsStr>,
    options: &CopyOptions,
    session: &Session,
) -> Result<CopyReport, Error> {
    let copied = || {
        let way = Way::to(destination.as_ref(), Some(image.source()), options, session)?;
        let plan = |nature| manifest::plan(image, options.referrers, nature, session);
        way.go(image.name(), image.source(), plan, options, session)
    };
    copied().map_err(|e: Error| session.reason(e))
}

fn copy_to(
    source: &OsStr,
    destination: &OsStr,
    options: &CopyOptions,
    session: &Session,
) -> Result<CopyReport, Error> {
    let parsed = Source::parse(source)?;
    // Who is to get it is known to be able to before anything is read.
    let way = Way::to(destination, Some(&parsed), options, session)?;
    let name = &shown(source);
    let plan = |nature| match options.all_platforms && !is_tree(&parsed) {
        true => {
            let located = place::of(name, &parsed)?.locate(name, session)?;
            Plan::of_all(name, &located, options.referrers, nature, session)
        }
        false => {
            let image = Image::open_source(name, parsed.clone(), session)?;
            manifest::plan(&image, options.referrers, nature, session)
        }
    };
    way.go(name, &parsed, plan, options, session)
}

/// The way to a place that takes an image.
struct Way {
    name: String,
    source: Source,
    target: Box<dyn Target>,
}

impl Way {
    /// Finds the place a name says.
    fn to(
        destination: &OsStr,
        from: Option<&Source>,
        options: &CopyOptions,
        session: &Session,
    ) -> Result<Self, Error> {
        let source = Source::parse_destination(destination)?;
        let name = shown(destination);
        let writing = options.writing(from.cloned());
        let target = place::target_of(&name, &source, &writing, session)?;
        Ok(Self {
            name,
            source,
            target,
        })
    }

    /// Moves what is planned there.
    fn go(
        self,
        name: &str,
        from: &Source,
        plan: impl FnOnce(Nature) -> Result<Plan, Error>,
        options: &CopyOptions,
        session: &Session,
    ) -> Result<CopyReport, Error> {
        let nature = self.target.nature();
        let opened = self.target.open()?;
        let plan = plan(nature)?;
        let referrers = plan.referrers();
        let (digest, media_type) = match plan.root() {
            Some(root) => (root.digest.to_string(), root.media_type.clone()),
            None => return Err(TransferError::NoManifest.into()),
        };
        let places = [from, &self.source];
        let workers = place::at_a_time(options.transfers, places, nature, session)?;
        let Transferred { counts, unlisted } = run(plan, opened, workers, session)?;
        Ok(CopyReport {
            source: name.to_owned(),
            destination: self.name,
            digest,
            media_type,
            referrers,
            referrers_unlisted: unlisted,
            blobs: counts,
        })
    }
}

/// Whether a source is a file tree, which is for no platform but that asked for.
fn is_tree(source: &Source) -> bool {
    matches!(source, Source::Rootfs(_) | Source::Tar(_) | Source::Ext4(_))
}
