//! The merged image over the images of layers.

use std::collections::BTreeMap;

use lithify_cancel::Checked;
use lithify_erofs::{FsmetaError, FsmetaOptions, LayerImage, device_tag, write_fsmeta};
use lithify_store::{Entry, InputKind};
use lithify_verity::Sidecar;
use serde::{Deserialize, Serialize};

use super::layers::{BuiltLayer, IMAGE, LayerOptions};
use crate::Error;
use crate::Image;
use crate::description::Verity;
use crate::error::BuildError;
use crate::fs::verity;
use crate::image::LayerId;
use crate::image::over_budget;
use crate::make::depot;
use crate::make::depot::Depot;
use crate::make::options::BuildOptions;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// What is kept about a merged image besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FsmetaFacts {
    /// Names, the root included, by inodes: several names of one count once.
    pub(crate) inodes: u64,
    /// Names that upper layers removed.
    pub(crate) removed: u64,
    /// Where each layer's image stands when all are one disk, in blocks.
    pub(crate) mapped_blocks: Vec<u32>,
    /// Bytes of the filesystem, without what is appended to it.
    pub(crate) image_size: u64,
    /// Its hash tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verity: Option<Verity>,
}

impl FsmetaFacts {
    pub(crate) fn statistics(&self) -> BTreeMap<String, u64> {
        [("inodes", self.inodes), ("removed", self.removed)]
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect()
    }
}

/// A merged image.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    pub(crate) reused: bool,
    pub(crate) facts: FsmetaFacts,
    pub(crate) entry: Entry,
}

/// Makes or finds the merged image of layers.
pub(crate) fn build(
    image: &Image,
    layers: &[BuiltLayer],
    depot: &Depot,
    layer_options: &LayerOptions,
    options: &BuildOptions,
    session: &Session,
    budgets: &Budgets,
) -> Result<Merged, Error> {
    let ids = layers.iter().map(|layer| layer.id);
    let key = key(&ids.collect::<Vec<_>>(), layer_options, options)?;
    if let Some(found) = found(depot, &key)? {
        return Ok(found);
    }
    let mut locks = depot.lock_all(std::slice::from_ref(&key))?;
    if let Some(found) = found(depot, &key)? {
        return Ok(found);
    }
    let lock = locks.pop().ok_or(Error::cancelled())?;
    let mut images = Vec::with_capacity(layers.len());
    for layer in layers {
        let (_, file) = depot::open_file(&layer.entry, IMAGE)?;
        let tag = device_tag(&layer.entry.file(IMAGE)?.sha256);
        images.push((
            lithify_erofs::Image::open(Checked::new(file, &session.cancel))?,
            layer.facts.describes_root,
            tag,
        ));
    }
    let inputs: Vec<_> = images
        .iter()
        .map(|(image, describes_root, tag)| LayerImage {
            image,
            describes_root: *describes_root,
            tag: *tag,
        })
        .collect();
    let mut fsmeta = FsmetaOptions::default();
    fsmeta.alignment = options.alignment;
    fsmeta.budget = budgets.output_bytes.clone();
    // Merged once more: not what was merged to make the layers.
    fsmeta.entries = Budgets::new(session).entries;
    let pending = depot.store().begin()?;
    let file = pending.create(IMAGE)?;
    let place = pending.path(IMAGE)?;
    let file = Checked::new(file, &session.cancel);
    let (file, report) = write_fsmeta(&inputs, file, &fsmeta).map_err(|error| match error {
        FsmetaError::Budget { layer, source } => over_budget(image, layer, None, source),
        error => Error::fsmeta(error, &place),
    })?;
    let file = file.into_inner();
    let mut facts = FsmetaFacts {
        inodes: u64::from(report.image.compact_inodes) + u64::from(report.image.extended_inodes),
        removed: report.removed,
        mapped_blocks: report.devices.iter().map(|d| d.mapped_block).collect(),
        image_size: report.image.size,
        verity: None,
    };
    if layer_options.verity {
        let report = verity::append(&file, report.image.size, &place, session)?;
        facts.verity = Some(Verity::from(&Sidecar::from(&report)));
    }
    let entry = pending.commit_as(lock, depot::to_facts(&facts))?;
    Ok(Merged {
        reused: false,
        facts,
        entry,
    })
}

/// Returns the key of the merged image of layers.
fn key(
    layers: &[LayerId],
    layer_options: &LayerOptions,
    options: &BuildOptions,
) -> Result<lithify_store::Key, Error> {
    let top = layers.last().map(|id| id.chain_id);
    let top = top.ok_or(BuildError::NoLayers)?;
    let mut named = layer_options.key_options()?;
    named.insert("alignment".to_owned(), options.alignment.to_string());
    // Layers used as they are have other images than the same ones converted, as where nothing said what they were before
    // they were read.
    let as_is = layers.iter().enumerate().filter(|(_, id)| id.as_is);
    let as_is: Vec<_> = as_is.map(|(index, _)| index.to_string()).collect();
    if !as_is.is_empty() {
        named.insert("native".to_owned(), as_is.join(","));
    }
    depot::key(
        InputKind::ChainId,
        top,
        "erofs-fsmeta",
        lithify_erofs::WRITER_VERSION,
        named,
    )
}

/// Finds the merged image of layers, and makes none.
pub(crate) fn look(
    depot: &Depot,
    layers: &[LayerId],
    layer_options: &LayerOptions,
    options: &BuildOptions,
) -> Result<Option<Merged>, Error> {
    found(depot, &key(layers, layer_options, options)?)
}

fn found(depot: &Depot, key: &lithify_store::Key) -> Result<Option<Merged>, Error> {
    let Some(entry) = depot.get(key)? else {
        return Ok(None);
    };
    Ok(Some(Merged {
        reused: true,
        facts: depot::from_facts(&entry)?,
        entry,
    }))
}
