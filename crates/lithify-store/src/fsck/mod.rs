//! Reading everything, and telling what is not as it should be.

mod oci; // the image layout

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lithify_digest::Digest;
use lithify_escape::Printable;

pub use self::oci::LayoutProblem;
use crate::blobs::is_partial_name;
use crate::error::{Context as _, Error};
use crate::images::{ImageRecord, is_image_name};
use crate::lock::is_lock_name;
use crate::lookup::{Defect, Depth, Failure, exists};
use crate::quarantine::quarantine;
use crate::record::{RECORD, STAMP};
use crate::seal::RecordError;
use crate::stamp::{MAX_STAMP, Stamps};
use crate::store::{
    ARTIFACTS, BLOBS, IMAGES, LOCKS, PARTIAL, QUARANTINE, TEMP, VERSION_FILE, VersionProblem,
    is_store_name,
};
use crate::temp::{leftovers, remove_leftover};
use crate::{EntryId, Store, sys};

/// What a check does about what it finds.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FsckOptions {
    /// Set aside what is damaged or does not belong, and make good what can be. Without, nothing is changed.
    pub repair: bool,
}

impl FsckOptions {
    /// A check that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to set aside and make good.
    #[must_use]
    pub fn repair(mut self, repair: bool) -> Self {
        self.repair = repair;
        self
    }
}

/// Something that is not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// An entry is damaged.
    #[error("{0}")]
    Entry(Defect),
    /// An entry's stamp cannot be believed; its files were read and are good.
    #[error("the stamp is damaged")]
    Stamp,
    /// A stored file can be written.
    #[error("the mode is {found:03o}, expected 444")]
    Mode {
        /// Its permission bits.
        found: u32,
    },
    /// Nothing lithify put there.
    #[error("it does not belong to the store")]
    Unknown,
    /// A directory of the store is not there.
    #[error("the directory is missing")]
    MissingDirectory,
    /// An image's record is no good.
    #[error("the image's record is no good: {0}")]
    Image(RecordError),
    /// An image needs an entry that is not there: it has to be built again.
    #[error("the image `{}` needs the entry {entry}, which is not there; build it again", Printable(.image))]
    Dangling {
        /// The image.
        image: String,
        /// The entry.
        entry: EntryId,
    },
    /// The file with the store's version is no good.
    #[error("the store's version is no good: {0}")]
    Version(RecordError),
    /// The image layout is not as image-spec says.
    #[error("{0}")]
    Layout(LayoutProblem),
    /// A blob has other bytes than its name says.
    #[error("the blob has digest {found}, expected {expected}")]
    Blob {
        /// The digest in its name.
        expected: Digest,
        /// The digest of its bytes.
        found: Digest,
    },
    /// A part of an image is not there, or has another length: it has to be pulled again.
    #[error("{}its blob {part} of {size} bytes is not there; pull it again", named(.name))]
    Incomplete {
        /// The image's name, if it has one.
        name: Option<String>,
        /// The part.
        part: Box<Digest>,
        /// Its size in bytes.
        size: u64,
    },
    /// A process died while it made this.
    #[error("a process that is gone left it unfinished")]
    Leftover,
}

fn named(name: &Option<String>) -> String {
    name.as_ref().map_or_else(String::new, |name| {
        format!("the image `{}`: ", Printable(name))
    })
}

impl Problem {
    /// Whether it is more than what a killed process leaves.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Leftover)
    }
}

/// What was done about a problem.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Nothing.
    Reported,
    /// It was moved there.
    Quarantined(PathBuf),
    /// It was made good.
    Repaired,
    /// It was removed.
    Removed,
    /// It was tried to do something.
    Failed(Error),
}

/// A problem, where, and what was done.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// Where, from the top of the store.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: Problem,
    /// What was done about it.
    pub action: Action,
}

/// What a check found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct FsckReport {
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
    /// Entries that are good.
    pub good: u64,
    /// Artifacts' files and blobs read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl FsckReport {
    /// Whether nothing is damaged, missing or foreign. What killed processes left does not count.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage().next().is_none()
    }

    /// The findings that are more than what killed processes left.
    pub fn damage(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.problem.is_damage())
    }
}

/// What repairing a problem means.
enum Repair<'a> {
    /// Set it aside, if it still is the open one.
    Quarantine(Option<&'a File>),
    /// Set it aside and write this instead.
    Rewrite(&'static str, &'static [u8]),
    /// Set the list of images aside and write what can be read of it.
    Salvage,
    /// Done by something that makes the finding's matter good on the way; this is what it said.
    Done(Result<(), Error>),
    /// Remove the leftover.
    Remove,
}

