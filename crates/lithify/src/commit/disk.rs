//! The changes of a disk: what is other in its filesystem than in the base image.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use lithify_oci::source::Source;
use lithify_tree::{Change, EntryKind, InodeKind, NodeId, Tree, WHITEOUT_PREFIX, changes};

use super::contents::Contents;
use super::layer::{Counts, Layer, LayerWriter};
use super::options::CommitOptions;
use crate::Error;
use crate::Image;
use crate::error::CommitError;
use crate::fs::Kind;
use crate::fs::image::FsImage;
use crate::image::{LOST_AND_FOUND, Origin, SparseRead, TreeImage, copy_data, decode, reading};
use crate::name::shown;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// Bytes copied at once.
const BUFFER: usize = 1 << 20;

/// A tree, and what its files have in them.
struct Compared {
    tree: Tree,
    contents: Contents,
}

impl Compared {
    fn of(image: &Image, session: &Session) -> Result<Self, Error> {
        let mut contents = Contents::default();
        let budgets = Budgets::new(session);
        let decoded = decode(
            image,
            &mut contents,
            session,
            &budgets,
            |never| match never {},
        )?;
        let (tree, _) = decoded.merge(image, session)?;
        Ok(Self { tree, contents })
    }
}

/// Makes the layer of what is other on a disk than in the base image.
pub(super) fn layer(
    path: &Path,
    base: &Image,
    scratch: &File,
    scratched: impl Fn(io::Error) -> Error,
    options: &CommitOptions,
    session: &Session,
) -> Result<Layer, Error> {
    check(options)?;
    // What no filesystem of Linux holds is not on the disk either.
    let mut old = Compared::of(base, &reading(session, true))?;
    let mut filesystem = FsImage::open_volume(path, Kind::Ext4, &session.cancel)?;
    filesystem.store_as_here(&mut old.tree)?;
    filesystem.keeps_lost_and_found = old.tree.child(NodeId::ROOT, LOST_AND_FOUND).is_some();
    let filesystem = Arc::new(filesystem);
    let disk = Image::new(
        &shown(path.as_os_str()),
        Source::Ext4(path.to_path_buf()),
        Origin::Filesystem(Arc::clone(&filesystem) as Arc<dyn TreeImage>),
    );
    let new = Compared::of(&disk, session)?;
    let found = changes(&old.tree, &new.tree, |was, is| {
        old.contents.is_same(was, &new.contents, is)
    });
    let hint = "remove or shorten the file on the disk, or raise the limit tar_bytes";
    let mut writer = LayerWriter::new(scratch, &scratched, options, session, hint)?;
    let mut counts = Counts::default();
    let mut buffer = vec![0; BUFFER];
    let places = places(&filesystem)?;
    for change in found {
        let mut entry = change
            .entry(&old.tree, &new.tree)
            .map_err(CommitError::Path)?;
        if entry.kind != EntryKind::Whiteout
            && let Some(name) = entry.path.as_bytes().rsplit(|&b| b == b'/').next()
            && name.starts_with(WHITEOUT_PREFIX)
        {
            return Err(CommitError::WhiteoutName { path: entry.path }.into());
        }
        if is_socket(&new.tree, change) {
            counts.sockets += 1;
            if old.tree.lookup(&entry.path).is_none() {
                continue;
            }
            // Lest a file of a lower layer appear in its place.
            entry.kind = EntryKind::Whiteout;
        }
        counts.entries += 1;
        counts.whiteouts += u64::from(entry.kind == EntryKind::Whiteout);
        let place = match (&entry.kind, change) {
            (EntryKind::File { .. }, Change::Present { node, .. }) => {
                place(&new.tree, node, &places)
            }
            _ => None,
        };
        let Some(place) = place else {
            writer.entry(&entry)?;
            continue;
        };
        let file = filesystem.open_at(place)?;
        let mut reader: Box<dyn SparseRead> = file.reader;
        entry.kind = EntryKind::File {
            size: file.size,
            segments: file.segments,
        };
        writer.entry(&entry)?;
        let EntryKind::File { size, segments } = &entry.kind else {
            continue;
        };
        copy_data(
            &mut reader,
            *size,
            segments.as_deref(),
            &mut buffer,
            &mut writer,
            |e| Error::input(path, e),
            |e| e,
        )?;
    }
    let mut layer = writer.finish()?;
    layer.counts = counts;
    Ok(layer)
}

/// Finds the places of all files, in the order in which their contents were numbered.
fn places(filesystem: &FsImage) -> Result<Vec<u64>, Error> {
    let mut places = Vec::new();
    filesystem.for_each_placed(|entry, place| {
        if let EntryKind::File { .. } = entry.kind {
            places.push(place);
        }
        Ok(())
    })?;
    Ok(places)
}

/// Returns the place of a file.
fn place(tree: &Tree, node: NodeId, places: &[u64]) -> Option<u64> {
    match tree.node_inode(node).kind {
        InodeKind::File { content, .. } => places.get(content?.0 as usize).copied(),
        _ => None,
    }
}

/// Tells whether a change is a name of a socket, be it the second one.
fn is_socket(tree: &Tree, change: Change) -> bool {
    match change {
        Change::Present { node, .. } => tree.node_inode(node).kind == InodeKind::Socket,
        Change::Removed(_) => false,
    }
}

/// Refuses what only upper directories have a use for.
fn check(options: &CommitOptions) -> Result<(), Error> {
    let unused = [
        ("a view of the overlay", options.view.is_some()),
        (
            "the overlay's attributes",
            options.user_attributes.is_some(),
        ),
        ("fuse-overlayfs", options.fuse_overlayfs.is_some()),
    ];
    match unused.into_iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(CommitError::NoOverlay { option }.into()),
        None => Ok(()),
    }
}
