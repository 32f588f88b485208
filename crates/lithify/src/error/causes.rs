//! The kind of another library's error, by its causes.

use std::error::Error as StdError;
use std::io;

use super::client;
use super::kind::ErrorKind;

impl ErrorKind {
    /// Returns the kind of another library's error by its causes: what a registry or the system said; `otherwise` if
    /// neither said anything.
    pub(super) fn of_causes(error: &(dyn StdError + 'static), otherwise: Self) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(kind) = client::kind_of(error) {
                return kind;
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return Self::of_io(error);
            }
            cause = error.source();
        }
        otherwise
    }
}
