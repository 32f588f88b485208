//! Versions of the Docker Engine API.

use std::fmt;
use std::str::FromStr;

/// The oldest version spoken: Docker 1.12 of 2016. Its archives name their parts as today's do.
pub const LEAST_VERSION: ApiVersion = ApiVersion {
    major: 1,
    minor: 24,
};

/// A version of the API.
///
/// What is used of it has not changed between [`LEAST_VERSION`] and today, so a daemon is spoken to in its own newest
/// version: it always accepts that, while the oldest one it accepts moves on (Docker 29 refuses all before 1.44).
///
/// ```
/// use lithify_registry::daemon::{ApiVersion, LEAST_VERSION};
///
/// let version: ApiVersion = "1.43".parse().unwrap();
/// assert!(version > LEAST_VERSION);
/// assert!("1.43/../x".parse::<ApiVersion>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    /// The part before the point.
    pub major: u32,
    /// The part after it.
    pub minor: u32,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a version such as {LEAST_VERSION}")]
pub struct NoVersion;

impl FromStr for ApiVersion {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse().map_err(|_| NoVersion),
            false => Err(NoVersion),
        };
        let (major, minor) = text.split_once('.').ok_or(NoVersion)?;
        Ok(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}
