//! Taking away what is wrong, so that it is made anew.

use super::super::error::GcError;
use super::super::handle::Repository;
use super::super::reach::ImageObjects;
use super::report::Fault;
use super::{FsckOptions, FsckReport};

impl Repository {
    /// Checks everything, and takes away damaged objects and the streams and images that are not
    /// whole without an object, so that the next import makes them anew. References stay: they lead
    /// to the right thing again then.
    ///
    /// # Errors
    /// [`GcError`].
    pub fn repair(
        &mut self,
        images: &dyn ImageObjects,
        options: &FsckOptions,
        is_waiting: bool,
    ) -> Result<FsckReport, GcError> {
        self.check_writable()?;
        self.exclusively(is_waiting, |repository| {
            let mut report = repository.fsck(images, options)?;
            repository.take_away(&mut report)?;
            Ok::<_, GcError>(report)
        })
    }

    fn take_away(&self, report: &mut FsckReport) -> Result<(), GcError> {
        // Links first, so that none leads to nothing if this is killed.
        for finding in &mut report.findings {
            let is_link = match finding.fault {
                Fault::NotALink | Fault::NotAnObject | Fault::Dangling { .. } => continue,
                // A reference that leads to something odd is somebody's.
                Fault::Target { .. } => finding.at.rsplit_once("/refs/").is_none(),
                _ => true,
            };
            if !is_link {
                continue;
            }
            for at in &finding.part_of {
                self.remove_link(at)?;
            }
            finding.is_repaired = true;
        }
        for finding in &report.findings {
            if let (Some(id), true) = (finding.id, finding.is_repaired) {
                self.remove_object(&id)?;
            }
        }
        Ok(())
    }
}
