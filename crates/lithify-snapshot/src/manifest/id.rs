//! Identities.

use std::fmt;
use std::str::FromStr;

use lithify_digest::{Algorithm, Digest};
use lithify_escape::Escaped;

/// The identity of a snapshot: the SHA-256 of what defines it. As text it is `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(Digest);

/// The reason why words are no identity of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is no identity of a snapshot, expected `sha256:` and 64 hexadecimal digits",
    Escaped(found)
)]
pub struct ParseSnapshotIdError {
    /// The words.
    found: String,
}

impl SnapshotId {
    pub(super) fn of(canonical: &str) -> Self {
        Self(Digest::of(Algorithm::Sha256, canonical.as_bytes()))
    }

    /// Returns the digest that it is.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SnapshotId {
    type Err = ParseSnapshotIdError;

    fn from_str(words: &str) -> Result<Self, ParseSnapshotIdError> {
        let digest = words.parse::<Digest>().ok();
        let digest = digest.filter(|digest| digest.algorithm() == Algorithm::Sha256);
        digest.map(Self).ok_or_else(|| ParseSnapshotIdError {
            found: words.to_owned(),
        })
    }
}
