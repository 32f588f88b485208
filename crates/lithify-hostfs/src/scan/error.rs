//! Why a directory cannot be scanned.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lithify_tree::{Escaped, PathError, WhiteoutError, XattrError};

/// A host path, its bytes escaped.
fn shown(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_bytes())
}

/// Why a directory cannot be scanned. Nothing is skipped: the first error ends the scan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// A system call failed.
    #[error("cannot {operation} `{}`", shown(.path))]
    Io {
        /// What was tried: "open", "list", "read"…
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory to scan is something else.
    #[error("`{}` is not a directory", shown(.path))]
    NotDirectory {
        /// What was named.
        path: PathBuf,
    },
    /// A file is not what it was when the scan reached it.
    #[error("`{}` {change} during the scan: scan a directory that nothing writes to, such as a snapshot", shown(.path))]
    Changed {
        /// Which file.
        path: PathBuf,
        /// How it changed.
        change: Change,
    },
    /// A path over the limits of [`TreePath`](lithify_tree::TreePath).
    #[error("`{}` cannot be in an image", shown(.path))]
    Path {
        /// The host path.
        path: PathBuf,
        /// Which limit.
        source: PathError,
    },
    /// A `.wh.` name that removes nothing; see [`WhiteoutNames`](crate::WhiteoutNames).
    #[error("`{}` is not a valid whiteout", shown(.path))]
    Whiteout {
        /// The host path.
        path: PathBuf,
        /// Why.
        source: WhiteoutError,
    },
    /// A `.wh.` name where it means nothing; see [`WhiteoutNames::Refused`](crate::WhiteoutNames::Refused).
    #[error("`{}` has a name that would be a whiteout in an image, and no image can hold such a file: rename it or leave it out", shown(.path))]
    ReservedName {
        /// The host path.
        path: PathBuf,
    },
    /// An attribute is listed but cannot be read.
    #[error("cannot read extended attribute `{}` of `{}`: scan as the owner or as root, or exclude it", Escaped(.name), shown(.path))]
    Xattr {
        /// Whose.
        path: PathBuf,
        /// Its full name.
        name: Vec<u8>,
        /// What the system said.
        source: io::Error,
    },
    /// An attribute that could not be set anywhere else.
    #[error("extended attribute of `{}`", shown(.path))]
    XattrInvalid {
        /// Whose.
        path: PathBuf,
        /// Why.
        source: XattrError,
    },
    /// A file type Linux does not have.
    #[error("`{}` has the unknown file type {mode:#o}", shown(.path))]
    FileType {
        /// Which file.
        path: PathBuf,
        /// Its type bits.
        mode: u32,
    },
    /// More entries than allowed.
    #[error("more than {limit} files in the directory, the last was `{}`: raise the limit if this is meant", shown(.path))]
    TooManyEntries {
        /// Where the limit was reached.
        path: PathBuf,
        /// [`ScanOptions::entries_max`](crate::ScanOptions::entries_max).
        limit: u64,
    },
    /// The file beside the directory cannot be used.
    #[error(transparent)]
    Sidecar(Box<crate::SidecarError>),
    /// The scan was stopped: [`ScanOptions::cancel`](crate::ScanOptions::cancel).
    #[error(transparent)]
    Cancelled(#[from] lithify_cancel::Cancelled),
    /// `/proc` is not mounted.
    #[error(
        "/proc is not mounted here: it is needed to read files safely (mount -t proc proc /proc)"
    )]
    NoProc,
}

/// How a file changed under the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It has another size.
    Size {
        /// Bytes when the scan reached it.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// It was written to, or its metadata changed.
    Modified,
    /// It is gone, or another file took its name.
    Replaced,
    /// The directory the scan came from was moved elsewhere.
    Moved,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { expected, found } => {
                write!(f, "changed its size from {expected} to {found} bytes")
            }
            Self::Modified => f.write_str("was modified"),
            Self::Replaced => f.write_str("was removed or replaced"),
            Self::Moved => f.write_str("was moved"),
        }
    }
}

/// Why a file's data could not be passed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError<E> {
    /// The host file could not be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The target did not take it.
    #[error(transparent)]
    Sink(E),
    /// The last entry is no regular file, or its data has been taken already.
    #[error("the last entry of the scan has no data to copy")]
    NoFile,
}
