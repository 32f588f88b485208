//! `-f composefs`: an image in a composefs repository, and a composefs image of its filesystem.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lithify_composefs::repository::{Category, CreateOptions, Publication, Repository, Tally};
use lithify_digest::{Algorithm, Digest};
use lithify_layer::{Decoded, Options};
use lithify_oci::LayerKind;
use lithify_oci::image::LayerDescriptor;
use lithify_oci::manifest::{Descriptor, ImageManifest, media_type};
use lithify_oci::source::Selector;
use lithify_verity::file::FileDigest;

use super::options::{BuildOptions, Output};
use super::result::{BuildResult, Built, artifact, output_path};
use crate::error::{BuildError, ComposefsError, OutputError, RepositoryFault};
use crate::image::{Counting, Image, LayerInput, LayerSummary, Origin, decode, layer_error};
use crate::make::format::Format;
use crate::name::shown_path;
use crate::repository::{
    self, Composed, ComposefsProfile, Documents, Named, ObjectSink, StoredLayer, compose,
    compose_tree, find_image, find_layer, has_layer, parse_place, store_layer,
};
use crate::session::Session;
use crate::session::budgets::Budgets;
use crate::session::parallel;
use crate::{Error, ErrorKind, Event};

/// A repository, and the name an image gets in it.
struct Destination {
    repository: Repository,
    name: Option<String>,
}

pub(super) fn build(
    image: &Image,
    output: &Output,
    options: &BuildOptions,
    session: &Session,
) -> Built {
    let path = output_path(output, Format::Composefs)?;
    let (path, name) = place(path)?;
    if let Some(name) = &name {
        repository::check_new_name(&path, name)?;
    }
    let create = CreateOptions::default();
    let to = Destination {
        repository: repository::create(&path, &create, options.durable, session)?,
        name,
    };
    let made = match tars_of(image) {
        Some(oci) => of_tars(image, oci, &to, options.profile, session),
        None => of_tree(image, &to, options.profile, session),
    };
    let made = made.inspect_err(|_| repository::note_left(&to.repository))?;
    Ok(made.result(&path, &to, options.profile))
}

/// Returns the repository that an output's name says, and the name of the image in it.
pub(super) fn place(output: &Path) -> Result<(PathBuf, Option<String>), Error> {
    let refused = || {
        Error::from(BuildError::RepositoryName {
            output: shown_path(output),
        })
    };
    match parse_place(output.as_os_str())? {
        // A colon with a name behind it and no repository before it.
        (path, _) if path.as_os_str().as_encoded_bytes().starts_with(b":") => Err(refused()),
        (path, None) => Ok((path, None)),
        (path, Some(Selector::Name(name))) => Ok((path, Some(name))),
        _ => Err(refused()),
    }
}

/// Tells of each layer of an image whether it is in a repository; nothing is made.
pub(super) fn there(image: &Image, output: &Path, session: &Session) -> Result<Vec<bool>, Error> {
    let none = || vec![false; image.layer_count()];
    let (path, _) = place(output)?;
    let Some(oci) = tars_of(image) else {
        return Ok(none());
    };
    let repository = match repository::open(&path, session) {
        Ok(repository) => repository,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(none()),
        Err(e) => return Err(e),
    };
    let found = |layer: &LayerDescriptor| has_layer(&repository, &layer.diff_id);
    oci.layers().iter().map(found).collect()
}

/// Returns the image whose layers are tars.
fn tars_of(image: &Image) -> Option<&lithify_oci::Image> {
    let Origin::Oci(oci) = image.origin() else {
        return None;
    };
    let is_tar = |layer: &LayerDescriptor| layer.kind == LayerKind::Tar;
    oci.layers().iter().all(is_tar).then_some(&**oci)
}

/// The images that were made.
struct Made {
    id: FileDigest,
    /// `None` if all of it was there.
    composed: Option<Composed>,
    summaries: Vec<LayerSummary>,
}

