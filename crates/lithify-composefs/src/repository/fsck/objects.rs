//! Reading all objects, on several threads.

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};

use lithify_verity::file::{FileDigest, kernel};

use super::super::entries::is_temporary;
use super::super::error::{EntryError, ObjectError};
use super::super::handle::Repository;
use super::super::names::{OBJECTS, of_directory};
use super::super::objects::DIRECTORIES;
use super::super::threads;
use super::report::{Fault, Finding, FsckReport};
use super::{Depth, FsckOptions};

/// The findings of a thread.
#[derive(Default)]
struct Found {
    objects: u64,
    bytes: u64,
    others: Vec<Finding>,
    damaged: Vec<(FileDigest, Fault)>,
}

impl Repository {
    /// Compares all objects with their names; returns those that are wrong.
    pub(super) fn check_objects(
        &self,
        options: &FsckOptions,
        report: &mut FsckReport,
    ) -> Result<Vec<(FileDigest, Fault)>, EntryError> {
        let threads = options.threads.unwrap_or_else(threads::available);
        let threads = threads.clamp(1, DIRECTORIES);
        let next = AtomicUsize::new(0);
        let work = || -> Result<Found, ObjectError> {
            let mut found = Found::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= DIRECTORIES {
                    return Ok(found);
                }
                self.check_directory(number, options.depth, &mut found)?;
            }
        };
        let all: Result<Vec<Found>, _> = threads::together(threads, work).into_iter().collect();
        let all = all.map_err(|source| EntryError::Object {
            at: OBJECTS.to_owned(),
            source,
        })?;
        let mut damaged = Vec::new();
        for found in all {
            report.objects += found.objects;
            report.bytes += found.bytes;
            report.findings.extend(found.others);
            damaged.extend(found.damaged);
        }
        Ok(damaged)
    }

    fn check_directory(
        &self,
        number: usize,
        depth: Depth,
        found: &mut Found,
    ) -> Result<(), ObjectError> {
        let (objects, others) = self.list_objects(number)?;
        for name in others.iter().filter(|name| !is_temporary(name)) {
            let at = format!(
                "{OBJECTS}/{}/{}",
                of_directory(number),
                name.to_string_lossy()
            );
            found.others.push(Finding::new(at, Fault::NotAnObject));
        }
        for id in objects {
            self.cancel().check()?;
            let file = match self.object_file(&id) {
                Ok(file) => file,
                // Removed meanwhile; who needs it will miss it.
                Err(ObjectError::Missing { .. }) => continue,
                Err(ObjectError::Beneath(e)) => {
                    found.damaged.push((id, Fault::Unreadable(e.into())));
                    continue;
                }
                Err(ObjectError::Io(e)) => {
                    found.damaged.push((id, Fault::Unreadable(e)));
                    continue;
                }
                Err(e) => return Err(e),
            };
            found.objects += 1;
            found.bytes += file.metadata()?.len();
            if let Some(fault) = self.fault_of(&id, &file, depth)? {
                found.damaged.push((id, fault));
            }
        }
        Ok(())
    }

    fn fault_of(
        &self,
        id: &FileDigest,
        file: &File,
        depth: Depth,
    ) -> Result<Option<Fault>, ObjectError> {
        let other = |found: FileDigest| {
            (found != *id).then(|| Fault::Digest {
                found: Box::new(found),
            })
        };
        match kernel::measure(file)? {
            // What is under fs-verity is checked by the kernel whenever it is read.
            Some(found) if depth < Depth::Contents => return Ok(other(found)),
            Some(_) => {}
            None if self.is_secure() => return Ok(Some(Fault::NotUnderVerity)),
            None => {}
        }
        match self.digest_of(file) {
            Ok(found) => Ok(other(found)),
            Err(ObjectError::Io(e)) => Ok(Some(Fault::Unreadable(e))),
            Err(e) => Err(e),
        }
    }
}
