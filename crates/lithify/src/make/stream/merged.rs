//! An image's merged filesystem, with its data where it can be read in any order.

use std::path::Path;

use lithify_tree::Tree;

use crate::Error;
use crate::Event;
use crate::Image;
use crate::image::LayerSummary;
use crate::image::Spool;
use crate::image::Spooled;
use crate::image::decode;
use crate::output::scratch_file;
use crate::session::Session;
use crate::session::budgets::Budgets;

/// An image's merged filesystem, with its data in a scratch file.
pub(in crate::make) struct Merged {
    pub(in crate::make) tree: Tree,
    pub(in crate::make) summaries: Vec<LayerSummary>,
    pub(super) spooled: Spooled,
    pub(super) budgets: Budgets,
}

impl Merged {
    /// Reads an image. The scratch file is beside `path`.
    pub(in crate::make) fn of(
        image: &Image,
        path: Option<&Path>,
        session: &Session,
    ) -> Result<Self, Error> {
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