impl Made {
    fn result(self, path: &Path, to: &Destination, profile: ComposefsProfile) -> BuildResult {
        let mut artifact = artifact(Format::Composefs, &shown_path(path));
        artifact.image_id = Some(self.id.hex());
        artifact.name.clone_from(&to.name);
        let mut option =
            |name: &str, value: String| artifact.options.insert(name.to_owned(), value);
        option("algorithm", to.repository.algorithm().to_string());
        option("profile", profile.name().to_owned());
        let Tally {
            new,
            new_bytes,
            existing,
            existing_bytes,
            replaced,
            shared_bytes,
            ..
        } = to.repository.tally();
        let mut counts = vec![
            ("objects_new", new),
            ("objects_new_bytes", new_bytes),
            ("objects_existing", existing),
            ("objects_existing_bytes", existing_bytes),
        ];
        if shared_bytes > 0 {
            counts.push(("objects_shared_bytes", shared_bytes));
        }
        if replaced > 0 {
            counts.push(("objects_repaired", replaced));
        }
        if let Some(composed) = &self.composed {
            artifact.size = composed.size;
            counts.push(("inodes", composed.inodes));
            counts.push(("data_bytes", composed.data_bytes));
        }
        let counts = counts.into_iter().map(|(name, n)| (name.to_owned(), n));
        artifact.statistics = counts.collect();
        crate::image::add_dropped(&mut artifact.dropped_xattrs, &self.summaries);
        (artifact, self.summaries).into()
    }
}

/// Brings an image whose layers are tars into a repository.
fn of_tars(
    image: &Image,
    oci: &lithify_oci::Image,
    to: &Destination,
    profile: ComposefsProfile,
    session: &Session,
) -> Result<Made, Error> {
    let repository = &to.repository;
    repository::note_profile(
        repository,
        to.name.as_deref(),
        oci.manifest_digest(),
        profile,
    );
    if let Some(digest) = oci.manifest_digest()
        && let Some(found) = find_image(repository, digest, Some(profile))?
    {
        session.progress.event(Event::Started { layers: 0 });
        if let Some(name) = &to.name {
            Named::Oci(*digest).tag(repository, name)?;
        }
        return Ok(Made {
            id: found.id,
            composed: None,
            summaries: Vec::new(),
        });
    }
    let budgets = Budgets::of_data(session);
    let layers = layers(image, oci, repository, session, &budgets)?;
    let streams: Vec<_> = oci
        .layers()
        .iter()
        .map(|layer| layers[&layer.diff_id].stream)
        .collect();
    let composed = compose(
        repository,
        image.name(),
        &streams,
        profile,
        session,
        &budgets,
    )?;
    let made;
    let documents = match (oci.manifest_digest(), oci.raw_manifest()) {
        (Some(digest), Some(manifest)) => Documents {
            digest: *digest,
            manifest,
            config: oci.raw_config(),
        },
        _ => {
            made = manifest(oci, &layers)?;
            Documents {
                digest: Digest::of(Algorithm::Sha256, &made),
                manifest: &made,
                config: oci.raw_config(),
            }
        }
    };
    let ids: BTreeMap<_, _> = layers.iter().map(|(d, l)| (*d, l.stream.id)).collect();
    repository::publish(
        repository,
        documents,
        &ids,
        Some(&composed),
        to.name.as_deref(),
    )?;
    let summaries = oci.layers().iter().zip(&composed.layers);
    let summaries = summaries.map(|(layer, read)| LayerSummary {
        diff_id: layer.diff_id,
        tar_bytes: layers[&layer.diff_id].size,
        entries: read.entries,
        recorded: None,
        dropped: read.dropped.clone(),
    });
    Ok(Made {
        id: composed.id,
        summaries: summaries.collect(),
        composed: Some(composed),
    })
}

