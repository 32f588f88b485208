//! Files of the old image.

use std::collections::BTreeMap;
use std::sync::Arc;

use lithify_storage::ReadAt;
use lithify_tree::TreePath;

use super::error::SourceError;

/// The files of an old image, or some other tree that has them.
pub trait Sources {
    /// Opens a regular file by its path. No symbolic link is followed, in any part of it.
    ///
    /// # Errors
    /// [`SourceError`].
    fn open(&self, path: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError>;
}

impl<T: Sources + ?Sized> Sources for &T {
    fn open(&self, path: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError> {
        (**self).open(path)
    }
}

impl<T: Sources + ?Sized> Sources for Arc<T> {
    fn open(&self, path: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError> {
        (**self).open(path)
    }
}

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub struct Files(BTreeMap<TreePath, Arc<[u8]>>);

impl<const N: usize> From<[(TreePath, Vec<u8>); N]> for Files {
    fn from(files: [(TreePath, Vec<u8>); N]) -> Self {
        files.into_iter().collect()
    }
}

impl FromIterator<(TreePath, Vec<u8>)> for Files {
    fn from_iter<T: IntoIterator<Item = (TreePath, Vec<u8>)>>(files: T) -> Self {
        let files = files.into_iter().map(|(path, data)| (path, data.into()));
        Self(files.collect())
    }
}

impl Sources for Files {
    fn open(&self, path: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError> {
        let data = self.0.get(path).ok_or(SourceError::Missing)?;
        Ok(Box::new(Arc::clone(data)))
    }
}
