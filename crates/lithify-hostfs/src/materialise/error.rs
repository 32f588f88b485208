//! Why a directory cannot be written.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lithify_tree::Escaped;

fn shown(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_bytes())
}

/// Why a directory cannot be written. After any of these the target is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialiseError {
    /// The target holds something.
    #[error("`{}` is not empty: name a directory that does not exist yet, or an empty one", shown(.path))]
    TargetNotEmpty {
        /// The target.
        path: PathBuf,
    },
    /// The target exists and is no directory. A symbolic link is none, whatever it leads to.
    #[error("`{}` exists and is not a directory: name one that does not exist yet", shown(.path))]
    TargetNotDirectory {
        /// The target.
        path: PathBuf,
    },
    /// The target ends in `..` or is `/`, and so has no place next to it to work in.
    #[error("`{}` cannot be a target: its last component must be a name", shown(.path))]
    TargetName {
        /// The target.
        path: PathBuf,
    },
    /// The target has a filesystem mounted on it, and a directory cannot be renamed over that.
    #[error("`{}` is a mount point: name a directory inside it", shown(.path))]
    TargetMountPoint {
        /// The target.
        path: PathBuf,
    },
    /// Where the metadata file would stand, or one of an earlier directory would be removed, is something else.
    #[error(
        "`{}` is in the way: what a directory cannot hold is written there, and this is no file lithify wrote; move it, or name another target",
        shown(.path)
    )]
    SidecarTaken {
        /// What is in the way.
        path: PathBuf,
    },
    /// The work was stopped: [`MaterialiseOptions::cancel`](crate::MaterialiseOptions::cancel).
    #[error(transparent)]
    Cancelled(#[from] lithify_cancel::Cancelled),
    /// A system call on the target or next to it failed.
    #[error("cannot {operation} `{}`", shown(.path))]
    Target {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A system call on a file of the image failed.
    #[error("cannot {operation} `/{}` of the image", Escaped(.path))]
    Entry {
        /// What was tried.
        operation: &'static str,
        /// Path in the image, without leading slash.
        path: Vec<u8>,
        /// What the system said.
        source: io::Error,
    },
    /// File data could not be stored; whose it is was not known yet.
    #[error("cannot {operation} file data")]
    Data {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// More or less data than announced for a file.
    #[error("a file of {expected} data bytes was announced, {found} came")]
    DataLength {
        /// Data bytes announced, holes not counted.
        expected: u64,
        /// Data bytes seen.
        found: u64,
    },
    /// Segments that overlap, descend or reach past the end of their file.
    #[error(
        "data segment at offset {offset} of {length} bytes does not fit a file of {size} bytes after the segment before it"
    )]
    Segment {
        /// Offset in the file.
        offset: u64,
        /// Length in bytes.
        length: u64,
        /// Size of the file.
        size: u64,
    },
    /// `write` or `finish` without `begin`.
    #[error("file data came before any file was begun")]
    NotBegun,
    /// More than 2³² files.
    #[error("more than 2^32 files with data")]
    TooManyFiles,
    /// The tree names content that no sink of this target took.
    #[error("nobody stored the {size} bytes of `/{}`", Escaped(.path))]
    ContentMissing {
        /// Path in the image, without leading slash.
        path: Vec<u8>,
        /// Size of the file.
        size: u64,
    },
    /// Something could not be set, and [`MaterialiseOptions::strict`](crate::MaterialiseOptions::strict) is on.
    #[error("cannot set {what} of `/{}`: the target would differ from the image", Escaped(.path))]
    NotSettable {
        /// What: "owner", "device", "setuid bits", "modification time", or an attribute's name.
        what: String,
        /// Path in the image, without leading slash.
        path: Vec<u8>,
        /// What the system said, if it was asked.
        source: Option<io::Error>,
    },
}
