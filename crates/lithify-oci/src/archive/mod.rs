//! Archives of images: one pass over the tar headers, then read in place.
//!
//! `docker save`, `podman save`, `skopeo copy … oci-archive:` and others put an image into a tar. Nothing is
//! unpacked here: the headers are walked once, and blobs are then read from where
//! they lie in the archive.
//!
//! - The tar is read by the parser that reads layers, and what is refused in one is refused in the other ([`TarFault`]): readers
//!   that differ about where a member ends see different archives (CVE-2025-62518). Sparse members are refused too, as they
//!   do not lie in one piece. Owners, times and attributes are not looked at.
//! - Names lose leading `/` and `./`; `..` in a name is an error.
//! - Of two entries with one name the last wins, as if the archive had been unpacked; a hard link
//!   made before that keeps the earlier content.
//! - Symbolic links lead to other entries of the same archive (`docker save` before
//!   version 25 links duplicate layers: `<id>/layer.tar -> ../<id>/layer.tar`), at most
//!   [`MAX_LINKS`] in a row, never out of it.
//! - An archive that stops within a member is truncated. One that stops behind a member, without the end mark, has ended:
//!   old writers, and tools that join archives, leave the mark out, and Go's readers do not ask for it. That is no attack:
//!   all readers see the same members, and what an image lacks is missed by its digest. A file of no bytes is truncated.
//!
//! # The one temporary file
//!
//! A compressed archive cannot be read in place. It is decompressed once into an *unlinked* temporary
//! file (`O_TMPFILE` in `$TMPDIR`, else `/tmp`), at most [`spool_bytes`](crate::Limits::spool_bytes)
//! long, which vanishes with the process. The same is done for a pipe, and for what a daemon sends. This is the only place
//! where lithify keeps an unpacked copy of its input.

mod entries;
mod error;
mod read_at;
mod spool;
mod walk;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use lithify_cancel::{CancelToken, Checked};

use crate::Limits;
use crate::opened::Blob;

pub use error::Error;
/// What can be wrong with the tar, as the parser has it.
pub use lithify_tar::{SparseFault, TarError, TarFault};

use entries::{Entries, Found};
pub(crate) use read_at::Extent;
use read_at::ReadAt;
use walk::Tail;

/// Links followed from one name before giving up; Linux allows as many (`path_resolution(7)`).
pub const MAX_LINKS: usize = 40;
/// Longest name and link target in bytes, the `PATH_MAX` of Linux.
pub const MAX_NAME: usize = 4096;

/// An indexed archive. Clones share the file and the index.
///
/// ```
/// use lithify_oci::{Limits, archive::Archive};
///
/// let empty = vec![0; 1024];
/// let archive = Archive::from_bytes(empty, &Limits::default())?;
/// assert!(archive.open_entry("index.json")?.is_none());
/// # Ok::<(), lithify_oci::archive::Error>(())
/// ```
#[derive(Clone)]
pub struct Archive {
    data: Arc<dyn ReadAt>,
    entries: Arc<Entries>,
}

impl Archive {
    /// Opens and indexes the archive in `path`, through a temporary file if it is compressed or
    /// not seekable.
    ///
    /// # Errors
    /// [`Error`]; for a compressed archive the whole of it is read first.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        Self::open_until(path, limits, &CancelToken::new())
    }

    /// As [`open`](Self::open), until the work is stopped.
    ///
    /// # Errors
    /// As [`open`](Self::open); when the work is stopped, one of [`Error::Io`], [`Error::Read`] or [`Error::Decompress`].
    pub fn open_until(path: &Path, limits: &Limits, cancel: &CancelToken) -> Result<Self, Error> {
        Self::index(
            spool::open(path, limits, cancel)?,
            limits,
            Tail::Zeros,
            cancel,
        )
    }

    /// As [`open`](Self::open), but whatever follows the end of the archive is not looked at: for a look at what a file is,
    /// however long it is.
    pub(crate) fn look(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let cancel = CancelToken::new();
        Self::index(
            spool::open(path, limits, &cancel)?,
            limits,
            Tail::Unread,
            &cancel,
        )
    }

    /// Copies what `reader` yields into a temporary file, decompressed, and indexes that.
    ///
    /// # Errors
    /// [`Error`]; those of the reader are in [`Error::Read`], or [`Error::Decompress`] where it is compressed.
    pub fn from_reader(reader: impl Read + 'static, limits: &Limits) -> Result<Self, Error> {
        Self::from_reader_until(reader, limits, &CancelToken::new())
    }

    /// As [`from_reader`](Self::from_reader), until the work is stopped.
    ///
    /// # Errors
    /// As [`open_until`](Self::open_until).
    pub fn from_reader_until(
        reader: impl Read + 'static,
        limits: &Limits,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let reader = Checked::new(reader, cancel);
        Self::index(spool::receive(reader, limits)?, limits, Tail::Zeros, cancel)
    }

    /// Indexes an uncompressed archive in memory.
    ///
    /// # Errors
    /// [`Error`] except those of files and compression.
    pub fn from_bytes(bytes: Vec<u8>, limits: &Limits) -> Result<Self, Error> {
        Self::index(Arc::new(bytes), limits, Tail::Zeros, &CancelToken::new())
    }

    fn index(
        data: Arc<dyn ReadAt>,
        limits: &Limits,
        tail: Tail,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let checked = Checked::new(Arc::clone(&data), cancel);
        let entries = Arc::new(walk::walk(&checked, limits, tail)?);
        Ok(Self { data, entries })
    }

    /// Opens the file `path`, following links within the archive; `None` if there is no such entry.
    ///
    /// # Errors
    /// [`Error::PathEscapes`] for a path with `..` or a leading `/`, the link errors, and
    /// [`Error::NotRegular`].
    pub fn open_entry(&self, path: &str) -> Result<Option<Blob>, Error> {
        Ok(self.extent(path)?.map(|extent| self.blob(extent)))
    }

    /// Number of distinct names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Whether there is an entry of that name, of whatever kind.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.entries.contains(path.as_bytes())
    }

    /// Where the file `path` lies.
    pub(crate) fn extent(&self, path: &str) -> Result<Option<Extent>, Error> {
        match self.entries.find(path.as_bytes())? {
            Some(Found::File(extent)) => Ok(Some(extent)),
            Some(Found::Other) => Err(Error::NotRegular { name: path.into() }),
            None => Ok(None),
        }
    }

    pub(crate) fn blob(&self, extent: Extent) -> Blob {
        Blob::new(extent.reader(Arc::clone(&self.data)), extent.len)
            .with_random_access(Arc::new(extent.window(Arc::clone(&self.data))))
    }

    /// Name, offset and length of every file, links resolved, sorted by name.
    #[doc(hidden)]
    #[must_use]
    pub fn files(&self) -> Vec<(Vec<u8>, u64, u64)> {
        let mut files: Vec<_> = self
            .entries
            .names()
            .filter_map(|name| match self.entries.find(name) {
                Ok(Some(Found::File(extent))) => Some((name.to_vec(), extent.offset, extent.len)),
                _ => None,
            })
            .collect();
        files.sort_unstable();
        files
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}
