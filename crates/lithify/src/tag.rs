//! `tag`: one more name for an image of the store.

use std::ffi::OsStr;

use lithify_oci::source::Source;

use crate::Error;
use crate::error::OpenError;
use crate::name::{name_in_store, shown};
use crate::place::store::open_store;
use crate::session::Session;

/// Gives an image of the store one more name. Returns the names as the store knows them.
///
/// # Errors
/// [`OpenError::NotInStore`](crate::OpenError::NotInStore); [`Cause::Store`](crate::Cause::Store).
pub fn tag(
    source: impl AsRef<OsStr>,
    new: impl AsRef<OsStr>,
    session: &Session,
) -> Result<(String, String), Error> {
    let in_store = |name: &OsStr| match Source::parse(name)? {
        Source::Name(reference) | Source::Store(reference) | Source::Docker(reference) => {
            Ok(name_in_store(&reference))
        }
        _ => Err(Error::from(OpenError::NotInStore { name: shown(name) })),
    };
    let (source, new) = (in_store(source.as_ref())?, in_store(new.as_ref())?);
    let store = open_store(&session.store, &session.cancel)?;
    let found = store.find(&source)?;
    if found.is_empty() {
        return Err(Error::from(OpenError::NotInStore { name: source }));
    }
    for tagged in found {
        store.tag(&new, &tagged.descriptor, tagged.index.as_ref())?;
    }
    Ok((source, new))
}
