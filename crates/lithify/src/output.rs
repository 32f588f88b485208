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

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::retry_on_intr;

use crate::error::{Error, Operation};
use crate::flush::Flusher;
use crate::leftovers::{claim, remove_left, temporary_name};

/// A file under construction.
#[derive(Debug)]
pub(crate) struct PendingFile {
    file: Arc<File>,
    destination: PathBuf,
    directory: PathBuf,
    /// The temporary name, if the file has one.
    name: Option<PathBuf>,
    flusher: Option<Flusher>,
}

/// The directory a path is in, never empty.
pub(crate) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

impl PendingFile {
    /// Starts a file that will replace `destination`. With `durable`, its data is sent to the disk while it is written.
    pub(crate) fn create(destination: &Path, durable: bool) -> Result<Self, Error> {
        let fail = |operation, source| Error::output(operation, destination, source);
        if let Ok(existing) = fs::symlink_metadata(destination)
            && !existing.is_file()
        {
            return Err(Error::OutputExists {
                path: destination.to_path_buf(),
            });
        }
        let directory = directory_of(destination);
        remove_left(&directory);
        let (file, name) = open_new(&directory).map_err(|e| fail(Operation::Create, e))?;
        let file = Arc::new(file);
        let flusher = match durable {
            true => Some(Flusher::start(&file).map_err(|e| fail(Operation::Create, e))?),
            false => None,
        };
        Ok(Self {
            file,
            destination: destination.to_path_buf(),
            directory,
            name,
            flusher,
        })
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
        self.link().map_err(|e| fail(Operation::Rename, e))?;
        if durable {
            File::open(&self.directory)
                .and_then(|d| d.sync_all())
                .map_err(|e| fail(Operation::Sync, e))?;
        }
        Ok(())
    }

    fn link(&mut self) -> io::Result<()> {
        let Some(name) = self.name.clone() else {
            if give_name(&self.file, &self.destination)? {
                return Ok(());
            }
            // The destination exists: a link cannot replace it, a rename can.
            let name = loop {
                let name = self.directory.join(temporary_name());
                if give_name(&self.file, &name)? {
                    break name;
                }
            };
            self.name = Some(name);
            return self.link();
        };
        fs::rename(name, &self.destination)?;
        self.name = None;
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if let Some(flusher) = self.flusher.take() {
            flusher.abandon();
        }
        if let Some(name) = &self.name {
            fs::remove_file(name).ok();
        }
    }
}

/// Opens a new file in a directory, without a name where the filesystem can.
fn open_new(directory: &Path) -> io::Result<(File, Option<PathBuf>)> {
    let mode = Mode::from_raw_mode(0o666);
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match retry_on_intr(|| openat(CWD, directory, flags, mode)) {
        Ok(fd) => {
            let file = File::from(fd);
            // It gets a temporary name in the end if it replaces another.
            claim(&file);
            return Ok((file, None));
        }
        // EISDIR is what kernels and filesystems without O_TMPFILE answer.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
        }
        Err(e) => return Err(e.into()),
    }
    open_named(directory).map(|(file, name)| (file, Some(name)))
}

/// Opens a new file under a temporary name.
fn open_named(directory: &Path) -> io::Result<(File, PathBuf)> {
    loop {
        let name = directory.join(temporary_name());
        match File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&name)
        {
            Ok(file) => {
                claim(&file);
                return Ok((file, name));
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

/// Links a file without a name; says whether the name was free.
fn give_name(file: &File, name: &Path) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, from, CWD, name, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// A file without a name for data that has to wait, in the directory of `beside` or, without, the system's.
pub(crate) fn scratch_file(beside: Option<&Path>) -> io::Result<File> {
    let directory = beside.map_or_else(std::env::temp_dir, directory_of);
    let (file, name) = open_new(&directory)?;
    if let Some(name) = name {
        fs::remove_file(name)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leftovers::tests::age;

    #[test]
    fn a_file_that_has_a_temporary_name_is_removed_by_the_next_build_only_if_its_process_is_gone() {
        let tmp = tempfile::tempdir().unwrap();
        let (file, name) = open_named(tmp.path()).unwrap();
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
