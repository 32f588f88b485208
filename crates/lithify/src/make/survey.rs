//! What a build would do, found out without doing it.

use std::collections::HashSet;

use super::check::check;
use super::composefs;
use super::fsmeta;
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
use crate::make::format::{Format, Shape};
use crate::make::options::BuildOptions;
use crate::make::options::Output;
use crate::name::shown_path;
use crate::session::Session;
use crate::transfer::{PartKind, PartState, PlanPart, PlanReport};

/// Says what [`build`](super::build) would read, fetch and make, and what of it is in the store. Nothing is written.
///
/// # Errors
/// A request that [`build`](super::build) would refuse whatever the image is, and what looking into the store or at artifacts fails with.
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
    check(output, options)?;
    let to = match output {
        Output::Path(path) => shown_path(path),
        Output::Stdout => "-".to_owned(),
    };
    let mut report = PlanReport::new(image.name(), &to);
    let description = image.describe();
    report.digest = description.manifest_digest.clone();
    let kind = options.format.shape().kind();
    let is_flat = matches!(options.format.shape(), Shape::Image(_));
    if let Some(kind) = kind.filter(|_| is_flat)
        && let Some(part) = published::look(image, kind, options, session)?
    {
        report.add(part);
        return Ok(report);
    }
    let Kept { layers, merged } = match (kind.filter(|_| !is_flat), output) {
        (Some(kind), _) => kept(image, kind, options, session)?,
        (None, Output::Path(path)) if options.format == Format::Composefs => Kept {
            layers: composefs::there(image, path, session)?,
            merged: None,
        },
        (None, _) => Kept {
            layers: vec![false; image.layer_count()],
            merged: None,
        },
    };
    let is_remote = match image.origin() {
        Origin::Oci(oci) => oci.content().is_some_and(|content| content.is_remote()),
        Origin::Rootfs(_) | Origin::Tar(_) | Origin::Filesystem(_) => false,
    };
    let wanted = match is_remote {
        true => PartState::Move,
        false => PartState::Read,
    };
    let mut seen = HashSet::new();
    let mut made = 0;
    for (layer, kept) in description.layers.iter().zip(&layers) {
        // A layer named again is read once.
        if layer.diff_id.as_ref().is_some_and(|id| !seen.insert(id)) {
            continue;
        }
        let state = if *kept { PartState::There } else { wanted };
        made += usize::from(!*kept);
        let mut part = PlanPart::new(PartKind::Layer, state);
        part.digest.clone_from(&layer.digest);
        part.diff_id.clone_from(&layer.diff_id);
        part.media_type.clone_from(&layer.media_type);
        part.size = layer.size;
        report.add(part);
    }
    // Else all layers are one.
    if is_flat || kind.is_none() {
        made = 1;
    }
    let filesystem = |state| {
        let mut part = PlanPart::new(PartKind::Filesystem, state);
        part.media_type = Some(options.format.name().to_owned());
        part
    };
    for _ in 0..made {
        report.add(filesystem(PartState::Make));
    }
    if let Some(merged) = merged {
        report.add(filesystem(match merged {
            true => PartState::There,
            false => PartState::Make,
        }));
    }
    Ok(report)
}

/// The things a layered build makes that the store has.
struct Kept {
    /// For each layer, whether its image is there.
    layers: Vec<bool>,
    /// Whether the merged image is there, where there is one.
    merged: Option<bool>,
}

/// Finds out what the store has of a layered build.
fn kept(
    image: &Image,
    kind: Kind,
    options: &BuildOptions,
    session: &Session,
) -> Result<Kept, Error> {
    let placement = match options.format {
        Format::ContainerdCache => Placement::Aligned,
        _ => Placement::Merged,
    };
    let layer_options = LayerOptions {
        filesystem: Filesystem::new(kind, placement, options.filesystem())?,
        verity: options.verity,
        durable: options.durable,
    };
    let count = image.layer_count();
    let has_merged = options.format == Format::ErofsLayers
        && layer_options.filesystem.compression.is_none()
        && count > 0;
    let mut kept = Kept {
        layers: vec![false; count],
        merged: has_merged.then_some(false),
    };
    if let (Some(ids), Some(depot)) = (
        layer_ids(image, layer_options.takes_as_is()),
        Depot::existing(&session.store, &session.cancel)?,
    ) {
        let found = layers::find(&depot, &layer_options, &ids)?;
        kept.layers = found.iter().map(Option::is_some).collect();
        if has_merged {
            let merged = fsmeta::look(&depot, &ids, &layer_options, options)?;
            kept.merged = Some(merged.is_some());
        }
    }
    Ok(kept)
}