impl Store {
    /// Reads every file of the store and holds it against its record.
    ///
    /// Builds may run at the same time: what they have under construction is left alone. Records and stamps carry
    /// their own digests, so that any changed byte of them is found as well; `index.json`, which other tools write, is
    /// held against the specification.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] when the store cannot be written and is to be repaired, [`Error::Cancelled`] when the work was
    /// stopped, or what else the system said. Damage is not an error.
    pub fn fsck(&self, options: &FsckOptions) -> Result<FsckReport, Error> {
        if options.repair {
            self.writable()?;
        }
        let mut check = Check {
            store: self,
            repair: options.repair,
            report: FsckReport::default(),
        };
        check.top()?;
        check.image_layout()?;
        check.entries()?;
        check.images()?;
        check.partials()?;
        check.locks()?;
        check.temporary()?;
        // Repairs that were given up are among the findings.
        self.cancel.check()?;
        Ok(check.report)
    }
}

struct Check<'a> {
    store: &'a Store,
    repair: bool,
    report: FsckReport,
}

impl Check<'_> {
    /// Reports a problem and repairs it if that is wanted.
    fn found(&mut self, path: &Path, problem: Problem, repair: Repair<'_>) {
        let action = match self.repair {
            true => self.repaired(path, repair).unwrap_or_else(Action::Failed),
            false => Action::Reported,
        };
        let path = path.strip_prefix(self.store.path()).unwrap_or(path);
        self.report.findings.push(Finding {
            path: path.to_path_buf(),
            problem,
            action,
        });
    }

    fn repaired(&self, path: &Path, repair: Repair<'_>) -> Result<Action, Error> {
        Ok(match repair {
            Repair::Quarantine(open) => match quarantine(self.store, path, open)? {
                Some(to) => Action::Quarantined(to),
                None => Action::Reported,
            },
            Repair::Rewrite(name, bytes) => {
                let moved = quarantine(self.store, path, None)?;
                self.store.write_plain(name, bytes)?;
                moved.map_or(Action::Repaired, Action::Quarantined)
            }
            Repair::Salvage => match self.store.salvage_index()? {
                Some(to) => Action::Quarantined(to),
                None => Action::Repaired,
            },
            Repair::Done(result) => result.map(|()| Action::Repaired)?,
            Repair::Remove => match remove_leftover(path)? {
                true => Action::Removed,
                false => Action::Reported,
            },
        })
    }

    /// What is in a directory, sorted; names that are not UTF-8 are nobody's here.
    fn list(&self, directory: &Path) -> Result<Vec<(Option<String>, PathBuf)>, Error> {
        self.store.cancel.check()?;
        let mut all = Vec::new();
        match fs::read_dir(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(all),
            items => {
                for item in items.context("list", directory)? {
                    let item = item.context("list", directory)?;
                    all.push((item.file_name().into_string().ok(), item.path()));
                }
            }
        }
        all.sort();
        Ok(all)
    }

    /// The store's own files and directories, and what else is beside them.
    fn top(&mut self) -> Result<(), Error> {
        let root = self.store.path().to_path_buf();
        for (name, path) in self.list(&root)? {
            if !name.is_some_and(|n| is_store_name(n.as_ref())) {
                self.found(&path, Problem::Unknown, Repair::Quarantine(None));
            }
        }
        for name in [TEMP, LOCKS, QUARANTINE, ARTIFACTS, IMAGES, BLOBS] {
            let path = self.store.at(name);
            if !fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir()) {
                let done = match self.repair {
                    true => sys::make_dir(&path).context("create", &path),
                    false => Ok(()),
                };
                self.found(&path, Problem::MissingDirectory, Repair::Done(done));
            }
        }
        let damage = match self.store.check_version() {
            Ok(()) => return Ok(()),
            Err(VersionProblem::Io(e)) => return Err(e),
            Err(VersionProblem::Missing) => RecordError::Form,
            Err(VersionProblem::Newer(found)) => RecordError::Version {
                found,
                known: crate::STORE_VERSION,
            },
            Err(VersionProblem::Damaged(problem)) => problem,
        };
        let path = self.store.at(VERSION_FILE);
        let done = match (self.repair, &damage) {
            (false, _) | (_, RecordError::Version { .. }) => Ok(()),
            _ => self.store.write_version(),
        };
        self.found(&path, Problem::Version(damage), Repair::Done(done));
        Ok(())
    }

    fn entries(&mut self) -> Result<(), Error> {
        for (name, path) in self.list(&self.store.at(ARTIFACTS))? {
            self.store.cancel.check()?;
            let id = name.and_then(|n| n.parse::<EntryId>().ok());
            let metadata = match fs::symlink_metadata(&path) {
                // Collected meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.context("look at", &path)?,
            };
            match id {
                Some(id) if metadata.is_dir() => self.entry(id, &path)?,
                _ => self.found(&path, Problem::Unknown, Repair::Quarantine(None)),
            }
        }
        Ok(())
    }

    fn entry(&mut self, id: EntryId, path: &Path) -> Result<(), Error> {
        let Some(directory) = self.store.lease_entry(id)? else {
            return Ok(());
        };
        // Before the check, which writes a new stamp.
        let stamp = stamp_is_good(&directory);
        let modes = self.modes(path)?;
        let depth = Depth::All { renew: self.repair };
        let record = match self.store.check(id, &directory, depth) {
            Ok(record) => record,
            Err(Failure::Defect(defect)) => {
                let repair = Repair::Quarantine(Some(&directory));
                self.found(path, Problem::Entry(*defect), repair);
                return Ok(());
            }
            Err(Failure::Error(e)) => return Err(e),
        };
        self.report.good += 1;
        self.report.files += record.files.len() as u64;
        self.report.bytes += record.size();
        if !stamp {
            self.found(&path.join(STAMP), Problem::Stamp, Repair::Done(Ok(())));
        }
        for (name, path) in self.list(path)? {
            let known = |n: &str| {
                n == RECORD || n == STAMP || record.files.iter().any(|file| file.name == n)
            };
            if !name.as_deref().is_some_and(known) {
                self.found(&path, Problem::Unknown, Repair::Quarantine(None));
            }
        }
        for (path, found, done) in modes {
            self.found(&path, Problem::Mode { found }, Repair::Done(done));
        }
        Ok(())
    }

    /// Files of an entry that can be written, and what came of changing that.
    #[expect(
        clippy::type_complexity,
        reason = "three things about a file, used in one place"
    )]
    fn modes(&self, entry: &Path) -> Result<Vec<(PathBuf, u32, Result<(), Error>)>, Error> {
        let mut odd = Vec::new();
        for (_, path) in self.list(entry)? {
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let mode = metadata.permissions().mode() & 0o7777;
            if !metadata.is_file() || mode & 0o222 == 0 {
                continue;
            }
            let done = match self.repair {
                true => sys::open(&path)
                    .and_then(|file| sys::set_mode(&file, 0o444))
                    .context("set the mode of", &path),
                false => Ok(()),
            };
            odd.push((path, mode, done));
        }
        Ok(odd)
    }

    fn images(&mut self) -> Result<(), Error> {
        for (name, path) in self.list(&self.store.at(IMAGES))? {
            self.store.cancel.check()?;
            if !name.as_deref().is_some_and(is_image_name) {
                self.found(&path, Problem::Unknown, Repair::Quarantine(None));
                continue;
            }
            match self.store.read_image(&path)? {
                None => {}
                Some(Err(problem)) => {
                    self.found(&path, Problem::Image(problem), Repair::Quarantine(None));
                }
                Some(Ok(image)) => {
                    if self.missing(&image.record).is_some()
                        && let Some((image, entry)) = self.dangling(&path)?
                    {
                        let done = match self.repair {
                            true => self.store.forget_lost_targets(&path),
                            false => Ok(()),
                        };
                        self.found(
                            &path,
                            Problem::Dangling { image, entry },
                            Repair::Done(done),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// An entry the image needs and that is not there.
    fn missing(&self, image: &ImageRecord) -> Option<EntryId> {
        image.entries().find(|id| !exists(self.store, *id))
    }

    /// Looks again while no image is forgotten and nothing collected.
    fn dangling(&self, path: &Path) -> Result<Option<(String, EntryId)>, Error> {
        let _lock = match self.store.read_only() {
            true => None,
            false => Some(self.store.lock_store()?),
        };
        Ok(match self.store.read_image(path)? {
            Some(Ok(image)) => self
                .missing(&image.record)
                .map(|entry| (image.record.name, entry)),
            _ => None,
        })
    }

    fn partials(&mut self) -> Result<(), Error> {
        for (name, path) in self.list(&self.store.at(PARTIAL))? {
            let regular = fs::symlink_metadata(&path).is_ok_and(|m| m.is_file());
            // The next who wants the blob goes on with it, or collection removes it.
            if !regular && sys::open(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
                continue;
            }
            if !regular || !name.as_deref().is_some_and(is_partial_name) {
                self.found(&path, Problem::Unknown, Repair::Quarantine(None));
            }
        }
        Ok(())
    }

    fn locks(&mut self) -> Result<(), Error> {
        for (name, path) in self.list(&self.store.at(LOCKS))? {
            // Lock files of killed processes are no matter: the next holder or collection takes them.
            if !name.as_deref().is_some_and(is_lock_name) {
                self.found(&path, Problem::Unknown, Repair::Quarantine(None));
            }
        }
        Ok(())
    }

    fn temporary(&mut self) -> Result<(), Error> {
        let temp = self.store.at(TEMP);
        if fs::symlink_metadata(&temp).is_err() {
            return Ok(());
        }
        for path in leftovers(&temp)? {
            self.store.cancel.check()?;
            self.found(&path, Problem::Leftover, Repair::Remove);
        }
        Ok(())
    }
}

/// Whether the stamp can be believed, or is not there.
fn stamp_is_good(directory: &File) -> bool {
    match sys::open_at(directory, STAMP) {
        Ok(file) => matches!(
            sys::read_limited(file, MAX_STAMP),
            // Stamps are renewed without waiting for the disk: after a power cut an empty one is as good as none.
            Ok(Some(bytes)) if bytes.is_empty() || Stamps::parse(&bytes).is_ok()
        ),
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}
