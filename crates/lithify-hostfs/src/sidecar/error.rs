//! Why the file beside a directory cannot be used.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lithify_tree::Escaped;

fn shown(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_bytes())
}

/// Why the file that says what a directory lacks of its image cannot be used. It is not passed over: the directory would
/// lose owners, set-user-ID bits and capabilities unsaid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SidecarError {
    /// It cannot be read.
    #[error("cannot read `{}`, which says what the directory lacks of its image", shown(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A link, pipe, directory or device.
    #[error("`{}` is not a regular file: remove it to read the directory as it is", shown(.path))]
    NotFile {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else's file.
    #[error(
        "`{}` belongs to user {owner}, not to the directory's owner ({expected}), root or the caller: who else could give its \
         files set-user-ID bits? Remove it to read the directory as it is", shown(.path)
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose the directory is.
        expected: u32,
    },
    /// A file anyone may have written.
    #[error(
        "`{}` can be written by others than its owner (mode {mode:04o}): take that permission away or remove the file", shown(.path)
    )]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// More than any directory needs.
    #[error("`{}` has more than {limit} {what}", shown(.path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes, lines or bytes in a line.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// Not what `-f dir` of this version writes.
    #[error(
        "`{}`, line {line}: {fault}; build the directory again, or remove the file to read the directory as it is", shown(.path)
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What is wrong there.
        fault: SidecarFault,
    },
}

/// What is wrong in a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SidecarFault {
    /// Another format or version in the first line.
    #[error("it is not in the format `lithify-metadata`, version 2")]
    Header,
    /// No newline at its end: the file was cut off.
    #[error("the file was cut off here")]
    Cut,
    /// No such JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A member with a value it cannot have.
    #[error("`{member}` should be {expected}")]
    Member {
        /// The member.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A path that is no path.
    #[error(transparent)]
    Path(#[from] lithify_tree::PathError),
    /// An attribute that cannot exist.
    #[error(transparent)]
    Xattr(#[from] lithify_tree::XattrError),
    /// A second line for one path.
    #[error("there was a line for `{0}` before")]
    Twice(lithify_tree::TreePath),
}
