//! Removing what nobody needs.

use std::io;

use lithify_storage::{Beneath, Listed};
use lithify_verity::file::FileDigest;
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::entries::is_temporary;
use super::error::{EntryError, GcError, ObjectError};
use super::handle::Repository;
use super::lock::Unlocked;
use super::names::{Category, OBJECTS, REFS, of_directory, of_object};
use super::needs::Needs;
use super::objects::DIRECTORIES;
use super::reach::ImageObjects;

/// The ways in which is collected.
#[derive(Clone, Debug, Default)]
pub struct GcOptions {
    /// Names of streams and images that are kept too, as if there were references to them.
    pub roots: Vec<String>,
    /// Removes nothing, and says what would be.
    pub is_dry_run: bool,
    /// Waits until nobody else has the repository open, instead of failing.
    pub is_waiting: bool,
}

/// The things that were removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Objects removed.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Objects kept.
    pub kept: u64,
    /// Streams and images removed, such as `streams/NAME`.
    pub entries: Vec<String>,
    /// References removed since they led to nothing, such as `streams/refs/NAME`.
    pub references: Vec<String>,
    /// Files removed that processes left which were killed.
    pub temporary: u64,
    /// Files among the objects that are none, and stay.
    pub others: Vec<String>,
    /// Set if others had the repository open while it was looked at: what they are writing has no name yet, and is counted
    /// as if nobody needed it. Only of one that removes nothing.
    pub is_in_use: bool,
}

impl From<Unlocked> for GcError {
    fn from(unlocked: Unlocked) -> Self {
        match unlocked {
            Unlocked::InUse => Self::InUse,
            Unlocked::Cancelled(e) => Self::Cancelled(e),
            Unlocked::Io(source) => Self::Io {
                at: String::from("."),
                source,
            },
        }
    }
}

impl From<ObjectError> for GcError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Cancelled(e) => Self::Cancelled(e),
            ObjectError::ReadOnly(e) => Self::ReadOnly(e),
            source => Self::Entry(EntryError::Object {
                at: OBJECTS.to_owned(),
                source,
            }),
        }
    }
}

impl Repository {
    /// Removes objects, streams and images that no reference needs, directly or through others.
    ///
    /// Links go first, then what they led to, so that a collection which is killed leaves no link
    /// to nothing. If it cannot be known what something needs, nothing is removed.
    ///
    /// # Errors
    /// [`GcError`].
    pub fn gc(
        &mut self,
        images: &dyn ImageObjects,
        options: &GcOptions,
    ) -> Result<GcReport, GcError> {
        if options.is_dry_run {
            let is_in_use = match self.exclusively(false, |_| Ok(())) {
                Err(GcError::InUse) => true,
                free => free.map(|()| false)?,
            };
            let mut report = self.collect(images, options)?;
            report.is_in_use = is_in_use;
            return Ok(report);
        }
        self.check_writable()?;
        self.exclusively(options.is_waiting, |repository| {
            repository.collect(images, options)
        })
    }

    fn collect(&self, images: &dyn ImageObjects, options: &GcOptions) -> Result<GcReport, GcError> {
        let mut needs = Needs::new(self, images)?;
        let mut report = GcReport::default();
        for category in Category::ALL {
            for reference in self.references(category, None)? {
                let at = category.reference_at(&reference.name);
                match needs.add(category, &reference.entry, &at)? {
                    true => {}
                    false => report.references.push(at),
                }
            }
        }
        for root in &options.roots {
            let mut is_there = false;
            for category in Category::ALL {
                is_there |= needs.add(category, root, &category.at(root))?;
            }
            if !is_there {
                return Err(GcError::Root { name: root.clone() });
            }
        }
        report.entries = needs.others().collect();
        if !options.is_dry_run {
            for at in report.references.iter().chain(&report.entries) {
                self.remove_link(at)?;
            }
        }
        self.remove_objects(&needs, options, &mut report)?;
        if !options.is_dry_run {
            self.remove_temporary(&mut report)?;
        }
        Ok(report)
    }

