//! Opening an image of an OCI layout.

use std::sync::Arc;

use super::content::{Content, LayersByDigest, Located, read_manifest};
use super::select::{Candidate, Root, Selection};
use super::{Image, LayerDescriptor, LayerKind, Manifest, OpenOptions};
use crate::blob::{self, BlobName};
use crate::layout::{self, Members};
use crate::manifest::{
    self, Compression, Descriptor, EROFS_UNCOMPRESSED, ImageConfig, ImageManifest, LayerMediaType,
};
use crate::platform::Platform;
use crate::source::Selector;
use crate::{Error, Limits};

pub(super) fn open<T: Members + 'static>(
    layout: Arc<T>,
    selector: Option<&Selector>,
    options: &OpenOptions,
) -> Result<Image, Error> {
    let limits = &options.limits;
    let index = layout::read_index(&*layout, limits)?;
    let mut selection = Selection::new(&*layout, limits);
    let roots = match selector {
        None => selection.images(&index)?,
        Some(_) => selection.roots(&index, selector)?,
    };
    select(selection, layout.clone(), &roots, options)
}

/// Finds the manifest or index a name leads to, for whatever platforms it is.
pub(super) fn locate<T: Members + 'static>(
    layout: Arc<T>,
    selector: Option<&Selector>,
    limits: &Limits,
) -> Result<Located, Error> {
    let index = layout::read_index(&*layout, limits)?;
    let mut selection = Selection::new(&*layout, limits);
    let mut roots = match selector {
        None => selection.images(&index)?,
        Some(_) => selection.roots(&index, selector)?,
    };
    if selector.is_none() && roots.len() > 1 {
        roots = selection.leading_to_images(roots)?;
    }
    match roots.len() {
        0 => Err(Error::Empty),
        1 => {
            let root = roots.swap_remove(0);
            Ok(Located {
                content: layout,
                root: root.descriptor,
                names: root.names.into_iter().collect(),
            })
        }
        _ => Err(super::select::several(&roots)),
    }
}

/// Opens the image a manifest or index is of.
pub(super) fn open_root(
    content: Arc<dyn Content>,
    root: Descriptor,
    names: Vec<String>,
    options: &OpenOptions,
) -> Result<Image, Error> {
    let root = Root {
        descriptor: root,
        names: names.into_iter().collect(),
    };
    let selection = Selection::new(&*content, &options.limits);
    select(selection, content.clone(), &[root], options)
}

/// The image for the platform that is asked for.
fn select(
    mut selection: Selection<'_>,
    content: Arc<dyn Content>,
    roots: &[Root],
    options: &OpenOptions,
) -> Result<Image, Error> {
    let candidates = selection.candidates(roots)?;
    let wanted = options.platform_or_host();
    let chosen = selection.choose(roots, candidates, &wanted, options.prefer)?;
    let names = roots[chosen.root].names.iter().cloned().collect();
    let image = load(content, &mut selection, &chosen, names)?;
    check_platform(&wanted, &image.platform)?;
    Ok(image)
}

/// The config decides what an image is for, whatever an index promised of it.
fn check_platform(wanted: &Platform, found: &Platform) -> Result<(), Error> {
    // Variants are often missing or differently spelled in one of the two places.
    let same = |wanted: &str, found: &str| found.is_empty() || wanted == found;
    if same(wanted.os(), found.os()) && same(wanted.architecture(), found.architecture()) {
        Ok(())
    } else {
        Err(Error::Platform {
            wanted: Box::new(wanted.clone()),
            there: vec![found.clone()],
            absent: 0,
        })
    }
}

