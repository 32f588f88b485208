//! Errors of the client of registries, found among the causes of others.

use std::error::Error as StdError;
use std::io;

use lithify_registry::{Error, source_of};

use super::kind::ErrorKind;

/// Returns the kind of the client's error, if this is one or is about one.
pub(super) fn kind_of(error: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    let of_io = || error.downcast_ref::<io::Error>().and_then(source_of);
    let found = error.downcast_ref::<Error>().or_else(of_io)?;
    Some(ErrorKind::of_registry(found))
}

/// Returns the client's error, if it came so through a reader.
pub(super) fn of_reader(error: io::Error) -> Result<Error, io::Error> {
    error.downcast::<Error>()
}
