//! The error of an operation that was part of another one.

use std::error::Error as StdError;
use std::fmt;

use super::ErrorKind;

/// The error of an operation that was part of another one, and its kind.
#[derive(Debug)]
pub struct Nested {
    kind: ErrorKind,
    source: Box<dyn StdError + Send + Sync>,
}

impl Nested {
    pub(super) fn new(kind: ErrorKind, source: Box<dyn StdError + Send + Sync>) -> Self {
        Self { kind, source }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl StdError for Nested {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}
