//! Why the store cannot do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use lithify_digest::{Digest, Mismatch};
use lithify_escape::{Escaped, Printable};

use crate::fault::{DocumentError, IndexError};
use crate::{EntryId, KeyError, RecordError};

/// Why the store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no store, and none was to be made.
    #[error("there is no store at `{path}`", path = Escaped::path(.path))]
    NoStore {
        /// Where one was expected.
        path: PathBuf,
    },
    /// The directory holds something else.
    #[error(
        "`{path}` is not a store of lithify: expected one or an empty directory, found `{found}` in it; name another directory", path = Escaped::path(.path), found = Escaped::path(.found))]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// One thing in it that is not a store's.
        found: PathBuf,
    },
    /// A directory of the store is a symbolic link.
    #[error(
        "`{path}` is a symbolic link, and none inside a store is followed: move the whole store and name it, or mount there what it leads to", path = Escaped::path(.path))]
    LinkedDirectory {
        /// The link.
        path: PathBuf,
    },
    /// The store has a layout this program does not know.
    #[error(
        "the store `{path}` was made by a newer lithify: version {found}, this one knows {known}; update lithify or name another store", path = Escaped::path(.path))]
    NewerVersion {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version known here.
        known: u64,
    },
    /// The file that says what version the store has cannot be believed.
    #[error("the store `{path}` does not say which version it has: run `lithify fsck`, which repairs it", path = Escaped::path(.path))]
    Version {
        /// The store.
        path: PathBuf,
        /// What is wrong with the file.
        source: RecordError,
    },
    /// Something has to be written, and the store cannot be.
    #[error("the store `{path}` can only be read, and what was asked for is not in it", path = Escaped::path(.path))]
    ReadOnly {
        /// The store, or the file that could not be written.
        path: PathBuf,
    },
    /// An entry was begun without a key and committed without one.
    #[error("the entry has no key yet: tell it when it is committed")]
    NoKey,
    /// The caller may not do it.
    #[error("no permission to {operation} `{path}`", path = Escaped::path(.path))]
    Permission {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full, or the caller's quota used up.
    #[error(
        "cannot {operation} `{path}`: no space left; make room and try again (gc removes what no image uses, rm an image; neither needs any)", path = Escaped::path(.path))]
    Full {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Any other failure of the system.
    #[error("cannot {operation} `{path}`", path = Escaped::path(.path))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key breaks the rules of keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A record is damaged, and going on would need it.
    #[error("the record `{path}` is damaged: run `lithify fsck`, which sets it aside", path = Escaped::path(.path))]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A record to be written breaks the rules of records.
    #[error("this cannot be recorded for {what}")]
    Unrecordable {
        /// For what.
        what: String,
        /// Why not.
        source: RecordError,
    },
    /// An artifact's file has a name it may not have.
    #[error(
        "`{name}` cannot be the name of an artifact's file: expected 1 to 128 of A-Z a-z 0-9 . _ -, no dot first, and neither `entry.json` nor `stamp.json`", name = Escaped::path(.name))]
    FileName {
        /// The name.
        name: String,
    },
    /// An entry under construction holds something else than files.
    #[error("`{path}` cannot be stored: expected a regular file with one name", path = Escaped::path(.path))]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// A file was written to while it was being stored.
    #[error("`{path}` changed while it was being stored", path = Escaped::path(.path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The entry has no such file.
    #[error("entry {entry} has no file `{name}`, only {available}", name = Escaped::path(.name))]
    NoSuchFile {
        /// The entry.
        entry: EntryId,
        /// The file asked for.
        name: String,
        /// Those there are, separated by commas.
        available: String,
    },
    /// An image record names an entry that is not there.
    #[error("the image `{image}` cannot be recorded: its artifact {entry} is not in the store", image = Printable(.image))]
    MissingEntry {
        /// The image.
        image: String,
        /// The entry.
        entry: EntryId,
    },
    /// The destination of an export is something a file must not replace.
    #[error("`{path}` exists and is not a regular file", path = Escaped::path(.path))]
    Destination {
        /// The destination.
        path: PathBuf,
    },
    /// A blob was given other bytes than its size and digest say. Too few are kept, to go on from; others are gone.
    #[error("the bytes given for the blob {digest} are not its own: {source}{}", resumed_text(*.resumed))]
    BlobMismatch {
        /// The blob.
        digest: Box<Digest>,
        /// The difference.
        source: Mismatch,
        /// How many of them were there before, from an earlier attempt that may be what was wrong: with any, it is worth
        /// beginning again.
        resumed: u64,
    },
    /// An image cannot be named: a part of it is not there.
    #[error(
        "the image `{image}` cannot be named: its blob {digest} of {size} bytes is not in the store", image = Printable(.image))]
    MissingBlob {
        /// The name.
        image: String,
        /// The blob.
        digest: Box<Digest>,
        /// Its size in bytes.
        size: u64,
    },
    /// A manifest or index in use is damaged, and going on would need it.
    #[error(
        "the manifest {digest} is damaged: pull its image again, or run `lithify fsck`, which sets it aside"
    )]
    Manifest {
        /// The blob.
        digest: Box<Digest>,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// The list of images cannot be used.
    #[error("the list of images `{path}` is no good: run `lithify fsck`, which makes a new one", path = Escaped::path(.path))]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IndexError,
    },
    /// An image has a name it may not have.
    #[error(
        "`{name}` cannot be the name of an image: expected 1 to 4096 bytes, without control characters", name = Printable(.name))]
    Name {
        /// The name.
        name: String,
    },
    /// The work was stopped. What is there is whole; what was begun, the next collection takes away.
    #[error("cancelled")]
    Cancelled,
    /// The caller gave up waiting for a blob.
    #[error("gave up waiting for another process that fetches {digest}")]
    AbandonedBlob {
        /// The blob waited for.
        digest: Box<Digest>,
    },
    /// The caller gave up waiting for a lock.
    #[error("gave up waiting for another process that builds {key}")]
    Abandoned {
        /// The entry waited for.
        key: EntryId,
    },
}

impl From<lithify_cancel::Cancelled> for Error {
    fn from(_: lithify_cancel::Cancelled) -> Self {
        Self::Cancelled
    }
}

fn resumed_text(resumed: u64) -> String {
    match resumed {
        0 => String::new(),
        n => format!(", of which {n} bytes were there before"),
    }
}

impl Error {
    /// The variant that says most about what the system said.
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        if source
            .get_ref()
            .is_some_and(|e| e.is::<lithify_cancel::Cancelled>())
        {
            return Self::Cancelled;
        }
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                operation,
                path,
                source,
            },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            io::ErrorKind::PermissionDenied => Self::Permission {
                operation,
                path,
                source,
            },
            _ => Self::Io {
                operation,
                path,
                source,
            },
        }
    }

    /// Whether the store cannot be written, for its filesystem or for the caller: whoever builds can go on without it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::ReadOnly { .. } | Self::Permission { .. })
    }
}

/// Names the operation and the path of a failed system call.
pub(crate) trait Context<T> {
    /// Turns the system's error into the store's.
    fn context(self, operation: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::io(operation, path, source))
    }
}
