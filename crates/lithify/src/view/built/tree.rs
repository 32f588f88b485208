//! The merged tree of a layered build, and its files out of the images of the layers.

use std::path::Path;
use std::sync::OnceLock;

use lithify_tree::{ContentId, ContentSink, Escaped, InodeKind, Merge, MergeError, NodeId, Tree};

use super::take;
use crate::Error;
use crate::error::{ArtifactError, LayerError};
use crate::fs::image::FsImage;
use crate::image::OpenedFile;
use crate::name::shown_path;
use crate::output::LayersDirectory;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// The merged tree of a layered build. The data of its files is read out of the images of its layers.
#[derive(Debug)]
pub(crate) struct LayeredTree {
    tree: Tree,
    /// Bottom first.
    layers: Vec<Layer>,
}

/// A layer's image.
#[derive(Debug)]
struct Layer {
    image: FsImage,
    /// Where the numbers of its contents begin.
    first: u32,
    /// The paths of its files, by the numbers of their contents, once they are needed.
    paths: OnceLock<Vec<Box<[u8]>>>,
}

impl LayeredTree {
    /// Reads all names.
    pub(crate) fn of(directory: &LayersDirectory, session: &Session) -> Result<Self, Error> {
        let cancel = &session.cancel;
        let budgets = Budgets::new(session);
        let mut merge = Merge::new().until(cancel);
        let mut layers = Vec::new();
        let mut first: u32 = 0;
        for (index, name) in directory.stack().overlay.iter().rev().enumerate() {
            let (path, file) = directory.open_file(name)?;
            let image = FsImage::open_any(&path, file, cancel)?;
            let entries = image.layer_entries(index, true)?;
            take(&budgets, index, &path, &entries)?;
            let failed = |source| unmerged(index, &path, source);
            merge.apply_ref(&entries, first).map_err(failed)?;
            layers.push(Layer {
                image,
                first,
                paths: OnceLock::new(),
            });
            let next = first.checked_add(entries.content_count());
            first = next.ok_or_else(|| failed(MergeError::Full))?;
        }
        Ok(Self {
            tree: merge.finish(),
            layers,
        })
    }

    /// Returns the names and metadata.
    pub(crate) const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Opens the file whose content has that number.
    pub(crate) fn open(&self, number: u32) -> Result<OpenedFile<'_>, Error> {
        let (layer, path) = self.find(number)?;
        layer.image.open_file(path)
    }

    /// Copies the data of a file.
    pub(super) fn copy(
        &self,
        node: NodeId,
        sink: &mut impl ContentSink<Error = std::io::Error>,
    ) -> Result<(), Error> {
        let InodeKind::File {
            content: Some(ContentId(number)),
            ..
        } = self.tree.node_inode(node).kind
        else {
            return Ok(());
        };
        let (layer, path) = self.find(number)?;
        let copied = layer
            .image
            .copy_content(path, &mut Vec::new(), sink, Error::scratch);
        copied.map(drop)
    }

    /// Returns the layer that a content is of, and its path there.
    fn find(&self, number: u32) -> Result<(&Layer, &[u8]), Error> {
        let owner = self.layers.partition_point(|layer| layer.first <= number);
        let missing = || ArtifactError::NotInImage {
            path: Escaped(b"").to_string(),
        };
        let layer = owner
            .checked_sub(1)
            .and_then(|owner| self.layers.get(owner));
        let layer = layer.ok_or_else(missing)?;
        let paths = match layer.paths.get() {
            Some(paths) => paths,
            None => {
                let mut paths = Vec::new();
                layer
                    .image
                    .for_each_content(|_, path| paths.push(path.into()))?;
                layer.paths.get_or_init(|| paths)
            }
        };
        let path = paths.get((number - layer.first) as usize);
        Ok((layer, path.ok_or_else(missing)?))
    }
}

fn unmerged(index: usize, path: &Path, source: MergeError) -> Error {
    LayerError::Merge {
        index,
        name: shown_path(path),
        source,
    }
    .into()
}
