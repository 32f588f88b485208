//! Why a command did not succeed.

use std::io;

use lithify::{Cause, ErrorKind, OutputError};

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An argument is wrong.
    Usage(String),
    /// The library says why.
    Library(lithify::Error),
    /// Something around the library.
    Other(String),
    /// What was checked is not as it should be; what exactly was printed.
    Damaged(String),
    /// Nobody reads standard output any more.
    ClosedPipe,
}

impl From<lithify::Error> for Failure {
    fn from(error: lithify::Error) -> Self {
        // Standard output is all that is written to and may be a pipe.
        match error.cause() {
            Cause::Output(OutputError::Sink(source)) => return Self::of_stdout(source),
            Cause::Output(OutputError::Output { source, .. })
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                return Self::ClosedPipe;
            }
            _ => {}
        }
        match error.kind() {
            ErrorKind::Usage => Self::Usage(error.report()),
            _ => Self::Library(error),
        }
    }
}

impl From<io::Error> for Failure {
    /// Errors of standard output: everything else is wrapped by the library.
    fn from(error: io::Error) -> Self {
        Self::of_stdout(&error)
    }
}

impl Failure {
    fn of_stdout(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Other(format!("cannot write to standard output: {error}")),
        }
    }
}
