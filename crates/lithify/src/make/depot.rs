//! Where artifacts are kept between builds, and where they are made.
//!
//! Usually both are the store. A store that cannot be written still gives what it has; what it lacks is made in a scratch
//! store beside the output, which goes away with the build. So does everything if no store is wanted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lithify_digest::Digest;
use lithify_store::{Access, Entry, Input, InputKind, Key, KeyLock, OpenOptions, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BuildError;
use crate::output::ScratchDirectory;
use crate::session::StoreChoice;
use crate::session::store_choice::recheck_after;
use crate::{CancelToken, Error};

/// A place to find artifacts in and to make them.
#[derive(Debug)]
pub(crate) struct Depot {
    found: Option<Store>,
    made: Store,
    /// Removed with the depot.
    scratch: Option<ScratchDirectory>,
}

impl Depot {
    /// Opens the store, or makes it. A scratch store is made in the directory of `beside`.
    pub(crate) fn open(
        choice: &StoreChoice,
        beside: &Path,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let found = match choice.directory() {
            Ok(None) => None,
            Err(e) if e.is_no_place_for_a_store() => None,
            Err(e) => return Err(e),
            Ok(Some((path, asked_for))) => {
                let options = OpenOptions::new()
                    .create(true)
                    .access(Access::Preferred)
                    .recheck_after(recheck_after());
                match Store::open_until(path, options, cancel) {
                    Ok(store) => Some(store),
                    // A default nobody asked for is no reason to fail.
                    Err(e) if !asked_for && cannot_be(&e) => None,
                    Err(e) => return Err(e.into()),
                }
            }
        };
        if let Some(store) = found.as_ref().filter(|s| !s.read_only()) {
            return Ok(Self {
                made: store.clone(),
                found,
                scratch: None,
            });
        }
        let scratch = ScratchDirectory::create(beside)?;
        Ok(Self {
            found,
            // Not the scratch directory itself: that is locked, and whoever makes a store locks its directory.
            made: Store::open_until(
                scratch.path().join("store"),
                OpenOptions::new().create(true),
                cancel,
            )?,
            scratch: Some(scratch),
        })
    }

    /// Opens the store to look into it, if there is one. Nothing is made.
    pub(crate) fn existing(
        choice: &StoreChoice,
        cancel: &CancelToken,
    ) -> Result<Option<Self>, Error> {
        let (path, asked_for) = match choice.directory() {
            Ok(None) => return Ok(None),
            Err(e) if e.is_no_place_for_a_store() => return Ok(None),
            Err(e) => return Err(e),
            Ok(Some(directory)) => directory,
        };
        let options = OpenOptions::new()
            .access(Access::Preferred)
            .recheck_after(recheck_after());
        match Store::open_until(path, options, cancel) {
            Ok(store) => Ok(Some(Self {
                found: Some(store.clone()),
                made: store,
                scratch: None,
            })),
            Err(e) if !asked_for && cannot_be(&e) => Ok(None),
            Err(e) => match Error::from(e) {
                e if e.is_no_store() => Ok(None),
                e => Err(e),
            },
        }
    }

    /// Whether what is made stays.
    pub(crate) fn keeps(&self) -> Option<&Store> {
        match self.scratch {
            None => Some(&self.made),
            Some(_) => None,
        }
    }

    /// What is there under this key.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        if let Some(store) = &self.found
            && let Some(entry) = store.get(key)?
        {
            return Ok(Some(entry));
        }
        match &self.scratch {
            Some(_) => Ok(self.made.get(key)?),
            None => Ok(None),
        }
    }

    /// Where things are made.
    pub(crate) fn store(&self) -> &Store {
        &self.made
    }

    /// Waits for the right to make what has these keys.
    pub(crate) fn lock_all(&self, keys: &[Key]) -> Result<Vec<KeyLock>, Error> {
        Ok(self.made.lock_all(keys, None)?)
    }
}

/// Whether no store can be where one would be by default: not for this user, or because the home directory of a service
/// account is `/dev/null` or some other place that is none.
fn cannot_be(error: &lithify_store::Error) -> bool {
    let no_place = |e: &std::io::Error| {
        matches!(
            e.kind(),
            std::io::ErrorKind::NotADirectory | std::io::ErrorKind::NotFound
        )
    };
    error.is_read_only()
        || matches!(error, lithify_store::Error::Io { source, .. } if no_place(source))
}

/// A key for what this version of a format's writer makes.
pub(crate) fn key(
    kind: InputKind,
    digest: Digest,
    format: &str,
    version: u32,
    options: BTreeMap<String, String>,
) -> Result<Key, Error> {
    let mut key = Key::new(Input { kind, digest }, format, version.to_string())
        .map_err(lithify_store::Error::from)?;
    for (name, value) in options {
        key = key
            .option(name, value)
            .map_err(lithify_store::Error::from)?;
    }
    Ok(key)
}

/// What is kept with an entry, as the store takes it.
pub(crate) fn to_facts(value: &impl Serialize) -> lithify_store::Facts {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(map)) => map.into_iter().collect(),
        _ => lithify_store::Facts::new(),
    }
}

/// What is kept with an entry, as it was.
pub(crate) fn from_facts<T: DeserializeOwned>(entry: &Entry) -> Result<T, Error> {
    let value = serde_json::Value::Object(entry.facts().clone().into_iter().collect());
    serde_json::from_value(value).map_err(|source| {
        Error::from(BuildError::Facts {
            entry: entry.id().to_string(),
            source,
        })
    })
}

/// A file of an entry, and its path for messages.
pub(crate) fn open_file(entry: &Entry, name: &str) -> Result<(PathBuf, std::fs::File), Error> {
    Ok((entry.path(name)?, entry.open(name)?))
}
