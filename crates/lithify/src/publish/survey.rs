//! What publishing would send and make, found out without doing it.

use std::collections::HashSet;

use lithify_oci::manifest::Descriptor;

use super::composefs::distinct;
use super::options::PublishForm;
use super::options::PublishOptions;
use super::publisher::{check_there, is_published_too, one, source};
use super::spec::ErofsSpec;
use crate::BuildOptions;
use crate::Error;
use crate::Format;
use crate::Image;
use crate::error::PublishError;
use crate::fs::Filesystem;
use crate::fs::Kind;
use crate::fs::Placement;
use crate::image::layer_ids;
use crate::make::depot::Depot;
use crate::make::layers;
use crate::make::layers::IMAGE;
use crate::make::layers::LayerOptions;
use crate::manifest::base_config;
use crate::session::Session;
use crate::transfer::{
    Look, Nature, PartKind, PartState, Plan, PlanPart, PlanReport, Sort, survey,
};

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
    if images.is_empty() {
        return Err(PublishError::NoImages.into());
    }
    let is_of_layers = options.form == PublishForm::ErofsLayers;
    if !is_of_layers {
        one(images)?;
    }
    let mut originals = Plan::default();
    for image in images {
        let oci = source(image)?;
        if options.only || is_of_layers && !is_published_too(oci) {
            continue;
        }
        match Plan::of_image(image.name(), oci, false, nature, session)? {
            Some(plan) => originals.absorb(plan),
            None => {
                if let (Some(raw), Some(digest), Some(media_type)) =
                    (oci.raw_manifest(), oci.manifest_digest(), oci.media_type())
                {
                    let manifest = Descriptor::new(media_type, *digest, raw.len() as u64);
                    check_there(image, &manifest, look)?;
                    originals.add_document(manifest, raw.to_vec());
                }
            }
        }
    }
    let mut report = survey(&originals, name, destination, look)?;
    // Artifacts belong to it; an index has yet to be made.
    report.digest = report.digest.filter(|_| !is_of_layers);
    let format = match options.form {
        PublishForm::Squashfs => Format::Squashfs,
        PublishForm::ErofsImage => Format::Erofs,
        PublishForm::ErofsLayers => Format::ErofsLayers,
        PublishForm::Composefs => Format::Composefs,
    };
    if !is_of_layers {
        let artifacts = match options.form {
            PublishForm::Composefs => distinct(&options.algorithms).len(),
            _ => 1,
        };
        for _ in 0..artifacts {
            report.add(filesystem(format));
            report.add(PlanPart::new(PartKind::Manifest, PartState::Make));
        }
        return Ok(report);
    }
    let mut seen = HashSet::new();
    let mut forms = 0;
    for image in images {
        if base_config::platform(source(image)?, session).os() != "linux" {
            continue;
        }
        forms += 1;
        for part in erofs_layers(image, look, options, session)? {
            // A layer that images share is made and sent once.
            if part
                .diff_id
                .as_ref()
                .is_none_or(|id| seen.insert(id.clone()))
            {
                report.add(part);
            }
        }
        // Its own, and that of the root hashes.
        for _ in 0..=usize::from(options.verity) {
            report.add(PlanPart::new(PartKind::Manifest, PartState::Make));
        }
    }
    if !options.only || forms > 1 {
        report.add(PlanPart::new(PartKind::Index, PartState::Make));
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
            part.state = match look(Sort::Blob, &blob)? {
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
