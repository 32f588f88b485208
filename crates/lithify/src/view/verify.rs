//! Checks of what has a name.

use std::ffi::OsStr;

use lithify_oci::source::Source;

use super::subject::Subject;
use crate::Error;
use crate::fs::VerifyReport;
use crate::name::shown;
use crate::repository::{self, Named};
use crate::session::Session;

/// Checks an image or an artifact by its name.
///
/// Of an image in a composefs repository (`composefs:REPO[:NAME]`) the composefs image is checked too: its bytes by its id, its
/// structure, and every object it refers to by its name. Of an image of a file tree that is all. Anything else is checked by
/// [`Subject::verify`].
///
/// # Errors
/// As [`Subject::open`] and [`Subject::verify`]; [`ComposefsError::Files`](crate::ComposefsError::Files) with all damaged files.
pub fn verify(name: impl AsRef<OsStr>, session: &Session) -> Result<VerifyReport, Error> {
    let name = name.as_ref();
    if Source::has_transport(name)
        && let Source::Composefs { path, selector } = Source::parse(name)?
    {
        let find = || {
            let repository = repository::open(&path, session)?;
            let named = Named::find(&repository, selector.as_ref(), &shown(name))?;
            Ok((repository, named))
        };
        let (repository, named) = find().map_err(|e: Error| session.reason(e))?;
        let id = named.image(&repository)?;
        let check = || repository::verify::verify(&repository, &id, &shown(name), session);
        let files = check().map_err(|e| session.reason(e))?;
        if matches!(named, Named::Tree(_)) {
            return Ok(files);
        }
        let mut layers = Subject::open(name, session)?.verify(session)?;
        layers.bytes += files.bytes;
        layers.composefs = files.composefs;
        return Ok(layers);
    }
    Subject::open(name, session)?.verify(session)
}
