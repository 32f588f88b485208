//! Writing one blob.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use lithify_digest::{Digest, Hasher, Mismatch};

use super::{Lease, partial};
use crate::error::{Context as _, Error};
use crate::lock::BlobLock;
use crate::sys;
use lithify_storage::Locked;

/// What became of the wish to write a blob.
#[derive(Debug)]
pub enum Begun {
    /// It is there, from before or since another process that wrote it finished.
    Complete,
    /// It is to be written, from [`Ingest::offset`] on.
    Partial(Box<Ingest>),
}

/// A blob that is being written, by nobody else.
///
/// Dropped unfinished, what was written stays to be gone on with, by this process or another one.
#[derive(Debug)]
pub struct Ingest {
    lease: Lease,
    digest: Digest,
    size: u64,
    /// How many bytes are there.
    offset: u64,
    /// How many of them were there at first.
    resumed: u64,
    /// Of the bytes there are; `None` once the caller has it.
    hasher: Option<Hasher>,
    path: PathBuf,
    /// Holds the shared lock, which goes over to the blob.
    file: Locked,
    durable: bool,
    /// Whether the file is ours to leave where it is.
    finished: bool,
    _lock: BlobLock,
}

impl Ingest {
    pub(super) fn begin(
        lease: Lease,
        lock: BlobLock,
        digest: &Digest,
        size: u64,
        durable: bool,
    ) -> Result<Self, Error> {
        let (file, path) = partial::open(lease.store(), digest)?;
        let mut ingest = Self {
            lease,
            digest: *digest,
            size,
            offset: 0,
            resumed: 0,
            hasher: Some(Hasher::new(digest.algorithm())),
            path,
            file,
            durable,
            finished: false,
            _lock: lock,
        };
        let there = ingest
            .file
            .metadata()
            .context("look at", &ingest.path)?
            .len();
        if there > size {
            // The beginning of something else.
            ingest.restart()?;
        } else if there > 0 {
            let (found, hasher) = sys::hash(
                &ingest.file,
                digest.algorithm(),
                &ingest.lease.store().cancel,
            )
            .context("read", &ingest.path)?;
            ingest.offset = found;
            ingest.resumed = found;
            ingest.hasher = Some(hasher);
        }
        Ok(ingest)
    }

    /// The blob's digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The blob's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes are there: where to go on.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes were there at first, from an earlier attempt. They were not verified: nothing can be said of a
    /// part of a blob.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Opens what is there for reading, for who needs all bytes and not just those that arrive.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(&self) -> Result<File, Error> {
        sys::open(&self.path).context("open", &self.path)
    }

    /// Adds bytes, in one system call, and takes their digest unless someone else does. Large slices are cheapest.
    ///
    /// # Errors
    /// [`Error::BlobMismatch`], and nothing is added; [`Error::Full`], or what else the system said, after which the same
    /// bytes can be tried again.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let end = self.offset.checked_add(bytes.len() as u64);
        let Some(end) = end.filter(|end| *end <= self.size) else {
            return Err(self.wrong(Mismatch::Trailing {
                expected: self.size,
            }));
        };
        self.file
            .write_all_at(bytes, self.offset)
            .context("write", &self.path)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.offset = end;
        Ok(())
    }

    /// Forgets what is there, to begin at offset 0.
    ///
    /// # Errors
    /// What the system said.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).context("truncate", &self.path)?;
        self.offset = 0;
        self.resumed = 0;
        self.hasher = Some(Hasher::new(self.digest.algorithm()));
        Ok(())
    }

    /// Hands out the running digest of what is there: the caller adds what it appends, on another thread perhaps, and
    /// gives it back to [`finish_with`](Self::finish_with). From here on [`append`](Self::append) only writes. `None`
    /// when someone has it already.
    #[must_use = "without it, the whole blob is read again"]
    pub fn take_hasher(&mut self) -> Option<Hasher> {
        self.hasher.take()
    }

    /// Verifies the blob and gives it its name.
    ///
    /// If the running digest was taken, the blob is read again for it.
    ///
    /// # Errors
    /// [`Error::BlobMismatch`]: too few bytes stay, others are removed; [`Error::Full`], or
    /// what else the system said.
    pub fn finish(mut self) -> Result<(), Error> {
        self.check_length()?;
        let hasher = match self.hasher.take() {
            Some(hasher) => hasher,
            None => {
                let algorithm = self.digest.algorithm();
                sys::hash(&self.file, algorithm, &self.lease.store().cancel)
                    .context("read", &self.path)?
                    .1
            }
        };
        self.publish(hasher)
    }

    /// As [`finish`](Self::finish), with the digest handed out by [`take_hasher`](Self::take_hasher) and brought up to
    /// date since.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_with(self, hasher: Hasher) -> Result<(), Error> {
        self.check_length()?;
        self.publish(hasher)
    }

    /// Removes what is there.
    ///
    /// # Errors
    /// What the system said.
    pub fn discard(mut self) -> Result<(), Error> {
        self.finished = true;
        fs::remove_file(&self.path).context("remove", &self.path)
    }

    fn check_length(&self) -> Result<(), Error> {
        Mismatch::of_sizes(self.size, self.offset).map_err(|mismatch| self.wrong(mismatch))
    }

    fn wrong(&self, source: Mismatch) -> Error {
        Error::BlobMismatch {
            digest: Box::new(self.digest),
            source,
            resumed: self.resumed,
        }
    }

    fn publish(mut self, hasher: Hasher) -> Result<(), Error> {
        let found = hasher.finish();
        // What lies behind the end of what was appended is nothing this blob was given.
        let length = self.file.metadata().context("look at", &self.path)?.len();
        let compared = Mismatch::of_digests(&self.digest, &found)
            .and_then(|()| Mismatch::of_sizes(self.size, length));
        if let Err(mismatch) = compared {
            self.finished = true;
            fs::remove_file(&self.path).context("remove", &self.path)?;
            return Err(self.wrong(mismatch));
        }
        let store = self.lease.store();
        let path = store.blob_path(&self.digest);
        sys::set_mode(&self.file, 0o444).context("set the mode of", &self.path)?;
        if self.durable {
            self.file.sync_all().context("sync", &self.path)?;
        }
        store.make_blob_dir(&self.digest)?;
        fs::rename(&self.path, &path).context("publish", &path)?;
        self.finished = true;
        match path.parent() {
            Some(directory) if self.durable => sys::sync_dir(directory).context("sync", directory),
            _ => Ok(()),
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if !self.finished && self.offset == 0 {
            // Nothing to go on from. What cannot be removed is collected later.
            fs::remove_file(&self.path).ok();
        }
    }
}

impl io::Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
