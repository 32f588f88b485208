//! Why an output or a scratch file cannot be written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use lithify_tree::Escaped;

use super::ErrorKind;

/// Why an output or a scratch file cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The output path is taken by something that is not a regular file.
    #[error("`{}` exists and is not a regular file; name another output or remove it", Escaped::path(.path))]
    OutputExists {
        /// The output path.
        path: PathBuf,
    },
    /// What stands where an output directory is to stand is not, or not only, the output of an earlier build.
    #[error("`{}` is left as it is: name another output, or remove it first", Escaped::path(.path))]
    NotReplaced {
        /// The output path.
        path: PathBuf,
        /// What it is instead.
        source: Box<crate::ReplaceError>,
    },
    /// The output cannot be written.
    #[error("cannot {operation} `{}`", Escaped::path(.path))]
    Output {
        /// What was being done.
        operation: Operation,
        /// The output path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The scratch file that holds data until it has its place cannot be made, written or read.
    #[error("cannot keep data in a scratch file in `{}`", Escaped::path(.directory))]
    Scratch {
        /// The directory it is in.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A document cannot be written as JSON.
    #[error("a document cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The format cannot go where it was asked to.
    #[error("{format} cannot be written to {destination}")]
    Destination {
        /// The format.
        format: &'static str,
        /// Where it was asked to go.
        destination: &'static str,
    },
    /// Whatever the caller wanted data written to does not take it.
    #[error("cannot write the data")]
    Sink(#[source] io::Error),
}

impl OutputError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OutputExists { .. } | Self::NotReplaced { .. } => ErrorKind::Exists,
            Self::Output { source, .. } => match ErrorKind::of_io(source) {
                // A directory on the way, not what was asked for.
                ErrorKind::NotFound => ErrorKind::Io,
                kind => kind,
            },
            Self::Scratch { .. } | Self::Sink(_) | Self::Json(_) => ErrorKind::Io,
            Self::Destination { .. } => ErrorKind::Usage,
        }
    }
}

/// The step of writing an output that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Making the file.
    Create,
    /// Opening what is there.
    Open,
    /// Writing data.
    Write,
    /// Waiting for the disk.
    Sync,
    /// Giving the finished file its name.
    Rename,
    /// Removing what it replaced.
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename the finished file to",
            Self::Remove => "remove what was replaced, now",
        })
    }
}

/// The directory a path is in, never empty.
pub(crate) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
