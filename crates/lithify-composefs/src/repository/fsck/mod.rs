//! Checking everything.

mod objects; // read by several threads
mod repair;
mod report;
mod walk; // streams, images and references

use lithify_digest::Digest;

pub use report::{Fault, Finding, FsckReport};

use super::error::EntryError;
use super::handle::Repository;
use super::reach::ImageObjects;

/// The depth of a check. Each has those before it in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Links, splitstreams and images, and that the objects they need are there.
    Structure,
    /// The bytes of all objects.
    #[default]
    Objects,
    /// The bytes of everything that splitstreams are put together to.
    Contents,
}

/// The ways in which is checked.
#[derive(Clone, Debug, Default)]
pub struct FsckOptions {
    /// The depth.
    pub depth: Depth,
    /// Threads that read objects; by default as many as there are processors.
    pub threads: Option<usize>,
    /// Says which digest the whole of a stream has by its name, if its name says one. Short ones
    /// are compared at [`Depth::Objects`] too.
    pub promised: Option<fn(&str) -> Option<Digest>>,
}

impl Repository {
    /// Checks everything, and changes nothing.
    ///
    /// # Errors
    /// [`EntryError`] if the check cannot be made; what is wrong with the repository is in the
    /// report.
    pub fn fsck(
        &self,
        images: &dyn ImageObjects,
        options: &FsckOptions,
    ) -> Result<FsckReport, EntryError> {
        let mut report = FsckReport::default();
        let damaged = match options.depth {
            Depth::Structure => Vec::new(),
            _ => self.check_objects(options, &mut report)?,
        };
        self.check_entries(images, options, damaged, &mut report)?;
        report.findings.sort_by(|a, b| a.at.cmp(&b.at));
        Ok(report)
    }
}
