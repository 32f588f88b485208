//! Errors of the client of registries, in a library that was built without: there are none.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;

use super::kind::ErrorKind;

/// Returns the kind of the client's error, which this never is.
pub(super) fn kind_of(_: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    None
}

/// Returns the client's error, which never comes.
pub(super) fn of_reader(error: io::Error) -> Result<Infallible, io::Error> {
    Err(error)
}
