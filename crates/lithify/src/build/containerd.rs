//! `-f containerd-cache`: the images of layers where containerd's EROFS snapshotter looks for them
//! (`layer_content_caches`): `sha256/XX/DIFF_ID.erofs`, with `.dmverity` beside it.

use std::fs::{self, File};
use std::path::Path;

use lithify_store::ExportOptions;

use super::filesystem::{Filesystem, Kind};
use super::layers::{self, IMAGE, LayerOptions};
use super::{BuildOptions, BuildResult, Built, artifact, layered, output_path, verity};
use crate::depot::Depot;
use crate::error::Operation;
use crate::{Error, Event, Format, Image, Output, ReadOptions};

pub(super) fn build(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    read: &ReadOptions,
) -> Built {
    let path = output_path(output, options.format)?;
    let layer_options = LayerOptions {
        filesystem: Filesystem::new(Kind::Erofs, true, options)?,
        verity: options.verity,
        durable: options.durable,
    };
    let make = |directory: &Path| {
        fs::create_dir_all(directory).map_err(|e| Error::output(Operation::Create, directory, e))
    };
    // A cache is added to: what is in it already stays.
    make(path)?;
    let depot = Depot::open(&options.store, path)?;
    let layers = layers::build(image, &depot, &layer_options, read)?;
    read.progress.event(Event::Finishing);
    // containerd looks a layer up by its diff_id only, whatever lies below.
    if let Some(index) = layers.iter().position(|l| !l.shared) {
        return Err(Error::NotShareable {
            index,
            name: image.layer_name(index),
        });
    }
    let mut artifacts = Vec::new();
    for layer in &layers {
        let hex = layer.id.diff_id.hex();
        let directory = path
            .join(layer.id.diff_id.algorithm().name())
            .join(&hex[..2]);
        make(&directory)?;
        let place = directory.join(format!("{hex}.erofs"));
        let export = ExportOptions::new().durable(options.durable);
        layer.entry.export(IMAGE, &place, export)?;
        if let Some(facts) = &layer.facts.verity {
            let sidecar = verity::from_facts(facts)?;
            verity::sidecar(&place, &sidecar, options.durable)?.commit(options.durable)?;
        }
        let file = layer.entry.file(IMAGE)?;
        let mut written = artifact(Format::ContainerdCache, &place.to_string_lossy());
        written.format = "erofs-layer".to_owned();
        written.size = file.size;
        written.sha256 = Some(file.sha256.hex());
        written.options = layer_options.named();
        written.verity.clone_from(&layer.facts.verity);
        written.diff_id = Some(layer.id.diff_id.to_string());
        if !artifacts.contains(&written) {
            artifacts.push(written);
        }
    }
    if options.durable {
        File::open(path)
            .and_then(|d| d.sync_all())
            .map_err(|e| Error::output(Operation::Sync, path, e))?;
    }
    let reused = layers.iter().filter(|l| l.reused).count() as u64;
    Ok(BuildResult {
        artifacts,
        summaries: layered::summaries(&layers),
        stack: None,
        counts: Some((layers.len() as u64 - reused, reused)),
    })
}