/// Reads and checks the manifest and config of the chosen candidate.
fn load(
    content: Arc<dyn Content>,
    selection: &mut Selection<'_>,
    chosen: &Candidate,
    names: Vec<String>,
) -> Result<Image, Error> {
    let limits = selection.limits;
    let descriptor = &chosen.descriptor;
    let name = BlobName::Manifest(Box::new(descriptor.digest));
    let raw = read_manifest(&*content, descriptor, limits)?
        .ok_or_else(|| blob::Error::Missing { name: name.clone() })?;
    let refused = |source| Error::Manifest {
        name: name.clone(),
        source,
    };
    let manifest = ImageManifest::parse(&raw, Some(&descriptor.media_type)).map_err(refused)?;
    manifest.check_image(limits).map_err(refused)?;

    let config_name = BlobName::Config(Box::new(manifest.config.digest));
    let raw_config =
        selection
            .take_config(&manifest.config)?
            .ok_or_else(|| blob::Error::Missing {
                name: config_name.clone(),
            })?;
    let config = manifest.parse_config(&raw_config).map_err(|source| {
        let name = match source {
            manifest::Error::NotAnImage { .. } => name.clone(),
            _ => config_name,
        };
        Error::Manifest { name, source }
    })?;
    let config = with_diff_ids(&manifest, config).map_err(refused)?;
    manifest.check_config(&config).map_err(refused)?;

    let layers = manifest
        .layers
        .iter()
        .zip(&config.diff_ids)
        .map(|(layer, diff_id)| {
            let (kind, compression, foreign) = match LayerMediaType::of(&layer.media_type) {
                LayerMediaType::Tar {
                    compression,
                    foreign,
                } => (LayerKind::Tar, compression, foreign),
                LayerMediaType::Erofs { compression } => (LayerKind::Erofs, compression, false),
                LayerMediaType::ErofsChunkIndex => {
                    (LayerKind::ErofsChunkIndex, Compression::None, false)
                }
                // check_image refuses these.
                LayerMediaType::Encrypted | LayerMediaType::Unknown => {
                    (LayerKind::Tar, Compression::None, false)
                }
            };
            LayerDescriptor {
                digest: Some(layer.digest),
                size: Some(layer.size),
                kind,
                media_type: Some(layer.media_type.clone()),
                compression: Some(compression),
                diff_id: *diff_id,
                foreign,
                urls: layer.urls.clone(),
                annotations: layer.annotations.clone(),
            }
        });
    let places = manifest
        .layers
        .iter()
        .map(|layer| (layer.digest, layer.size));
    let places = places.collect();
    // A digest asked for directly comes without a media type; the document may say its own.
    let media_type = match manifest.media_type {
        Some(own) if descriptor.media_type.is_empty() => own,
        _ if descriptor.media_type.is_empty() => {
            crate::manifest::media_type::OCI_MANIFEST.to_owned()
        }
        _ => descriptor.media_type.clone(),
    };
    Ok(Image {
        names,
        platform: complete(&config, chosen.platform.as_ref()),
        config_digest: manifest.config.digest,
        layers: layers.collect(),
        manifest: Some(Manifest {
            digest: descriptor.digest,
            media_type,
            raw,
            annotations: manifest.annotations,
        }),
        raw_config,
        config,
        content: Some(content.clone()),
        store: Arc::new(LayersByDigest {
            content,
            layers: places,
        }),
    })
}

/// The config with the diff ids of EROFS layers, which their descriptors say too or alone (erofs-image-spec 5.2).
fn with_diff_ids(
    manifest: &ImageManifest,
    mut config: ImageConfig,
) -> Result<ImageConfig, manifest::Error> {
    let mut own = Vec::with_capacity(manifest.layers.len());
    for (index, layer) in manifest.layers.iter().enumerate() {
        let plain = match LayerMediaType::of(&layer.media_type) {
            LayerMediaType::Erofs { compression } => compression == Compression::None,
            LayerMediaType::ErofsChunkIndex => true,
            _ => {
                own.push(None);
                continue;
            }
        };
        let annotated = match layer.annotations.get(EROFS_UNCOMPRESSED) {
            Some(text) => Some(text.parse().map_err(|source| manifest::Error::Digest {
                field: format!("layers[{index}].annotations.{EROFS_UNCOMPRESSED}"),
                source,
            })?),
            None => None,
        };
        let told = annotated.or(plain.then_some(layer.digest));
        // What is said twice must be the same: readers differ in which they take.
        for other in [
            plain.then_some(layer.digest),
            config.diff_ids.get(index).copied(),
        ] {
            if let (Some(told), Some(other)) = (told, other)
                && told.algorithm() == other.algorithm()
                && told != other
            {
                return Err(manifest::Error::DiffIdConflict {
                    index,
                    annotated: told.to_string(),
                    diff_id: other.to_string(),
                });
            }
        }
        own.push(told);
    }
    if config.diff_ids.is_empty()
        && let Some(own) = own.into_iter().collect()
    {
        config.diff_ids = own;
    }
    Ok(config)
}

/// The config's platform, with what only the descriptor says.
fn complete(config: &ImageConfig, listed: Option<&Platform>) -> Platform {
    let own = config.platform();
    let Some(listed) = listed else { return own };
    let or = |own: &str, listed: &str| {
        if own.is_empty() {
            listed.to_owned()
        } else {
            own.to_owned()
        }
    };
    let (os, architecture) = (
        or(own.os(), listed.os()),
        or(own.architecture(), listed.architecture()),
    );
    let same = architecture == listed.architecture();
    // The parsed platform has a default variant; what counts is whether the config states one.
    let variant = match &config.variant {
        Some(_) => own.variant(),
        None if same => listed.variant(),
        None => None,
    };
    let version = own.os_version().or(if os == listed.os() {
        listed.os_version()
    } else {
        None
    });
    let features = if own.os_features().is_empty() {
        listed
    } else {
        &own
    }
    .os_features();
    Platform::new(&os, &architecture, variant)
        .with_os_version(version.unwrap_or(""))
        .with_os_features(features.iter().cloned())
}
