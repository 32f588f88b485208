//! What publishing would send and make, found out without doing it.

use lithify_oci::manifest::Descriptor;

use super::options::PublishForm;
use super::options::PublishOptions;
use super::publisher::source;
use super::spec::ErofsSpec;
use crate::BuildOptions;
use crate::Error;
use crate::Format;
use crate::Image;
use crate::fs::Filesystem;
use crate::fs::Kind;
use crate::fs::Placement;
use crate::image::layer_ids;
use crate::make::depot::Depot;
use crate::make::layers;
use crate::make::layers::IMAGE;
use crate::make::layers::LayerOptions;
use crate::session::Session;
use crate::transfer::{Look, Nature, PartKind, PartState, Plan, PlanPart, PlanReport, survey};

/// Compares what would be published with what is at its destination, by `look`.
pub(super) fn plan(
    images: &[Image],
    destination: &str,
    nature: Nature,
    look: &Look,
    options: &PublishOptions,
    session: &Session,
) -> Result<PlanReport, Error> {
    let name = images.first().map_or("", |image| image.name());
    let mut report = PlanReport::new(name, destination);
    for image in images {
        let oci = source(image)?;
        if !options.only
            && let Some(plan) = Plan::of_image(image.name(), oci, false, nature, session)?
        {
            for part in survey(&plan, name, destination, look)?.parts {
                report.add(part);
            }
        }
        match options.form {
            PublishForm::ErofsLayers => {
                for part in erofs_layers(image, look, options, session)? {
                    report.add(part);
                }
                let mut manifest = PlanPart::new(PartKind::Manifest, PartState::Make);
                manifest.media_type = Some("erofs".to_owned());
                report.add(manifest);
            }
            PublishForm::ErofsImage => report.add(filesystem(Format::Erofs)),
            PublishForm::Squashfs => report.add(filesystem(Format::Squashfs)),
        }
    }
    Ok(report)
}

/// Returns the EROFS images of an image's layers: those that are in the store, and those that would be made.
fn erofs_layers(
    image: &Image,
    look: &Look,
    options: &PublishOptions,
    session: &Session,
) -> Result<Vec<PlanPart>, Error> {
    let build = BuildOptions {
        format: Format::ErofsLayers,
        compression: options.compression,
        verity: options.verity,
        ..BuildOptions::default()
    };
    let layer_options = LayerOptions {
        filesystem: Filesystem::new(Kind::Erofs, Placement::Aligned, build.filesystem())?,
        verity: options.verity,
        durable: options.durable,
    };
    let Some(ids) = layer_ids(image, layer_options.takes_as_is()) else {
        return Ok(vec![filesystem(Format::ErofsLayers)]);
    };
    let depot = Depot::existing(&session.store, &session.cancel)?;
    let found = match &depot {
        Some(depot) => layers::find(depot, &layer_options, &ids)?,
        None => vec![None; ids.len()],
    };
    let parts = ids.iter().zip(&found).map(|(id, found)| {
        let mut part = filesystem(Format::ErofsLayers);
        part.diff_id = Some(id.diff_id.to_string());
        // What is compressed for the way is made again each time.
        if let Some(layer) = found.as_ref().filter(|_| !options.zstd) {
            let record = layer.entry.file(IMAGE)?;
            let media_type = ErofsSpec::media_type(options.spec, false);
            let blob = Descriptor::new(media_type, record.sha256, record.size);
            part.state = match look(&blob)? {
                true => PartState::There,
                false => PartState::Move,
            };
            part.digest = Some(blob.digest.to_string());
            part.size = Some(blob.size);
        }
        Ok(part)
    });
    parts.collect()
}

/// A filesystem that would be made.
fn filesystem(format: Format) -> PlanPart {
    let mut part = PlanPart::new(PartKind::Filesystem, PartState::Make);
    part.media_type = Some(format.name().to_owned());
    part
}
