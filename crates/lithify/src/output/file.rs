//! Output files that exist complete or not at all.
//!
//! On Linux a file under construction has no name: it is opened with `O_TMPFILE` in the directory of its destination
//! and linked when it is done, so that not even `SIGKILL` or a power cut leaves a stray file. Where the filesystem
//! cannot do that, it has a temporary name that is removed on failure, and after a kill by the next build there.
//!
//! Order of a durable commit: data reaches the disk, the name appears, the directory reaches the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_storage::temporary::{NewFile, remove_left};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::retry_on_intr;

use super::flush::Flusher;
use crate::error::Error;
use crate::error::Operation;
use crate::error::OutputError;
use crate::error::directory_of;

/// A file under construction.
#[derive(Debug)]
pub(crate) struct PendingFile {
    file: Arc<File>,
    /// There until the file gets its name.
    new: Option<NewFile>,
    destination: PathBuf,
    directory: PathBuf,
    flusher: Option<Flusher>,
}

/// Refuses what a file does not take the place of.
fn refuse_others(destination: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(destination) {
        Ok(existing) if !existing.is_file() => Err(Error::from(OutputError::OutputExists {
            path: destination.to_path_buf(),
        })),
        _ => Ok(()),
    }
}

impl PendingFile {
    /// Starts a file that will replace `destination`. With `durable`, its data is sent to the disk while it is written.
    pub(crate) fn create(destination: &Path, durable: bool) -> Result<Self, Error> {
        let fail = |operation, source| Error::output(operation, destination, source);
        refuse_others(destination)?;
        let create = |e| fail(Operation::Create, e);
        let directory = directory_of(destination);
        remove_left(&directory);
        let new = new_file(&directory).map_err(create)?;
        let file = Arc::clone(new.file());
        let flusher = match durable {
            true => Some(Flusher::start(&file).map_err(create)?),
            false => None,
        };
        Ok(Self {
            file,
            new: Some(new),
            destination: destination.to_path_buf(),
            directory,
            flusher,
        })
    }

    /// Checks that a file can be started there, as far as that can be told without touching anything.
    pub(crate) fn check(destination: &Path) -> Result<(), Error> {
        refuse_others(destination)?;
        match fs::metadata(directory_of(destination)) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::output(Operation::Create, destination, e)),
        }
    }

    /// What it will be called.
    pub(crate) fn destination(&self) -> &Path {
        &self.destination
    }

    /// The file, to be written at any offset.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Gives the file its name. With `durable`, it and its name survive a power cut once this returns.
    pub(crate) fn commit(mut self, durable: bool) -> Result<(), Error> {
        let destination = self.destination.clone();
        let fail = |operation, source| Error::output(operation, &destination, source);
        if let Some(flusher) = self.flusher.take() {
            flusher.finish().map_err(|e| fail(Operation::Sync, e))?;
        }
        if durable {
            self.file.sync_all().map_err(|e| fail(Operation::Sync, e))?;
        }
        if let (Some(new), Some(name)) = (self.new.take(), destination.file_name()) {
            new.replace(name).map_err(|e| fail(Operation::Rename, e))?;
        }
        if durable {
            File::open(&self.directory)
                .and_then(|d| d.sync_all())
                .map_err(|e| fail(Operation::Sync, e))?;
        }
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if let Some(flusher) = self.flusher.take() {
            flusher.abandon();
        }
    }
}

/// A file without a name for data that has to wait, in the directory of `beside` or, without, the system's.
pub(crate) fn scratch_file(beside: Option<&Path>) -> io::Result<File> {
    let directory = beside.map_or_else(std::env::temp_dir, directory_of);
    new_file(&directory)?.into_unnamed()
}

/// Starts a file in a directory, which need not be readable.
fn new_file(directory: &Path) -> io::Result<NewFile> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = retry_on_intr(|| openat(CWD, directory, flags, Mode::empty()));
    NewFile::create(opened?)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::SystemTime;

    use lithify_storage::temporary::{LEFT_AFTER, claim, temporary_name};

    use super::*;

    /// Makes a file or directory look as if it had been made long ago.
    pub(crate) fn age(path: &Path) {
        let opened = File::open(path).unwrap();
        opened
            .set_modified(SystemTime::now() - 2 * LEFT_AFTER)
            .unwrap();
    }

    #[test]
    fn a_file_that_has_a_temporary_name_is_removed_by_the_next_build_only_if_its_process_is_gone() {
        let tmp = tempfile::tempdir().unwrap();
        let name = tmp.path().join(temporary_name());
        let file = File::create(&name).unwrap();
        claim(&file);
        age(&name);
        let out = tmp.path().join("out");
        drop(PendingFile::create(&out, false).unwrap());
        assert!(name.exists());
        // As when the process is killed: nothing is cleaned up, and the kernel closes the file.
        drop(file);
        drop(PendingFile::create(&out, false).unwrap());
        assert!(!name.exists());
    }
}
