//! Output directories that exist complete or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use crate::Error;
use crate::error::Operation;
use crate::output::{directory_of, temporary_name};

/// The file by which a directory is known to be the output of an earlier build, which a new one may replace.
pub(crate) const DESCRIPTION: &str = "image.json";

/// A directory under construction, under a temporary name beside its destination.
#[derive(Debug)]
pub(crate) struct PendingDirectory {
    scratch: ScratchDirectory,
    destination: PathBuf,
    replaces: bool,
}

/// A directory under a temporary name that goes away with the value. It is locked as long as its process lives, so that
/// what a killed one left can be told and removed by the next.
#[derive(Debug)]
pub(crate) struct ScratchDirectory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
    done: bool,
}

/// How old a temporary directory must be to be taken for one its process left: it is locked only after it is made.
const LEFT_AFTER: Duration = Duration::from_secs(60);

impl ScratchDirectory {
    /// Makes one in the directory of `beside`, and removes those there that killed processes left.
    pub(crate) fn create(beside: &Path) -> Result<Self, Error> {
        let failed = |e| Error::output(Operation::Create, beside, e);
        let parent = directory_of(beside);
        remove_left(&parent);
        // A process of the same number, before or in another container, may have left one of the first such name.
        let path = loop {
            let path = parent.join(temporary_name());
            match fs::create_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => break made.map(|()| path).map_err(failed)?,
            }
        };
        let lock = File::open(&path).map_err(failed)?;
        // Filesystems without locks only keep what killed processes leave.
        flock(&lock, FlockOperation::NonBlockingLockShared).ok();
        Ok(Self {
            path,
            _lock: lock,
            done: false,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        if !self.done {
            // The build failed already; that is the error to report.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}

/// Removes what was replaced. Another process may take it, old and not locked, for what a killed one left.
fn remove_old(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes temporary directories of processes that are gone. Nothing depends on it: what cannot be removed stays.
fn remove_left(parent: &Path) {
    for item in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = item.file_name();
        let ours = name
            .to_str()
            .is_some_and(|n| n.starts_with(".lithify-") && n.ends_with(".tmp"));
        let is_old = |metadata: fs::Metadata| {
            let age = metadata.modified().ok().and_then(|m| m.elapsed().ok());
            metadata.is_dir() && age.is_some_and(|age| age >= LEFT_AFTER)
        };
        if !ours || !item.metadata().is_ok_and(is_old) {
            continue;
        }
        let Ok(directory) = File::open(item.path()) else {
            continue;
        };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            fs::remove_dir_all(item.path()).ok();
        }
    }
}

impl PendingDirectory {
    /// Starts a directory that will stand at `destination`: where nothing is, an empty directory, or the output of an
    /// earlier build.
    ///
    /// # Errors
    /// [`Error::OutputNotEmpty`], [`Error::Output`].
    pub(crate) fn create(destination: &Path) -> Result<Self, Error> {
        let failed = |e| Error::output(Operation::Create, destination, e);
        let replaces = match fs::symlink_metadata(destination) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(failed(e)),
            Ok(there) if !there.is_dir() => {
                return Err(failed(io::ErrorKind::NotADirectory.into()));
            }
            Ok(_) => {
                let is_empty = fs::read_dir(destination).map_err(failed)?.next().is_none();
                if !is_empty && !destination.join(DESCRIPTION).is_file() {
                    return Err(Error::OutputNotEmpty {
                        path: destination.to_path_buf(),
                    });
                }
                !is_empty
            }
        };
        Ok(Self {
            scratch: ScratchDirectory::create(destination)?,
            destination: destination.to_path_buf(),
            replaces,
        })
    }

    /// Where the directory is for now.
    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Makes a directory in it.
    pub(crate) fn make(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path().join(name);
        fs::create_dir_all(&path).map_err(|e| Error::output(Operation::Create, &path, e))?;
        Ok(path)
    }

    /// Gives the directory its name.
    pub(crate) fn commit(mut self, durable: bool) -> Result<(), Error> {
        let sync = |path: &Path| {
            File::open(path)
                .and_then(|d| d.sync_all())
                .map_err(|e| Error::output(Operation::Sync, path, e))
        };
        let rename = |e: io::Error| Error::output(Operation::Rename, &self.destination, e);
        let path = self.path().to_path_buf();
        if durable {
            sync(&path)?;
        }
        if self.replaces {
            match renameat_with(CWD, &path, CWD, &self.destination, RenameFlags::EXCHANGE) {
                // The old one has the temporary name now.
                Ok(()) => remove_old(&path).map_err(rename)?,
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    let old = directory_of(&self.destination).join(temporary_name());
                    fs::rename(&self.destination, &old).map_err(rename)?;
                    fs::rename(&path, &self.destination).map_err(rename)?;
                    remove_old(&old).map_err(rename)?;
                }
                Err(e) => return Err(rename(e.into())),
            }
        } else {
            fs::rename(&path, &self.destination).map_err(rename)?;
        }
        self.scratch.done = true;
        if durable {
            sync(&directory_of(&self.destination))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// Makes a directory look as if it had been made long ago.
    fn age(path: &Path) {
        let directory = File::open(path).unwrap();
        directory
            .set_modified(SystemTime::now() - 2 * LEFT_AFTER)
            .unwrap();
    }

    #[test]
    fn what_killed_processes_left_is_removed() {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join("out");
        let alive = ScratchDirectory::create(&out).unwrap();
        age(alive.path());
        let left = tmp.path().join(".lithify-1-0.tmp");
        let young = tmp.path().join(".lithify-2-0.tmp");
        let others = tmp.path().join("mine.tmp");
        for path in [&left, &young, &others] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), "x").unwrap();
        }
        age(&left);
        age(&others);
        let next = ScratchDirectory::create(&out).unwrap();
        assert!(!left.exists());
        assert!(young.exists() && others.exists());
        assert!(alive.path().exists() && next.path().exists());
        let paths = [alive.path().to_path_buf(), next.path().to_path_buf()];
        drop((alive, next));
        assert!(paths.iter().all(|p| !p.exists()));
    }

    #[test]
    fn only_outputs_of_builds_are_replaced() {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join("out");
        fs::create_dir(&out).unwrap();
        let first = PendingDirectory::create(&out).unwrap();
        fs::write(first.path().join(DESCRIPTION), "{}").unwrap();
        fs::write(first.path().join("old"), "").unwrap();
        first.commit(false).unwrap();
        let second = PendingDirectory::create(&out).unwrap();
        fs::write(second.path().join(DESCRIPTION), "{}").unwrap();
        second.commit(true).unwrap();
        assert!(!out.join("old").exists());
        fs::remove_file(out.join(DESCRIPTION)).unwrap();
        fs::write(out.join("mine"), "").unwrap();
        assert!(matches!(
            PendingDirectory::create(&out),
            Err(Error::OutputNotEmpty { .. })
        ));
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
    }
}
