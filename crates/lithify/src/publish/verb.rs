//! `push --as`: filesystems published the way images are.

use std::ffi::OsStr;
use std::path::PathBuf;

use lithify_oci::source::Source;

use super::options::{PublishForm, PublishOptions, PublishReport};
use super::publisher::Publisher;
use super::survey;
use crate::error::PublishError;
use crate::fs::Kind;
use crate::image::reading;
use crate::name::shown;
use crate::place::{self, Writing};
use crate::transfer::{Look, Nature, Plan, PlanReport, Target, run};
use crate::{Error, Image, Session};

/// Publishes an image, opened once for each platform it is wanted for. `destination` is `oci:DIR` or `oci:DIR:TAG`.
///
/// The same images and options give the same digests.
///
/// # Errors
/// [`PublishError::PublishDestination`](crate::PublishError::PublishDestination) and [`PublishError::PublishSource`](crate::PublishError::PublishSource) for what cannot be published so; [`LayerError::Overlay`](crate::LayerError::Overlay) for a
/// layer that cannot be one of an overlay (a character device 0:0); [`PublishError::PublishWhiteouts`](crate::PublishError::PublishWhiteouts);
/// [`SealError::NotCanonical`](crate::SealError::NotCanonical); and what building and
/// writing fails with. Nothing has the destination's name before everything is there.
pub fn publish(
    images: &[Image],
    destination: impl AsRef<OsStr>,
    options: &PublishOptions,
    session: &Session,
) -> Result<PublishReport, Error> {
    let session = &reading(session, options.drop_xattrs);
    publish_to(images, destination.as_ref(), options, session).map_err(|e| session.reason(e))
}

/// Says what [`publish`] would send and make, and what of it is there already. Nothing is written.
///
/// # Errors
/// As [`publish`], as far as it comes.
pub fn plan_publish(
    images: &[Image],
    destination: impl AsRef<OsStr>,
    options: &PublishOptions,
    session: &Session,
) -> Result<PlanReport, Error> {
    let target = target(images, destination.as_ref(), options, session);
    let planned = target.and_then(|(name, target)| {
        let look = target.look()?;
        survey::plan(images, &name, target.nature(), &look, options, session)
    });
    planned.map_err(|e| session.reason(e))
}

/// Checks that the destination can take what is published. Returns its name too.
fn target(
    images: &[Image],
    destination: &OsStr,
    options: &PublishOptions,
    session: &Session,
) -> Result<(String, Box<dyn Target>), Error> {
    let name = shown(destination);
    let writing = Writing {
        source: images.first().map(|image| image.source().clone()),
        chunk: options.chunk,
        durable: options.durable,
        all_platforms: false,
    };
    let target = place::target(destination, &writing, session)?;
    match target.nature().other_layers {
        true => Ok((name, target)),
        false => Err(Error::from(PublishError::PublishDestination { name })),
    }
}

fn publish_to(
    images: &[Image],
    destination: &OsStr,
    options: &PublishOptions,
    session: &Session,
) -> Result<PublishReport, Error> {
    let (_, target) = target(images, destination, options, session)?;
    let to = Source::parse_destination(destination)?;
    let nature = target.nature();
    // What is made on the way goes where it can be written to: into a layout's own directory.
    let beside = target.scratch();
    let look = look(images, &*target)?;
    let destination = target.open()?;
    let (plan, mut report) = plan(images, nature, &look, beside, options, session)?;
    let places = images.iter().map(Image::source).chain([&to]);
    let workers = place::at_a_time(options.transfers, places, nature, session)?;
    if let Some(root) = plan.root() {
        report.digest = root.digest.to_string();
    }
    report.referrers_unlisted = run(plan, destination, workers, session)?.unlisted;
    Ok(report)
}

/// Returns what answers whether the destination has a manifest. It is asked only for images whose blobs are not here.
fn look(images: &[Image], target: &dyn Target) -> Result<Look, Error> {
    let lacks_blobs = |image: &Image| {
        let oci = image.oci();
        oci.is_some_and(|oci| oci.content().is_none() && oci.raw_manifest().is_some())
    };
    match images.iter().any(lacks_blobs) {
        true => target.look(),
        false => Ok(Box::new(|_, _| Ok(false))),
    }
}

/// Makes everything that is to be published. Scratch files go beside `beside`.
fn plan(
    images: &[Image],
    nature: Nature,
    look: &Look,
    beside: PathBuf,
    options: &PublishOptions,
    session: &Session,
) -> Result<(Plan, PublishReport), Error> {
    let mut publisher = Publisher {
        plan: Plan::default(),
        report: PublishReport::default(),
        nature,
        look,
        beside,
        options,
        session,
    };
    match options.form {
        PublishForm::ErofsLayers if options.only => publisher.only(images)?,
        PublishForm::ErofsLayers => publisher.index(images)?,
        PublishForm::ErofsImage => publisher.artifact(images, Kind::Erofs)?,
        PublishForm::Squashfs => publisher.artifact(images, Kind::Squashfs)?,
        PublishForm::Composefs => publisher.composefs(images)?,
    }
    Ok((publisher.plan, publisher.report))
}
