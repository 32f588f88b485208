//! A directory of this host.

use std::path::Path;

use lithify_delta::apply::{SourceError, Sources};
use lithify_storage::{Beneath, BeneathError, ReadAt};
use lithify_tree::TreePath;

use crate::Error;

/// A directory. No symbolic link in it is followed.
#[derive(Debug)]
pub(super) struct Directory(Beneath);

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let opened = Beneath::open(path);
        opened.map(Self).map_err(|e| Error::input(path, e))
    }
}

impl Sources for Directory {
    fn open(&self, path: &TreePath) -> Result<Box<dyn ReadAt + Send>, SourceError> {
        let path = std::str::from_utf8(path.as_bytes()).map_err(|_| SourceError::Missing)?;
        match self.0.file(Path::new(path)) {
            Ok(file) => Ok(Box::new(file)),
            Err(e) if e.is_not_found() => Err(SourceError::Missing),
            Err(BeneathError::Io(e)) => Err(e.into()),
            Err(_) => Err(SourceError::NotAFile),
        }
    }
}
