//! The directory of a layered build as a filesystem.

mod tree; // its merged tree, and its files
mod verify; // whether it is as it was left

use std::io;
use std::path::Path;

use lithify_tree::{ContentSink, LayerEntries, Merge, Tree};

use super::find::find_file;
use crate::CancelToken;
use crate::Error;
use crate::error::LayerError;
use crate::fs::disk::Extents;
use crate::fs::image::FsImage;
use crate::name::shown_path;
use crate::output::LayersDirectory;
use crate::session::Session;
use crate::session::budgets::Budgets;

pub(crate) use tree::LayeredTree;

impl LayersDirectory {
    /// The merged image, with the layers' images it refers to.
    fn merged(&self, name: &str, cancel: &CancelToken) -> Result<FsImage, Error> {
        let (path, file) = self.open_file(name)?;
        let devices = self.stack().devices.iter();
        let devices = devices.map(|name| Ok(Extents::from(self.open_file(name)?.1)));
        let devices: Result<Vec<Extents>, Error> = devices.collect();
        FsImage::open_with_devices(&path, file.into(), devices?, cancel)
    }

    /// The names and metadata as a tree.
    pub(crate) fn tree(&self, session: &Session) -> Result<Tree, Error> {
        let cancel = &session.cancel;
        let budgets = Budgets::new(session);
        let mut merge = Merge::new().until(cancel);
        let mut apply = |index, image: &FsImage, describes_root| {
            let entries = image.layer_entries(index, describes_root)?;
            take(&budgets, index, &image.path, &entries)?;
            merge.apply(entries).map_err(|source| {
                Error::from(LayerError::Merge {
                    index,
                    name: shown_path(&image.path),
                    source,
                })
            })
        };
        if let Some(name) = &self.stack().fsmeta {
            return self.merged(name, cancel)?.tree();
        }
        for (index, name) in self.stack().overlay.iter().rev().enumerate() {
            let (path, file) = self.open_file(name)?;
            // The topmost directory is the root an overlay shows.
            let is_top = index + 1 == self.stack().overlay.len();
            apply(index, &FsImage::open_any(&path, file, cancel)?, is_top)?;
        }
        Ok(merge.finish())
    }

    /// Copies the data of the file at a path, all symbolic links followed.
    pub(crate) fn copy_file(
        &self,
        path: &[u8],
        sink: &mut impl ContentSink<Error = io::Error>,
        session: &Session,
    ) -> Result<(), Error> {
        let tree = LayeredTree::of(self, session)?;
        let (node, _) = find_file(tree.tree(), path)?;
        tree.copy(node, sink)
    }
}

/// Counts the entries of a layer before they are merged: a description may name one file any number of times.
fn take(budgets: &Budgets, index: usize, path: &Path, entries: &LayerEntries) -> Result<(), Error> {
    budgets.entries.take_layer(entries).map_err(|source| {
        Error::from(LayerError::Budget {
            index,
            name: shown_path(path),
            path: None,
            source,
        })
    })
}
