//! Images of filesystems, in a repository.

use std::collections::{BTreeMap, HashMap};

use lithify_composefs::image::Version;
use lithify_composefs::oci;
use lithify_composefs::repository::{ErofsFormat, ObjectError, Repository};
use lithify_composefs::splitstream::ContentType;
use lithify_composefs::{Contents, Filesystem, Source as _};
use lithify_digest::Digest;
use lithify_tree::{InodeKind, LayerEntries, Merge};
use lithify_verity::file::FileDigest;

use super::entries::{Found, LayerName, read_entries};
use super::profile::{self, ComposefsProfile};
use crate::Error;
use crate::Event;
use crate::error::ComposefsError;
use crate::image::{Dropped, budget_error, unmerged};
use crate::repository::dump::{ComposefsImageOptions, not_made, write_image};
use crate::session::Session;
use crate::session::budgets::Budgets;

/// A layer in a repository.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerStream {
    /// The diff_id.
    pub(crate) diff_id: Digest,
    /// The object that its stream is.
    pub(crate) id: FileDigest,
    /// Set if it was there before.
    pub(crate) is_found: bool,
}

/// Images made of a filesystem.
#[derive(Clone, Debug)]
pub(crate) struct Composed {
    /// By the names by which a configuration's stream needs them.
    pub(crate) images: BTreeMap<String, FileDigest>,
    /// The one of the repository's own format.
    pub(crate) id: FileDigest,
    /// Its bytes.
    pub(crate) size: u64,
    /// Objects they need that no layer's stream has.
    pub(crate) kept: Vec<FileDigest>,
    /// Inodes in it.
    pub(crate) inodes: u64,
    /// Bytes of all regular files, each inode once.
    pub(crate) data_bytes: u64,
    /// The findings about each layer.
    pub(crate) layers: Vec<ReadLayer>,
}

/// The findings of reading a layer.
#[derive(Clone, Debug)]
pub(crate) struct ReadLayer {
    pub(crate) entries: u64,
    /// Attributes that were left out because Linux cannot hold them, by name.
    pub(crate) dropped: Dropped,
}

/// Makes the images of the filesystem that layers make.
pub(crate) fn compose(
    repository: &Repository,
    name: &str,
    layers: &[LayerStream],
    profile: ComposefsProfile,
    session: &Session,
    budgets: &Budgets,
) -> Result<Composed, Error> {
    session.progress.event(Event::Finishing);
    let mut found = Found::default();
    let mut merge = Merge::new()
        .limit_names(session.limits.names)
        .limit_memory(session.limits.total.memory_bytes)
        .until(&session.cancel);
    let mut read: HashMap<FileDigest, LayerEntries> = HashMap::new();
    let mut summaries = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let name = layer.diff_id.to_string();
        let failed = |source| unmerged(index, &name, source);
        if let Some(entries) = read.get(&layer.id) {
            let counted = budgets.entries.take_layer(entries);
            counted.map_err(|e| budget_error(index, &name, None, e))?;
            merge.apply_ref(entries, 0).map_err(failed)?;
            summaries.push(ReadLayer {
                entries: entries.len() as u64,
                dropped: Dropped::new(),
            });
            continue;
        }
        if layer.is_found {
            let checked = repository.check_object(&layer.id);
            checked.map_err(|e| Error::in_repository(repository.path(), e))?;
        }
        let stream = repository.open_stream_by_id(&layer.id, ContentType::LAYER);
        let stream = stream.map_err(|e| Error::in_repository(repository.path(), e))?;
        let position = LayerName {
            index,
            name: &name,
            is_found: layer.is_found,
        };
        let (entries, dropped) =
            read_entries(repository, stream, position, &mut found, session, budgets)?;
        summaries.push(ReadLayer {
            entries: entries.len() as u64,
            dropped,
        });
        merge.apply_ref(&entries, 0).map_err(failed)?;
        // Only a layer that comes again is needed again.
        if layers[index + 1..].iter().any(|other| other.id == layer.id) {
            read.insert(layer.id, entries);
        }
    }
    drop(read);
    let tree = profile::finish(merge, profile, name)?;
    let filesystem = Filesystem::new(tree, found.contents);
    let mut composed = store(repository, name, &filesystem, profile, session)?;
    composed.kept = found.kept;
    composed.layers = summaries;
    Ok(composed)
}

/// Makes the images of a tree.
pub(crate) fn compose_tree(
    repository: &Repository,
    name: &str,
    merge: Merge,
    contents: Contents,
    profile: ComposefsProfile,
    session: &Session,
) -> Result<Composed, Error> {
    session.progress.event(Event::Finishing);
    let tree = profile::finish(merge, profile, name)?;
    store(
        repository,
        name,
        &Filesystem::new(tree, contents),
        profile,
        session,
    )
}

/// Stores the images of a filesystem, one for each format of the repository that is written.
fn store(
    repository: &Repository,
    name: &str,
    filesystem: &Filesystem,
    profile: ComposefsProfile,
    session: &Session,
) -> Result<Composed, Error> {
    let mut images = BTreeMap::new();
    let mut first = None;
    for format in repository.metadata().formats() {
        let version = match format {
            ErofsFormat::V0 => Version::V0,
            ErofsFormat::V1 => Version::V1,
            // Older releases of composefs-rs alone write it.
            ErofsFormat::V2 => continue,
        };
        let (id, size) = write(repository, name, filesystem, version, session)?;
        first.get_or_insert((id, size));
        images
            .entry(oci::image_name(format).to_owned())
            .or_insert(id);
        let by_profile = oci::profile_name(format, profile.name());
        images.entry(by_profile).or_insert(id);
    }
    let Some((id, size)) = first else {
        return Err(ComposefsError::Format {
            path: repository.path().to_path_buf(),
            found: ErofsFormat::V2.number(),
        }
        .into());
    };
    let tree = filesystem.tree();
    let size_of = |id| match tree.inode(id).kind {
        InodeKind::File { size, .. } => size,
        _ => 0,
    };
    Ok(Composed {
        images,
        id,
        size,
        kept: Vec::new(),
        inodes: tree.inode_count() as u64,
        data_bytes: tree.inode_ids().map(size_of).sum(),
        layers: Vec::new(),
    })
}

/// Stores the image of a version as an object; returns its id and size.
fn write(
    repository: &Repository,
    name: &str,
    filesystem: &Filesystem,
    version: Version,
    session: &Session,
) -> Result<(FileDigest, u64), Error> {
    let failed = |e: ObjectError| Error::in_repository(repository.path(), e);
    let options = ComposefsImageOptions {
        version,
        algorithm: repository.algorithm(),
        ..ComposefsImageOptions::default()
    };
    let mut object = repository.write_object().map_err(failed)?;
    let written = write_image(filesystem, &options, &mut object, &session.cancel);
    written.map_err(|e| not_made(name, e))?;
    let stored = object.finish().map_err(failed)?;
    Ok((stored.id, stored.size))
}