/// Brings the layers of an image into a repository, several at a time, each once; those that are there are left there.
fn layers(
    image: &Image,
    oci: &lithify_oci::Image,
    repository: &Repository,
    session: &Session,
    budgets: &Budgets,
) -> Result<BTreeMap<Digest, StoredLayer>, Error> {
    let mut seen = BTreeSet::new();
    let firsts = oci.layers().iter().enumerate();
    let firsts = firsts.filter(|(_, layer)| seen.insert(layer.diff_id));
    let mut missing: Vec<usize> = firsts.map(|(index, _)| index).collect();
    // The largest first: what is left at the end is short.
    missing.sort_by_key(|&index| std::cmp::Reverse(image.blob_size(index)));
    let layers = Mutex::new(BTreeMap::new());
    parallel::for_each(missing.len(), session.threads(), |at| {
        let diff_id = oci.layers()[missing[at]].diff_id;
        if let Some(found) = find_layer(repository, &diff_id, session, budgets)? {
            let mut layers = layers.lock().unwrap_or_else(PoisonError::into_inner);
            layers.insert(diff_id, found);
        }
        Ok(())
    })?;
    {
        let found = layers.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|&index| !found.contains_key(&oci.layers()[index].diff_id));
    }
    session.progress.event(Event::Started {
        layers: missing.len(),
    });
    parallel::for_each(missing.len(), session.threads(), |at| {
        let index = missing[at];
        let stored = layer(image, index, repository, session, budgets)?;
        let diff_id = oci.layers()[index].diff_id;
        let mut layers = layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(diff_id, stored);
        Ok(())
    })?;
    Ok(layers.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Brings a layer into a repository.
fn layer(
    image: &Image,
    index: usize,
    repository: &Repository,
    session: &Session,
    budgets: &Budgets,
) -> Result<StoredLayer, Error> {
    let name = image.layer_name(index);
    session.progress.event(Event::Layer {
        index,
        name: &name,
        blob_size: image.blob_size(index),
    });
    let LayerInput::Blob(blob, expected, names) = image.open_layer(index, &session.cancel)? else {
        return Err(ComposefsError::NotATar {
            index,
            name,
            hint: "choose its manifest of EROFS images by --platform, and its files are taken",
        }
        .into());
    };
    let options = Options {
        names,
        ..budgets.layer_options(session)
    };
    let failed = |source| layer_error(image, index, source);
    let blob = Counting::new(blob, index, session);
    let mut decoded = Decoded::new(blob, expected, options).map_err(|e| failed(e.into()))?;
    let stored = store_layer(repository, &mut decoded, session, failed)?;
    session.progress.event(Event::LayerDone {
        index,
        tar_bytes: stored.size,
        entries: stored.members,
    });
    Ok(stored)
}

/// Returns the manifest of an image that has none: its layers are tars.
fn manifest(
    oci: &lithify_oci::Image,
    layers: &BTreeMap<Digest, StoredLayer>,
) -> Result<Vec<u8>, Error> {
    let config = oci.raw_config();
    let config = Descriptor::new(
        media_type::OCI_CONFIG,
        Digest::of(Algorithm::Sha256, config),
        config.len() as u64,
    );
    let tar =
        |diff_id: &Digest| Descriptor::new(media_type::OCI_LAYER, *diff_id, layers[diff_id].size);
    let tars = oci.layers().iter().map(|layer| tar(&layer.diff_id));
    let manifest = ImageManifest::new(config, tars.collect());
    Ok(serde_json::to_vec(&manifest).map_err(OutputError::Json)?)
}

/// Makes an image of a tree, or of layers that are no tars, in a repository: of it nothing but the files is kept.
fn of_tree(
    image: &Image,
    to: &Destination,
    profile: ComposefsProfile,
    session: &Session,
) -> Result<Made, Error> {
    let repository = &to.repository;
    let budgets = Budgets::of_data(session);
    let mut sink = ObjectSink::new(repository);
    let decoded = decode(image, &mut sink, session, &budgets, |e| e)?;
    let (merge, summaries) = decoded.merged(image, session)?;
    let contents = sink.into_contents();
    let composed = compose_tree(repository, image.name(), merge, contents, profile, session)?;
    let failed = |fault: RepositoryFault| Error::in_repository(repository.path(), fault);
    let mut publication = Publication::new();
    for id in composed.images.values() {
        publication.image(*id);
    }
    if let Some(name) = &to.name {
        let noted = publication.image_reference(name, &composed.id);
        noted.map_err(|e| failed(e.into()))?;
    }
    let published = repository.publish(&publication);
    published.map_err(|e| failed(e.into()))?;
    if let Some(name) = &to.name {
        repository::take_away(repository, Category::Images, name)?;
    }
    Ok(Made {
        id: composed.id,
        composed: Some(composed),
        summaries,
    })
}
