//! Names of contents.

use std::fmt;
use std::str::FromStr;

use lithify_digest::{Algorithm, Digest};

/// The words in front of the hexadecimal digits. They are an algorithm by the grammar of OCI digests, and none that a blob has.
const PREFIX: &str = "disk1+sha256:";

/// The digest of a disk's content (see [the module](super)).
///
/// As text it is `disk1+sha256:` and 64 hexadecimal digits, so that nobody takes it for the digest of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest(Digest);

/// The reason why words are no content digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is no digest of a disk's content, expected `{PREFIX}` and 64 hexadecimal digits"
)]
pub struct ParseContentDigestError {
    /// The words.
    found: String,
}

impl ContentDigest {
    pub(super) const fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// Returns the bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0.hex())
    }
}

impl FromStr for ContentDigest {
    type Err = ParseContentDigestError;

    fn from_str(words: &str) -> Result<Self, ParseContentDigestError> {
        let hex = words.strip_prefix(PREFIX);
        let digest = hex.and_then(|hex| format!("{}:{hex}", Algorithm::Sha256).parse().ok());
        digest.map(Self).ok_or_else(|| ParseContentDigestError {
            found: lithify_escape::Escaped(words.as_bytes()).to_string(),
        })
    }
}
