//! `-f containerd-cache`: the images of layers where containerd's EROFS snapshotter looks for them
//! (`layer_content_caches`): `sha256/XX/DIFF_ID.erofs`, with `.dmverity` beside it.

use std::fs::{self, File};
use std::path::Path;

use lithify_store::ExportOptions;

use super::filesystem::{Filesystem, Kind};
use super::layers::{self, IMAGE, LayerOptions};
use super::{
    BuildOptions, BuildResult, Built, artifact, file_sha256, layered, output_path, verity,
};
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
    layered::remember(image, &depot, &layers, std::iter::empty(), options)?;
    let mut artifacts = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let hex = layer.id.diff_id.hex();
        let directory = path
            .join(layer.id.diff_id.algorithm().name())
            .join(&hex[..2]);
        make(&directory)?;
        let place = directory.join(format!("{hex}.erofs"));
        // containerd looks a layer up by its diff_id only, whatever lies below: one that depends on that must not take
        // the place of another.
        if !layer.shared && differs(&place, layer)? {
            return Err(Error::CacheConflict {
                index,
                name: image.layer_name(index),
                path: place,
            });
        }
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
        written.chain_id = (!layer.shared).then(|| layer.id.chain_id.to_string());
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

/// Whether a file is there with other bytes than the layer's image.
fn differs(path: &Path, layer: &layers::BuiltLayer) -> Result<bool, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::input(path, e)),
    };
    Ok(file_sha256(path, &file)? != layer.entry.file(IMAGE)?.sha256.hex())
}
