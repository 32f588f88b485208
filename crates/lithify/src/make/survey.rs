//! What a build would do, found out without doing it.

use std::collections::HashSet;

use super::layers;
use super::layers::LayerOptions;
use super::published;
use crate::Error;
use crate::Image;
use crate::fs::Filesystem;
use crate::fs::Kind;
use crate::fs::Placement;
use crate::image::Origin;
use crate::image::layer_ids;
use crate::make::depot::Depot;
use crate::make::options::BuildOptions;
use crate::make::options::Format;
use crate::make::options::Output;
use crate::name::shown_path;
use crate::session::Session;
use crate::transfer::{PartKind, PartState, PlanPart, PlanReport};

/// Says what [`build`](super::build) would read, fetch and make, and what of it is in the store. Nothing is written.
///
/// # Errors
/// Options the format has no use for, and what looking into the store or at artifacts fails with.
pub fn plan_build(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Result<PlanReport, Error> {
    plan(image, output, options, session).map_err(|e| session.reason(e))
}

fn plan(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Result<PlanReport, Error> {
    options.check()?;
    let to = match output {
        Output::Path(path) => shown_path(path),
        Output::Stdout => "-".to_owned(),
    };
    let mut report = PlanReport::new(image.name(), &to);
    let description = image.describe();
    report.digest = description.manifest_digest.clone();
    let kind = match options.format {
        Format::Erofs | Format::ErofsLayers | Format::ContainerdCache => Some(Kind::Erofs),
        Format::Squashfs | Format::SquashfsLayers => Some(Kind::Squashfs),
        Format::Directory | Format::Tar => None,
    };
    let is_flat = matches!(options.format, Format::Erofs | Format::Squashfs);
    if let Some(kind) = kind.filter(|_| is_flat)
        && let Some(part) = published::look(image, kind, options, session)?
    {
        report.add(part);
        return Ok(report);
    }
    let kept = match kind.filter(|_| !is_flat) {
        Some(kind) => kept(image, kind, options, session)?,
        None => vec![false; image.layer_count()],
    };
    let is_remote = match image.origin() {
        Origin::Oci(oci) => oci.content().is_some_and(|content| content.is_remote()),
        Origin::Rootfs(_) | Origin::Tar(_) => false,
    };
    let wanted = match is_remote {
        true => PartState::Move,
        false => PartState::Read,
    };
    let mut seen = HashSet::new();
    for (layer, kept) in description.layers.iter().zip(&kept) {
        // A layer named again is session once.
        if layer.diff_id.as_ref().is_some_and(|id| !seen.insert(id)) {
            continue;
        }
        let state = if *kept { PartState::There } else { wanted };
        let mut part = PlanPart::new(PartKind::Layer, state);
        part.digest.clone_from(&layer.digest);
        part.diff_id.clone_from(&layer.diff_id);
        part.media_type.clone_from(&layer.media_type);
        part.size = layer.size;
        report.add(part);
    }
    let makes_layers = !is_flat && kind.is_some();
    let made = match makes_layers {
        true => kept.iter().filter(|kept| !**kept).count(),
        false => 1,
    };
    for _ in 0..made {
        let mut part = PlanPart::new(PartKind::Filesystem, PartState::Make);
        part.media_type = Some(options.format.name().to_owned());
        report.add(part);
    }
    Ok(report)
}

/// Returns for each layer whether the store has its image.
fn kept(
    image: &Image,
    kind: Kind,
    options: &BuildOptions,
    session: &Session,
) -> Result<Vec<bool>, Error> {
    let none = vec![false; image.layer_count()];
    let layer_options = LayerOptions {
        filesystem: Filesystem::new(kind, Placement::Aligned, options.filesystem())?,
        verity: options.verity,
        durable: options.durable,
    };
    let (Some(ids), Some(depot)) = (
        layer_ids(image, layer_options.takes_as_is()),
        Depot::existing(&session.store, &session.cancel)?,
    ) else {
        return Ok(none);
    };
    let found = layers::find(&depot, &layer_options, &ids)?;
    Ok(found.iter().map(Option::is_some).collect())
}
