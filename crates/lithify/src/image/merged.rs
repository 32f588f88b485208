//! An image's merged filesystem, with its data where it can be read in any order.

use std::path::Path;

use lithify_tree::Tree;

use super::decode::decode;
use super::opened::Image;
use super::spool::{Spool, Spooled};
use super::summary::LayerSummary;
use crate::Error;
use crate::Event;
use crate::output::scratch_file;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// An image's merged filesystem, with its data in a scratch file.
pub(crate) struct Merged {
    pub(crate) tree: Tree,
    pub(crate) summaries: Vec<LayerSummary>,
    pub(crate) spooled: Spooled,
    pub(crate) budgets: Budgets,
}

impl Merged {
    /// Reads an image. The scratch file is beside `path`.
    pub(crate) fn of(image: &Image, path: Option<&Path>, session: &Session) -> Result<Self, Error> {
        let scratched = |e| match path {
            Some(path) => Error::scratch_beside(path)(e),
            None => Error::scratch(e),
        };
        let mut spool = Spool::new(scratch_file(path).map_err(scratched)?);
        let budgets = Budgets::of_data(session);
        let decoded = decode(image, &mut spool, session, &budgets, scratched)?;
        let (tree, summaries) = decoded.merge(image, session)?;
        let spooled = spool.finish().map_err(scratched)?;
        session.progress.event(Event::Finishing);
        Ok(Self {
            tree,
            summaries,
            spooled,
            budgets,
        })
    }
}
