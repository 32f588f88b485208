//! Repositories, opened and created as sessions use them.

use std::path::Path;

use lithify_composefs::repository::{CreateOptions, OpenError, OpenOptions, Repository};

use lithify_tree::Escaped;

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

/// Says what work that failed or was stopped leaves in a repository: objects without a name.
pub(crate) fn note_left(repository: &Repository) {
    let tally = repository.tally();
    if tally.new > 0 {
        let path = Escaped::path(repository.path());
        log::warn!(
            "`{path}` keeps what was written and has no name yet ({}, {} bytes): the next import uses it, `lithify composefs gc {path}` removes it",
            objects(tally.new),
            tally.new_bytes
        );
    }
}

fn objects(count: u64) -> String {
    match count {
        1 => "1 object".to_owned(),
        _ => format!("{count} objects"),
    }
}
