//! The value: algorithm and bytes.

use std::fmt;

use lithify_digest::{Digest, ParseError};

use super::FileAlgorithm;

/// A file digest of fs-verity, of blocks of 4096 bytes and no salt unless its maker said otherwise. Shown as `sha256:HEX`.
///
/// It is not the digest of the file's bytes, and so another type than [`Digest`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileDigest {
    algorithm: FileAlgorithm,
    digest: Digest,
}

impl FileDigest {
    /// Returns the digest of these bytes.
    ///
    /// # Errors
    /// [`DigestError::Length`] if the algorithm's digests have another length.
    pub fn from_bytes(algorithm: FileAlgorithm, bytes: &[u8]) -> Result<Self, DigestError> {
        let digest = Digest::from_bytes(algorithm.hash(), bytes);
        let digest = digest.map_err(|_| DigestError::Length {
            algorithm,
            expected: algorithm.digest_size(),
            found: bytes.len(),
        })?;
        Ok(Self { algorithm, digest })
    }

    /// Parses lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`DigestError::Text`].
    pub fn from_hex(algorithm: FileAlgorithm, hex: &str) -> Result<Self, DigestError> {
        let digest = format!("{algorithm}:{hex}").parse()?;
        Ok(Self { algorithm, digest })
    }

    pub(super) fn of_descriptor(algorithm: FileAlgorithm, descriptor: &[u8]) -> Self {
        Self {
            algorithm,
            digest: Digest::of(algorithm.hash(), descriptor),
        }
    }

    /// Returns the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> FileAlgorithm {
        self.algorithm
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.digest.as_bytes()
    }

    /// Returns the lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.digest.hex()
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.digest, f)
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileDigest({self})")
    }
}

/// Bytes or digits that are no file digest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// Too many bytes, or too few.
    #[error("a {algorithm} digest has {expected} bytes, found {found}")]
    Length {
        /// The algorithm.
        algorithm: FileAlgorithm,
        /// Bytes it needs.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// Text that is none.
    #[error(transparent)]
    Text(#[from] ParseError),
}
