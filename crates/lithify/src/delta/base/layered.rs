//! The directory of a layered build.

use std::fmt;

use lithify_delta::apply::{SourceError, Sources};
use lithify_storage::ReadAt;
use lithify_tree::{ContentId, InodeKind, TreePath};

use super::whole;
use crate::Error;
use crate::output::LayersDirectory;
use crate::session::Session;
use crate::view::LayeredTree;

/// The merged files of a layered build, each read out of its layer's image.
pub(super) struct LayeredFiles(LayeredTree);

impl LayeredFiles {
    /// Reads all names.
    pub(super) fn of(layers: &LayersDirectory, session: &Session) -> Result<Self, Error> {
        Ok(Self(LayeredTree::of(layers, session)?))
    }
}

impl fmt::Debug for LayeredFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayeredFiles").finish_non_exhaustive()
    }
}

impl Sources for LayeredFiles {
    fn open(&self, path: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError> {
        let tree = self.0.tree();
        let node = tree.lookup(path).ok_or(SourceError::Missing)?;
        let InodeKind::File { content, .. } = tree.node_inode(node).kind else {
            return Err(SourceError::NotAFile);
        };
        match content {
            Some(ContentId(number)) => whole::read(self.0.open(number).map_err(whole::failed)?),
            None => Ok(Box::new(Vec::new())),
        }
    }
}
