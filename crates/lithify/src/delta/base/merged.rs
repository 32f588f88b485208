//! The merged layers of an image.

use std::fmt;
use std::io;
use std::sync::Arc;

use lithify_delta::apply::{SourceError, Sources};
use lithify_storage::ReadAt;
use lithify_tree::{ContentId, InodeKind, TreePath};

use crate::image::Merged;

/// The merged layers of an image, with their data in a scratch file.
pub(in crate::delta) struct MergedFiles(Arc<Merged>);

impl MergedFiles {
    pub(in crate::delta) const fn new(merged: Arc<Merged>) -> Self {
        Self(merged)
    }
}

impl fmt::Debug for MergedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergedFiles").finish_non_exhaustive()
    }
}

impl Sources for MergedFiles {
    fn open(&self, path: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError> {
        let tree = &self.0.tree;
        let node = tree.lookup(path).ok_or(SourceError::Missing)?;
        let InodeKind::File { size, content } = tree.node_inode(node).kind else {
            return Err(SourceError::NotAFile);
        };
        let merged = Arc::clone(&self.0);
        Ok(Box::new(MergedFile {
            merged,
            content,
            size,
        }))
    }
}

struct MergedFile {
    merged: Arc<Merged>,
    /// Its content; an empty file has none.
    content: Option<ContentId>,
    size: u64,
}

impl ReadAt for MergedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.content {
            Some(content) => {
                let spooled = &self.merged.spooled;
                spooled.read_exact_at(spooled.content(content), buffer, offset)
            }
            None if buffer.is_empty() => Ok(()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}
