//! The new image: the base's layers, the new one, and what is said of them.

use std::fs::File;
use std::sync::Arc;

use lithify_digest::{Algorithm, Digest};
use lithify_oci::LayerKind;
use lithify_oci::manifest::{Compression, Descriptor, ImageManifest, LayerMediaType, media_type};
use serde_json::{Value, json};

use super::layer::Layer;
use super::options::CommitOptions;
use crate::Error;
use crate::Image;
use crate::error::OutputError;
use crate::image::LayerBlob;
use crate::manifest;
use crate::manifest::base_config;
use crate::manifest::read_back::read_back;
use crate::session::Session;
use crate::session::budgets::Budgets;
use crate::transfer::{FileBlob, Nature, Plan, PlannedBlob, is_left_to_its_vendor};

/// Returns the plan of the new image: the layers of the base, the new one, and what is made of them.
pub(super) fn plan(
    image: &Image,
    base: &Arc<lithify_oci::Image>,
    layer: &Layer,
    file: File,
    nature: Nature,
    options: &CommitOptions,
    session: &Session,
) -> Result<Plan, Error> {
    let budgets = Budgets::new(session);
    let mut layers = Vec::<Descriptor>::new();
    let mut plan = Plan::default();
    for (index, layer) in base.layers().iter().enumerate() {
        // Archives name the same layer as often as the image does.
        let twin = base.layers()[..index].iter().position(|l| {
            layer.digest.is_none() && l.digest.is_none() && l.diff_id == layer.diff_id
        });
        if let Some(twin) = twin {
            layers.push(layers[twin].clone());
            continue;
        }
        let blob = base_layer(image, base, index, session, &budgets)?;
        layers.push(blob.descriptor.clone());
        let is_left = match base.content() {
            Some(content) => is_left_to_its_vendor(
                image.name(),
                content.as_ref(),
                index,
                &blob.descriptor,
                nature.vendor_layers,
            )?,
            None => false,
        };
        match is_left {
            true => plan.foreign += 1,
            false => plan.add(blob),
        }
    }
    let new = Descriptor::new(layer.media_type, layer.digest, layer.size);
    plan.add(PlannedBlob {
        descriptor: new.clone(),
        source: Box::new(FileBlob(file.into())),
    });
    layers.push(new);
    let count = layers.len();
    let config = config(base, &layer.diff_id, options, session)?;
    let config_blob = PlannedBlob::of_bytes(media_type::OCI_CONFIG, config.clone());
    let mut manifest = ImageManifest::new(config_blob.descriptor.clone(), layers);
    plan.add(config_blob);
    if let Some(annotations) = base.annotations() {
        manifest.annotations.clone_from(annotations);
    }
    let manifest = serde_json::to_vec(&manifest).map_err(OutputError::Json)?;
    read_back(&manifest, &config, count, session)?;
    let digest = Digest::of(Algorithm::Sha256, &manifest);
    let mut root = Descriptor::new(media_type::OCI_MANIFEST, digest, manifest.len() as u64);
    root.platform = Some(base_config::platform(base, session));
    plan.add_document(root, manifest);
    Ok(plan)
}

/// Returns a layer of the base image as the new one has it. One that has no SHA-256 gets one.
fn base_layer(
    image: &Image,
    base: &Arc<lithify_oci::Image>,
    index: usize,
    session: &Session,
    budgets: &Budgets,
) -> Result<PlannedBlob, Error> {
    let layer = &base.layers()[index];
    let kind = layer.media_type.as_deref().map(LayerMediaType::of);
    let tar_type = || oci_media_type(layer.compression, layer.foreign);
    let media_type = match kind {
        // An EROFS image that is called a tar, or has no type.
        Some(LayerMediaType::Tar { .. }) | None if layer.kind == LayerKind::Erofs => {
            match layer.compression {
                Some(Compression::None) | None => media_type::EROFS_LAYER.to_owned(),
                Some(Compression::Zstd) => media_type::EROFS_LAYER_ZSTD.to_owned(),
                // There is no type for it, so that its content has to tell.
                _ => tar_type(),
            }
        }
        Some(LayerMediaType::Tar { .. }) | None => tar_type(),
        // What this version does not know stays what it is.
        Some(_) => layer.media_type.clone().unwrap_or_else(tar_type),
    };
    let media_type = media_type.as_str();
    let mut blob = match (layer.digest, layer.size) {
        // Its type is what its content says.
        (None, _) => manifest::blob_of_layer(image, base, index, true, session, budgets)?,
        (Some(digest), Some(size)) if digest.algorithm() == Algorithm::Sha256 => PlannedBlob {
            descriptor: Descriptor::new(media_type, digest, size),
            source: Box::new(LayerBlob::of(image.name(), base, index)),
        },
        (Some(digest), _) => {
            let open = |source| Error::opening(format!("layer {index} of the base image"), source);
            let reader = base.open_layer(index).map_err(open)?.into_reader();
            manifest::sha256_blob(layer, digest, reader, media_type, session)?
        }
    };
    blob.descriptor.annotations.clone_from(&layer.annotations);
    if layer.foreign {
        blob.descriptor.urls.clone_from(&layer.urls);
    }
    Ok(blob)
}

/// The type of a tar layer. One that only its vendor distributes stays one.
fn oci_media_type(compression: Option<Compression>, foreign: bool) -> String {
    let tar = match foreign {
        true => media_type::OCI_FOREIGN_LAYER,
        false => media_type::OCI_LAYER,
    };
    let suffix = match compression {
        Some(Compression::Gzip) => "+gzip",
        Some(Compression::Zstd) => "+zstd",
        _ => "",
    };
    format!("{tar}{suffix}")
}

/// The base image's configuration with one more layer, all else as it stands.
fn config(
    base: &lithify_oci::Image,
    diff_id: &Digest,
    options: &CommitOptions,
    session: &Session,
) -> Result<Vec<u8>, Error> {
    let mut config = base_config::of(base, session)?;
    // As the layers were read, however the base says it: `null`, no key, or in the manifest alone.
    let mut rootfs = match config.remove("rootfs") {
        Some(Value::Object(rootfs)) => rootfs,
        _ => serde_json::Map::new(),
    };
    let below = base.layers().iter().map(|layer| &layer.diff_id);
    let diff_ids: Vec<String> = below.chain([diff_id]).map(Digest::to_string).collect();
    rootfs.insert("type".into(), "layers".into());
    rootfs.insert("diff_ids".into(), json!(diff_ids));
    config.insert("rootfs".into(), Value::Object(rootfs));
    let created = options
        .created
        .clone()
        .map(Value::String)
        .or_else(|| config.get("created").cloned());
    let mut history = serde_json::Map::new();
    if let Some(created) = created {
        history.insert("created".into(), created.clone());
        config.insert("created".into(), created);
    }
    let created_by = options.created_by.as_deref().unwrap_or("lithify commit");
    history.insert("created_by".into(), created_by.into());
    if let Some(comment) = &options.comment {
        history.insert("comment".into(), comment.as_str().into());
    }
    // An image of layers without any history stays without: a history must speak of every layer.
    match config.remove("history") {
        Some(Value::Array(mut entries)) if !entries.is_empty() || base.layers().is_empty() => {
            entries.push(Value::Object(history));
            config.insert("history".into(), Value::Array(entries));
        }
        _ if base.layers().is_empty() => {
            config.insert("history".into(), json!([history]));
        }
        _ => {}
    }
    Ok(serde_json::to_vec(&config).map_err(OutputError::Json)?)
}
