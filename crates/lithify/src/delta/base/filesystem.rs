//! A filesystem in a file.

use std::fmt;

use lithify_delta::apply::{SourceError, Sources};
use lithify_storage::ReadAt;
use lithify_tree::{ContentId, EntryKind, InodeKind, LayerEntries, Merge, Tree, TreePath};

use super::whole;
use crate::Error;
use crate::error::LayerError;
use crate::image::TreeImage;
use crate::name::shown_path;

/// The files of a filesystem.
pub(super) struct FilesystemFiles {
    image: Box<dyn TreeImage>,
    tree: Tree,
    /// Places of the inodes of files, by the numbers of their contents.
    places: Vec<u64>,
}

impl FilesystemFiles {
    /// Reads all names.
    pub(super) fn of(image: Box<dyn TreeImage>) -> Result<Self, Error> {
        let mut layer = LayerEntries::new();
        let mut places: Vec<u64> = Vec::new();
        image.give_entries(&mut |entry, place| {
            let content = match entry.kind {
                // No more than inodes, which entries number in the same way.
                EntryKind::File { .. } => {
                    places.push(place);
                    Some(ContentId(places.len() as u32 - 1))
                }
                _ => None,
            };
            layer
                .push(&entry, content)
                .map_err(LayerError::TooManyNames)?;
            Ok(())
        })?;
        let mut merge = Merge::new();
        merge.apply(layer).map_err(|source| LayerError::Tree {
            name: shown_path(image.path()),
            source,
        })?;
        Ok(Self {
            tree: merge.finish(),
            image,
            places,
        })
    }
}

impl fmt::Debug for FilesystemFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesystemFiles").finish_non_exhaustive()
    }
}

impl Sources for FilesystemFiles {
    fn open(&self, path: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError> {
        let node = self.tree.lookup(path).ok_or(SourceError::Missing)?;
        let InodeKind::File { content, .. } = self.tree.node_inode(node).kind else {
            return Err(SourceError::NotAFile);
        };
        let Some(ContentId(number)) = content else {
            return Ok(Box::new(Vec::new()));
        };
        let place = self.places[number as usize];
        let file = self.image.open_place(place).map_err(whole::failed)?;
        whole::read(file)
    }
}
