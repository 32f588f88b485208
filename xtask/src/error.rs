//! What can go wrong in a task.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a task stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot {doing} {}", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("`{command}` cannot be started (is it installed?)")]
    Start { command: String, source: io::Error },
    #[error("`{command}` failed: {status}")]
    Failed { command: String, status: ExitStatus },
    #[error(
        "{count} tests were skipped, though everything they need can be installed here (see `--allow-skips`)"
    )]
    Skipped { count: usize },
    #[error("{task} needs {need}")]
    Needs { task: &'static str, need: String },
    #[error("{} holds no valid JSON", path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
}

/// Names the file in an I/O error.
pub(crate) trait At<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::File {
            doing,
            path: path.into(),
            source,
        })
    }
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
