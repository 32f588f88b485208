//! Images of filesystems, in a repository.

use std::collections::BTreeMap;

use lithify_composefs::image::Version;
use lithify_composefs::oci;
use lithify_composefs::repository::{ErofsFormat, ObjectError, Repository};
use lithify_composefs::{Contents, Filesystem, Source as _};
use lithify_tree::{InodeKind, Merge};
use lithify_verity::file::FileDigest;

use super::entries::Sparse;
use super::merged::{LayerStream, ReadLayer, merge_streams};
use super::profile::{self, ComposefsProfile};
use crate::Error;
use crate::Event;
use crate::error::ComposefsError;
use crate::repository::dump::{ComposefsImageOptions, not_made, write_image};
use crate::session::Session;
use crate::session::budgets::Budgets;

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
    let reading = (session, budgets);
    let merged = merge_streams(repository, name, layers, profile, Sparse::Stored, reading)?;
    let mut composed = store(repository, name, &merged.filesystem, profile, session)?;
    composed.kept = merged.kept;
    composed.layers = merged.layers;
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
