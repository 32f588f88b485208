//! The blobs of the image layout: `blobs/ALGORITHM/HEX`.
//!
//! A blob was verified when it was put there, so that a regular file of the right length is taken for good; what
//! happens to it later is for [`Store::fsck`].

mod content; // of images
mod ingest; // one blob, as it arrives
mod lease; // what must not be collected
mod partial; // what arrived so far

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use lithify_digest::{Algorithm, Digest};

pub use self::ingest::{Begun, Ingest};
pub use self::lease::Lease;
pub(crate) use self::partial::is_partial_name;
use crate::error::{Context as _, Error};
use crate::lookup::is_odd;
use crate::scan::Bytes;
use crate::store::BLOBS;
use crate::{Store, sys};

/// A blob as it stands in the store; its bytes were not looked at.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BlobInfo {
    /// Its name.
    pub digest: Digest,
    /// What it takes.
    pub bytes: Bytes,
    /// When it was put there, or last asked for by someone with a [`Lease`].
    pub last_used: SystemTime,
}

impl Store {
    /// Whether a blob of this size is there. It may be collected the next moment: [`Lease::has`] is for those who need it.
    ///
    /// # Errors
    /// What the system said.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        Ok(self.blob_size(digest)? == Some(size))
    }

    /// Opens a blob for reading; `None` if it is not there. What is open can be read to its end, whoever collects it.
    ///
    /// # Errors
    /// What the system said.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>, Error> {
        let path = self.blob_path(digest);
        match sys::open(&path) {
            Ok(file) => {
                let metadata = file.metadata().context("look at", &path)?;
                Ok(metadata.is_file().then_some(file))
            }
            Err(e) if is_gone(&e) || is_odd(&e) => Ok(None),
            Err(e) => Err(Error::io("open", &path, e)),
        }
    }

    /// Where a blob is or would be, for another program. Whoever uses it must not write to it.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let mut path = self.at(BLOBS);
        path.push(digest.algorithm().name());
        path.push(digest.hex());
        path
    }

    /// The length of a blob; `None` if it is not there, or not a regular file.
    pub(crate) fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let path = self.blob_path(digest);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(e) if is_gone(&e) => Ok(None),
            Err(e) => Err(Error::io("look at", &path, e)),
        }
    }

    /// All blobs, sorted by digest. Names that are no digests are passed over.
    ///
    /// # Errors
    /// What the system said.
    pub fn all_blobs(&self) -> Result<Vec<BlobInfo>, Error> {
        let mut all = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = self.at(BLOBS).join(algorithm.name());
            let items = match fs::read_dir(&directory) {
                Err(e) if is_gone(&e) => continue,
                items => items.context("list", &directory)?,
            };
            for item in items {
                let item = item.context("list", &directory)?;
                let name = item.file_name();
                let named = name
                    .to_str()
                    .and_then(|hex| format!("{algorithm}:{hex}").parse::<Digest>().ok());
                let metadata = match item.metadata() {
                    // Collected meanwhile.
                    Err(e) if is_gone(&e) => continue,
                    other => other.context("look at", &item.path())?,
                };
                if let Some(digest) = named
                    && metadata.is_file()
                {
                    all.push(BlobInfo {
                        digest,
                        bytes: Bytes::of(&metadata),
                        last_used: metadata.modified().context("look at", &item.path())?,
                    });
                }
            }
        }
        all.sort_by_key(|b| b.digest);
        Ok(all)
    }

    /// Makes the directory a blob goes into, and where it is collected before.
    fn make_blob_dir(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.at(BLOBS).join(digest.algorithm().name());
        make_dir_once(&path)
    }
}

/// Makes a directory unless it is there.
fn make_dir_once(path: &std::path::Path) -> Result<(), Error> {
    match sys::make_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.context("create", path),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
