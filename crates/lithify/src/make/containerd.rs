//! `-f containerd-cache`: the images of layers where containerd's EROFS snapshotter looks for them
//! (`layer_content_caches`): `sha256/XX/DIFF_ID.erofs`, with `.dmverity` beside it.
//!
//! containerd asks for a layer by its diff_id, whatever image it is part of. So only layers that mean the same on any
//! lower layers go there; the others are left out, and containerd converts them itself. A node that runs one image only
//! may have them too, where that was asked for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lithify_storage::open_regular;
use lithify_store::ExportOptions;

use super::layered;
use super::layers::{self, BuiltLayer, IMAGE, LayerOptions};
use crate::Error;
use crate::Event;
use crate::Image;
use crate::description::{Artifact, LeftOut, LeftOutReason};
use crate::error::{BuildError, Operation};
use crate::fs::Filesystem;
use crate::fs::Kind;
use crate::fs::Placement;
use crate::fs::verity;
use crate::make::depot::Depot;
use crate::make::format::Format;
use crate::make::options::BuildOptions;
use crate::make::options::Output;
use crate::make::result::BuildResult;
use crate::make::result::Built;
use crate::make::result::artifact;
use crate::make::result::file_sha256;
use crate::make::result::output_path;
use crate::name::shown_path;
use crate::session::Session;
use crate::session::budgets::Budgets;
use lithify_storage::temporary::remove_left;

pub(super) fn build(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Built {
    let path = output_path(output, options.format)?;
    let layer_options = LayerOptions {
        filesystem: Filesystem::new(Kind::Erofs, Placement::Aligned, options.filesystem())?,
        verity: options.verity,
        durable: options.durable,
    };
    // A cache is added to: what is in it already stays.
    let _empty = (!path.exists()).then(|| EmptyDirectory(path));
    make_directory(path)?;
    let depot = Depot::open(&session.store, path, &session.cancel)?;
    let layers = layers::build(
        image,
        &depot,
        &layer_options,
        session,
        &Budgets::new(session),
    )?;
    session.progress.event(Event::Finishing);
    layered::remember(image, &depot, &layers, std::iter::empty(), options)?;
    let mut left_out = Vec::new();
    let mut taken = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        match reason_against(&layers, layer, options.one_image) {
            Some(reason) => left_out.push(LeftOut {
                layer: index as u64,
                diff_id: layer.id.diff_id.to_string(),
                chain_id: layer.id.chain_id.to_string(),
                reason,
                found: found(&place(path, layer)),
            }),
            None => {
                let place = place(path, layer);
                if !layer.shared && differs(&place, layer, session)? {
                    return Err(Error::from(BuildError::CacheConflict {
                        index,
                        name: image.layer_name(index),
                        path: place,
                    }));
                }
                verity::check_beside(&place)?;
                taken.push((layer, place));
            }
        }
    }
    let mut artifacts = Vec::new();
    for (layer, place) in taken {
        let written = put(layer, &place, &layer_options)?;
        if !artifacts.contains(&written) {
            artifacts.push(written);
        }
    }
    if options.durable {
        sync(path)?;
    }
    let reused = layers.iter().filter(|l| l.reused).count() as u64;
    Ok(BuildResult {
        artifacts,
        summaries: layered::summaries(&layers),
        stack: None,
        counts: Some((layers.len() as u64 - reused, reused)),
        left_out,
    })
}

/// The reason a layer must not be in the cache, if there is one.
fn reason_against(
    layers: &[BuiltLayer],
    layer: &BuiltLayer,
    one_image: bool,
) -> Option<LeftOutReason> {
    let mut same = layers
        .iter()
        .filter(|other| other.id.diff_id == layer.id.diff_id);
    if layer.shared || same.clone().any(|other| other.shared) {
        return None;
    }
    if !one_image {
        return Some(LeftOutReason::DependsOnLowerLayers);
    }
    same.any(|other| other.entry.id() != layer.entry.id())
        .then_some(LeftOutReason::DiffersInThisImage)
}

/// Where containerd looks for a layer.
fn place(cache: &Path, layer: &BuiltLayer) -> PathBuf {
    let hex = layer.id.diff_id.hex();
    cache
        .join(layer.id.diff_id.algorithm().name())
        .join(&hex[..2])
        .join(format!("{hex}.erofs"))
}

/// Puts a layer's image, and its root hash, where containerd looks for them.
fn put(layer: &BuiltLayer, place: &Path, options: &LayerOptions) -> Result<Artifact, Error> {
    if let Some(directory) = place.parent() {
        make_directory(directory)?;
        remove_left(directory);
    }
    let durable = options.durable;
    let export = || -> Result<(), Error> {
        let export = ExportOptions::new().durable(durable);
        layer.entry.export(IMAGE, place, export)?;
        Ok(())
    };
    let sidecar = match &layer.facts.verity {
        Some(facts) => {
            let facts = verity::from_facts(facts)?;
            Some(verity::sidecar(place, &facts, durable)?)
        }
        None => None,
    };
    verity::commit_with(place, sidecar, durable, export)?;
    let file = layer.entry.file(IMAGE)?;
    let mut written = artifact(Format::ContainerdCache, &shown_path(place));
    written.format = "erofs-layer".to_owned();
    written.size = file.size;
    written.sha256 = Some(file.sha256.hex());
    written.options = options.named();
    written.verity.clone_from(&layer.facts.verity);
    written.chain_id = (!layer.shared).then(|| layer.id.chain_id.to_string());
    written.diff_id = Some(layer.id.diff_id.to_string());
    written
        .dropped_xattrs
        .clone_from(&layer.facts.dropped_xattrs);
    Ok(written)
}

fn make_directory(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(|e| Error::output(Operation::Create, directory, e))
}

fn sync(directory: &Path) -> Result<(), Error> {
    File::open(directory)
        .and_then(|d| d.sync_all())
        .map_err(|e| Error::output(Operation::Sync, directory, e))
}

/// The path of an image that is there already.
fn found(place: &Path) -> Option<String> {
    let there = fs::symlink_metadata(place).is_ok();
    there.then(|| shown_path(place))
}

/// A directory that goes if nothing comes into it.
struct EmptyDirectory<'a>(&'a Path);

impl Drop for EmptyDirectory<'_> {
    fn drop(&mut self) {
        // One that is not empty stays.
        fs::remove_dir(self.0).ok();
    }
}

/// Whether a file is there with other bytes than the layer's image.
fn differs(path: &Path, layer: &BuiltLayer, session: &Session) -> Result<bool, Error> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(e) if e.is_not_found() => return Ok(false),
        Err(e) => return Err(Error::input(path, e.into())),
    };
    Ok(file_sha256(path, &file, &session.cancel)? != layer.entry.file(IMAGE)?.sha256.hex())
}
