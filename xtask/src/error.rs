//! What can go wrong in a task.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

/// Why a task stopped. Written by hand, because a derive would cost more building than all the rest.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory cannot be used.
    File {
        /// The verb: "open", "write to".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A program cannot be started.
    Start {
        /// The command as one would type it.
        command: String,
        /// What the system says.
        source: io::Error,
    },
    /// A program ended without success.
    Failed {
        /// The command as one would type it.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// Tests failed.
    Tests {
        /// Their number.
        count: usize,
    },
    /// Tests were skipped where all can run.
    Skipped {
        /// Their number.
        count: usize,
    },
    /// Something a task builds on is not there.
    Needs {
        /// The task.
        task: &'static str,
        /// The need.
        need: String,
    },
    /// A thread of the task panicked.
    Panicked {
        /// The task.
        task: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { doing, path, .. } => write!(f, "cannot {doing} {}", path.display()),
            Self::Start { command, .. } => {
                write!(f, "`{command}` cannot be started (is it installed?)")
            }
            Self::Failed { command, status } => write!(f, "`{command}` failed: {status}"),
            Self::Tests { count } => write!(f, "{count} tests failed"),
            Self::Skipped { count } => write!(
                f,
                "{count} tests were skipped, though everything they need can be installed here (see `--allow-skips`)"
            ),
            Self::Needs { task, need } => write!(f, "{task} needs {need}"),
            Self::Panicked { task } => write!(f, "{task} panicked"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::File { source, .. } | Self::Start { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Names the file in an I/O error.
pub trait At<T> {
    /// Adds the verb and the file.
    ///
    /// # Errors
    /// The error it was, as [`Error::File`].
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::File {
            doing,
            path: path.into(),
            source: source.into(),
        })
    }
}

/// An error with all its causes, on one line.
#[must_use]
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// The exit code of a task, whose error, if any, is shown.
#[must_use]
pub fn exit_code(result: &Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(error));
            ExitCode::FAILURE
        }
    }
}