    fn remove_objects(
        &self,
        needs: &Needs<'_>,
        options: &GcOptions,
        report: &mut GcReport,
    ) -> Result<(), GcError> {
        for number in 0..DIRECTORIES {
            self.cancel().check()?;
            let (objects, others) = self.list_objects(number)?;
            for id in objects {
                if needs.has(&id) {
                    report.kept += 1;
                    continue;
                }
                // Something else than a file may have the name; it is nothing anybody needs.
                let size = self.object_size(&id).ok().flatten();
                if !options.is_dry_run && !self.remove_object(&id)? {
                    continue;
                }
                report.objects += 1;
                report.bytes += size.unwrap_or(0);
            }
            let others = others.into_iter().filter(|name| !is_temporary(name));
            let at = |name: std::ffi::OsString| {
                format!(
                    "{OBJECTS}/{}/{}",
                    of_directory(number),
                    name.to_string_lossy()
                )
            };
            report.others.extend(others.map(at));
        }
        Ok(())
    }

    /// Removes an object; says whether it was there and could be.
    pub(super) fn remove_object(&self, id: &FileDigest) -> Result<bool, ObjectError> {
        let (number, name) = of_object(id);
        let Some(directory) = self.objects.existing(self.root(), number)? else {
            return Ok(false);
        };
        match unlinkat(directory.handle(), &name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::ISDIR) => Ok(false),
            Err(e) => Err(io::Error::from(e).into()),
        }
    }

    /// Removes what processes that are gone left under temporary names: nobody else is writing now.
    fn remove_temporary(&self, report: &mut GcReport) -> Result<(), GcError> {
        let mut places = vec![String::from(OBJECTS)];
        places.extend((0..DIRECTORIES).map(|n| format!("{OBJECTS}/{}", of_directory(n))));
        for category in Category::ALL {
            places.push(category.directory().to_owned());
            self.add_directories(&format!("{}/{REFS}", category.directory()), &mut places)?;
        }
        remove_temporary_in(self.root(), ".", report)?;
        for place in &places {
            if let Some(directory) = self.directory_at(place)? {
                remove_temporary_in(&directory, place, report)?;
            }
        }
        self.remove_empty(&places)
    }

    /// Removes directories of references in which none is left: another reference may have such a name.
    fn remove_empty(&self, places: &[String]) -> Result<(), GcError> {
        // Those inside others come behind them.
        for place in places.iter().rev() {
            let Some((above, name)) = place.rsplit_once('/') else {
                continue;
            };
            if !above.ends_with(REFS) && !above.contains("/refs/") {
                continue;
            }
            let Some(above) = self.directory_at(above)? else {
                continue;
            };
            match unlinkat(above.handle(), name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(e) => {
                    return Err(GcError::Io {
                        at: place.clone(),
                        source: e.into(),
                    });
                }
            }
        }
        Ok(())
    }

    fn add_directories(&self, top: &str, places: &mut Vec<String>) -> Result<(), GcError> {
        let mut waiting = vec![top.to_owned()];
        while let Some(path) = waiting.pop() {
            let Some(directory) = self.directory_at(&path)? else {
                continue;
            };
            for (name, listed) in list(&directory, &path)? {
                if let (Listed::Directory, Some(name)) = (listed, name.to_str()) {
                    waiting.push(format!("{path}/{name}"));
                }
            }
            places.push(path);
        }
        Ok(())
    }
}

fn list(directory: &Beneath, at: &str) -> Result<Vec<(std::ffi::OsString, Listed)>, GcError> {
    directory.list().map_err(|source| GcError::Io {
        at: at.to_owned(),
        source,
    })
}

fn remove_temporary_in(
    directory: &Beneath,
    at: &str,
    report: &mut GcReport,
) -> Result<(), GcError> {
    for (name, listed) in list(directory, at)? {
        if listed == Listed::Directory || !is_temporary(&name) {
            continue;
        }
        match unlinkat(directory.handle(), &name, AtFlags::empty()) {
            Ok(()) => report.temporary += 1,
            Err(Errno::NOENT) => {}
            Err(e) => {
                return Err(GcError::Io {
                    at: format!("{at}/{}", name.to_string_lossy()),
                    source: e.into(),
                });
            }
        }
    }
    Ok(())
}
