//! Listings and files of a stack.

use std::io::Read;

use lithify_erofs::ReadAt;
use lithify_tree::Escaped;

use super::lookup::Node;
use super::part;
use super::stack::{Stack, missing};
use crate::error::ArtifactError;
use crate::session::budgets::Budgets;
use crate::{Error, Listing, Session};

impl<R: ReadAt> Stack<R> {
    /// What is at a path and, so many directories deep, below it. Of a symbolic link that leads nowhere the link itself.
    pub(crate) fn list(
        &self,
        path: &[u8],
        depth: Option<usize>,
        session: &Session,
    ) -> Result<Listing, Error> {
        let mut part = part::Part::new(self, session.limits.names, Budgets::new(session));
        let found = part.resolve(path)?;
        if let Some((at, node)) = &found {
            part.below(at, node, depth)?;
        }
        let listing = Listing::new(part.finish()?);
        if found.is_none() {
            listing.find_itself(path)?;
        }
        Ok(listing)
    }

    /// The file at a path, all symbolic links followed.
    pub(crate) fn open_file(&self, path: &[u8]) -> Result<impl Read + use<'_, R>, Error> {
        // A way has few names.
        let mut part = part::Part::new(self, u32::MAX, Budgets::default());
        match part.resolve(path)? {
            Some((_, Node::Other(layer, inode)))
                if inode.file_type() == lithify_erofs::FileType::File =>
            {
                self.layers[layer].overlay_entry(lithify_tree::TreePath::root(), &inode)?;
                Ok(self.layers[layer].reader(&inode))
            }
            Some(_) => Err(Error::from(ArtifactError::NotAFile {
                path: Escaped(path).to_string(),
            })),
            None => Err(missing(path)),
        }
    }
}
