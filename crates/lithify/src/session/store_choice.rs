//! The choice of a store.

use std::path::PathBuf;
use std::time::Duration;

use lithify_store::{OpenOptions, Store};

use crate::error::OpenError;
use crate::{CancelToken, Error};

/// Which store to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreChoice {
    /// The directory `$LITHIFY_STORE`, else `lithify` in the platform's data directory.
    #[default]
    Default,
    /// This directory.
    At(PathBuf),
    /// None: nothing is reused and nothing kept.
    None,
}

impl StoreChoice {
    /// The directory, and whether someone asked for this very one.
    ///
    /// # Errors
    /// [`OpenError::NoStoreDirectory`](crate::OpenError::NoStoreDirectory) when nothing says where it is.
    pub(crate) fn directory(&self) -> Result<Option<(PathBuf, bool)>, Error> {
        let set = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        match self {
            Self::None => Ok(None),
            Self::At(path) => Ok(Some((path.clone(), true))),
            Self::Default => {
                if let Some(path) = set("LITHIFY_STORE") {
                    return Ok(Some((path, true)));
                }
                let data = set("XDG_DATA_HOME")
                    .filter(|path| path.is_absolute())
                    .or_else(|| set("HOME").map(|home| home.join(".local/share")));
                match data {
                    Some(data) => Ok(Some((data.join("lithify"), false))),
                    None => Err(Error::from(OpenError::NoStoreDirectory)),
                }
            }
        }
    }

    /// Opens the store to look after it: list, check and collect what is in it.
    ///
    /// # Errors
    /// [`Cause::Store`](crate::Cause::Store) when there is none or it cannot be used; [`OpenError::NoStoreDirectory`](crate::OpenError::NoStoreDirectory) for none at all.
    pub fn open(&self, options: OpenOptions) -> Result<Store, Error> {
        self.open_until(options, &CancelToken::new())
    }

    /// As [`open`](Self::open); whatever waits for another process gives up when the work is stopped.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Cause::Cancelled`](crate::Cause::Cancelled).
    pub fn open_until(&self, options: OpenOptions, cancel: &CancelToken) -> Result<Store, Error> {
        let (path, _) = self
            .directory()?
            .ok_or(Error::from(OpenError::NoStoreDirectory))?;
        let options = options.recheck_after(recheck_after());
        Ok(Store::open_until(path, options, cancel)?)
    }
}

/// How long stored files are believed without being read: the days of `$LITHIFY_RECHECK_DAYS`, or `never`.
pub(crate) fn recheck_after() -> Option<Duration> {
    let usual = Some(lithify_store::RECHECK_AFTER);
    let Some(text) = std::env::var_os("LITHIFY_RECHECK_DAYS").filter(|text| !text.is_empty())
    else {
        return usual;
    };
    if text == "never" {
        return None;
    }
    let days = text.to_str().and_then(|days| days.parse::<u32>().ok());
    if days.is_none() {
        log::warn!("$LITHIFY_RECHECK_DAYS is neither a number of days nor `never`: not used");
    }
    days.map_or(usual, |days| {
        Some(Duration::from_secs(u64::from(days) * DAY))
    })
}

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;
