//! From the store to an output file, without copying where the filesystem can.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use lithify_cancel::CancelToken;
use lithify_storage::next_data;
use rustix::fs::{AtFlags, CWD, linkat};
use rustix::io::Errno;

use crate::error::{Context as _, Error};
use crate::temp::unique_name;
use crate::{Entry, sys};

/// How an output comes to be.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Never a hard link: the output can be written to without damage to the store.
    pub copy: bool,
    /// Return only when the output would survive a power cut.
    pub durable: bool,
}

impl ExportOptions {
    /// Whatever is fastest, not waiting for the disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to make a file of its own.
    #[must_use]
    pub fn copy(mut self, copy: bool) -> Self {
        self.copy = copy;
        self
    }

    /// Whether to wait for the disk.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }
}

/// How an output came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exported {
    /// It shares its data with the store until one is written to.
    Clone,
    /// It is the store's file under another name, read-only.
    Link,
    /// It is a copy.
    Copy,
}

impl Entry {
    /// Gives a file of the entry a name outside the store, in place of a regular file of that name.
    ///
    /// The name appears when the file is complete. It is a clone (`FICLONE`, see `ioctl_ficlonerange(2)`) where the
    /// filesystem can, else a hard link, else a copy. A hard link is read-only; whoever writes to it all the same
    /// damages the stored artifact, which the next use notices.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`]; [`Error::Destination`] when a directory or the like is there; [`Error::Cancelled`]; what the
    /// system said.
    pub fn export(
        &self,
        name: &str,
        destination: &Path,
        options: ExportOptions,
    ) -> Result<Exported, Error> {
        let source = self.open(name)?;
        let metadata = source.metadata().context("look at", destination)?;
        match fs::symlink_metadata(destination) {
            Ok(there) if !there.is_file() => {
                return Err(Error::Destination {
                    path: destination.to_path_buf(),
                });
            }
            // The output of an earlier build.
            Ok(there)
                if !options.copy
                    && (there.dev(), there.ino()) == (metadata.dev(), metadata.ino()) =>
            {
                return Ok(Exported::Link);
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("look at", destination, e)),
        }
        let directory = match destination.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let output = Output {
            temporary: directory.join(format!(".lithify-{}.tmp", unique_name())),
            destination,
            durable: options.durable,
        };
        let how = if clone(&source, &output)? {
            Exported::Clone
        } else if !options.copy && self.link(name, &output)? {
            Exported::Link
        } else {
            copy(&source, metadata.len(), &output, &self.store().cancel)?;
            Exported::Copy
        };
        if options.durable {
            sys::sync_dir(directory).context("sync", directory)?;
        }
        Ok(how)
    }

    /// Makes a hard link; `false` where that cannot be.
    fn link(&self, name: &str, output: &Output<'_>) -> Result<bool, Error> {
        match linkat(
            self.directory(),
            name,
            CWD,
            &output.temporary,
            AtFlags::empty(),
        ) {
            Ok(()) => {}
            // Another filesystem, one without links, no more links, or a kernel that protects others' files.
            Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::ACCESS) => {
                return Ok(false);
            }
            Err(e) => return Err(Error::io("create", output.destination, e.into())),
        }
        output.publish()?;
        self.renew_stamp(name)?;
        Ok(true)
    }

    /// Reads a file and compares it with its digest, whatever the filesystem says about it.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], or what the system said.
    pub fn verify(&self, name: &str) -> Result<bool, Error> {
        let recorded = self.file(name)?;
        let path = self.store().entry_path(self.id()).join(name);
        let (size, digest) =
            sys::sha256(&self.open(name)?, &self.store().cancel).context("read", &path)?;
        Ok((size, digest) == (recorded.size, recorded.sha256))
    }
}

/// Where a file goes, by way of which name.
struct Output<'a> {
    temporary: PathBuf,
    destination: &'a Path,
    /// Whether its data has to be on the disk before it gets its name.
    durable: bool,
}

impl Output<'_> {
    fn create(&self) -> Result<File, Error> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        let file = options
            .open(&self.temporary)
            .context("create", self.destination)?;
        // Whoever removes what killed processes left beside outputs sees that this one lives. On filesystems without
        // locks nothing is removed.
        file.try_lock_shared().ok();
        Ok(file)
    }

    /// The file at the temporary name gets its name.
    fn publish(&self) -> Result<(), Error> {
        let renamed = fs::rename(&self.temporary, self.destination);
        // Renaming one of two links of a file to the other does nothing, by the rules of rename(2).
        match fs::remove_file(&self.temporary) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => other.context("remove", &self.temporary)?,
        }
        renamed.context("create", self.destination)
    }

    /// A file written here gets its name, or is removed.
    fn finish(&self, file: &File, written: io::Result<()>) -> Result<(), Error> {
        let written = written.and_then(|()| match self.durable {
            true => file.sync_all(),
            false => Ok(()),
        });
        match written.context("write", self.destination) {
            Ok(()) => self.publish(),
            Err(e) => {
                self.abandon();
                Err(e)
            }
        }
    }

    fn abandon(&self) {
        fs::remove_file(&self.temporary).ok();
    }
}

/// Makes a clone; `false` where that cannot be.
#[cfg(target_os = "linux")]
fn clone(source: &File, output: &Output<'_>) -> Result<bool, Error> {
    let target = output.create()?;
    match rustix::fs::ioctl_ficlone(&target, source) {
        Ok(()) => output.finish(&target, Ok(())).map(|()| true),
        Err(e @ (Errno::NOSPC | Errno::DQUOT)) => {
            output.finish(&target, Err(e.into())).map(|()| false)
        }
        // Not on this filesystem, or not between these two: there are as many codes as filesystems.
        Err(_) => {
            output.abandon();
            Ok(false)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn clone(_: &File, _: &Output<'_>) -> Result<bool, Error> {
    Ok(false)
}

/// Bytes copied before it is asked again whether the work goes on: more than the kernel needs to be quick, less than takes
/// long.
const COPY_STEP: u64 = 64 << 20;

/// Copies, leaving holes holes, as long as the work goes on.
fn copy(
    source: &File,
    length: u64,
    output: &Output<'_>,
    cancel: &CancelToken,
) -> Result<(), Error> {
    let target = output.create()?;
    let copied = (|| -> io::Result<()> {
        target.set_len(length)?;
        let mut at = 0;
        while at < length {
            let data = next_data(source, at, length);
            let end = data.end.min(data.start.saturating_add(COPY_STEP));
            cancel.check()?;
            copy_range(source, &target, data.start, end)?;
            at = end;
        }
        Ok(())
    })();
    output.finish(&target, copied)
}

fn copy_range(source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    #[cfg(target_os = "linux")]
    while at < end {
        let (mut from, mut to) = (at, at);
        let n = usize::try_from(end - at).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), n) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(copied) => at += copied as u64,
            Err(Errno::INTR) => {}
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => return Err(e.into()),
            // Not between these two filesystems.
            Err(_) => break,
        }
    }
    let mut buffer = vec![0; 1 << 20];
    while at < end {
        let n = usize::try_from(end - at).map_or(buffer.len(), |n| n.min(buffer.len()));
        source.read_exact_at(&mut buffer[..n], at)?;
        target.write_all_at(&buffer[..n], at)?;
        at += n as u64;
    }
    Ok(())
}
