//! Checking a whole image.

use std::collections::HashSet;

use lithify_fskit::read;

use super::{Image, Inode};
use crate::{FileType, ReadAt, ReadError};

/// The result of [`Image::verify`].
pub type Verification = read::Verification<ProblemKind, Counts>;

/// Something wrong with an image.
pub type Problem = read::Problem<ProblemKind>;

/// What only this format counts.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Inodes that nothing names and that the kernel would remove at the next mount.
    pub orphans: u64,
}

/// What can be wrong with an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(ReadError),
}

impl<R: ReadAt> Image<R> {
    /// Checks everything that names lead to.
    ///
    /// # Errors
    /// [`ReadError::Io`] when the source fails. What is wrong with the image is in the result.
    pub fn verify(&self) -> Result<Verification, ReadError> {
        let mut report = Verification::default();
        let mut seen = HashSet::new();
        for found in self.walk() {
            let found = match found {
                Ok(found) => found,
                Err(e @ ReadError::Io { .. }) => return Err(e),
                Err(e) => {
                    report.problem(&[], ProblemKind::Unreadable(e));
                    break;
                }
            };
            report.names += u64::from(!found.path.is_empty());
            if !seen.insert(found.inode.number()) {
                continue;
            }
            report.count(found.inode.file_type());
            match self.look(&found.inode) {
                Ok(()) => {}
                Err(e @ ReadError::Io { .. }) => return Err(e),
                Err(e) => report.problem(&found.path, ProblemKind::Unreadable(e)),
            }
        }
        Ok(report)
    }

    fn look(&self, inode: &Inode) -> Result<(), ReadError> {
        self.xattrs(inode)?;
        match inode.file_type() {
            FileType::File => self.segments(inode).map(drop),
            FileType::Symlink => self.read_link(inode).map(drop),
            _ => Ok(()),
        }
    }
}
