//! Output directories that exist complete or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::Error;
use crate::error::Operation;
use crate::output::{directory_of, temporary_name};

/// The file by which a directory is known to be the output of an earlier build, which a new one may replace.
pub(crate) const DESCRIPTION: &str = "image.json";

/// A directory under construction, under a temporary name beside its destination.
#[derive(Debug)]
pub(crate) struct PendingDirectory {
    path: PathBuf,
    destination: PathBuf,
    replaces: bool,
    done: bool,
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
        let path = directory_of(destination).join(temporary_name());
        fs::create_dir(&path).map_err(failed)?;
        Ok(Self {
            path,
            destination: destination.to_path_buf(),
            replaces,
            done: false,
        })
    }

    /// Where the directory is for now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory in it.
    pub(crate) fn make(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
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
        if durable {
            sync(&self.path)?;
        }
        if self.replaces {
            match renameat_with(
                CWD,
                &self.path,
                CWD,
                &self.destination,
                RenameFlags::EXCHANGE,
            ) {
                // The old one has the temporary name now.
                Ok(()) => fs::remove_dir_all(&self.path).map_err(rename)?,
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    let old = directory_of(&self.destination).join(temporary_name());
                    fs::rename(&self.destination, &old).map_err(rename)?;
                    fs::rename(&self.path, &self.destination).map_err(rename)?;
                    fs::remove_dir_all(&old).map_err(rename)?;
                }
                Err(e) => return Err(rename(e.into())),
            }
        } else {
            fs::rename(&self.path, &self.destination).map_err(rename)?;
        }
        self.done = true;
        if durable {
            sync(&directory_of(&self.destination))?;
        }
        Ok(())
    }
}

impl Drop for PendingDirectory {
    fn drop(&mut self) {
        if !self.done {
            // The build failed already; that is the error to report.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}
