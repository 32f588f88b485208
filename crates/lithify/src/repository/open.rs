//! Repositories, opened and created as sessions use them.

use std::path::Path;

use lithify_composefs::repository::{CreateOptions, OpenError, OpenOptions, Repository};

use crate::Error;
use crate::error::ComposefsError;
use crate::session::Session;

/// Opens the repository at a path.
pub(crate) fn open(path: &Path, session: &Session) -> Result<Repository, Error> {
    let options = OpenOptions::new().cancel(&session.cancel);
    Ok(Repository::open(path, &options).map_err(ComposefsError::from)?)
}

/// Opens the repository at a path, whatever its properties are, or creates one with these.
pub(crate) fn create(
    path: &Path,
    options: &CreateOptions,
    durable: bool,
    session: &Session,
) -> Result<Repository, Error> {
    let use_options = OpenOptions::new().cancel(&session.cancel).sync(durable);
    let opened = match Repository::open(path, &use_options) {
        Err(OpenError::NotARepository { .. } | OpenError::Missing { .. }) => {
            Repository::create(path, options, &use_options)
        }
        opened => opened,
    };
    Ok(opened.map_err(ComposefsError::from)?)
}
