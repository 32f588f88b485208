//! Names of contents.

use std::fmt;
use std::str::FromStr;

use lithify_escape::Escaped;
use lithify_verity::file::{FileAlgorithm, FileDigest};

/// The words in front of the hexadecimal digits: fs-verity, its algorithm, and the binary logarithm of its block size.
const PREFIX: &str = "fsverity-sha256-16:";

/// The digest of a disk's content (see [the module](super)).
///
/// As text it is `fsverity-sha256-16:` and 64 hexadecimal digits, so that nobody takes it for the digest of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest(FileDigest);

/// The reason why words are no content digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is no digest of a disk's content, expected `{PREFIX}` and 64 hexadecimal digits",
    Escaped(found)
)]
pub struct ParseContentDigestError {
    /// The words.
    found: String,
}

impl ContentDigest {
    pub(super) const fn new(digest: FileDigest) -> Self {
        Self(digest)
    }

    /// Returns the fs-verity digest that it is.
    #[must_use]
    pub const fn digest(&self) -> &FileDigest {
        &self.0
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
        let digest = hex.and_then(|hex| FileDigest::from_hex(FileAlgorithm::Sha256, hex).ok());
        digest.map(Self).ok_or_else(|| ParseContentDigestError {
            found: words.to_owned(),
        })
    }
}
