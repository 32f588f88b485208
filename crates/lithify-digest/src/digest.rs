//! The digest value: algorithm and bytes.

use std::fmt;
use std::str::FromStr;

use lithify_escape::Escaped;

use crate::{Algorithm, Hasher};

/// Longest digest of any [`Algorithm`], in bytes.
const MAX_LEN: usize = 64;

/// A content digest such as `sha256:2cf2…`.
///
/// Ordered by algorithm, then by bytes; two digests of different algorithms are never equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// The first `algorithm.len()` bytes are the digest, the rest zero.
    bytes: [u8; MAX_LEN],
}

/// Why a string is not a digest lithify can use.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// No colon between algorithm and value.
    #[error("`{}` is no digest: expected ALGORITHM:HEX, such as sha256:…", Escaped(.found))]
    NoAlgorithm {
        /// The whole string.
        found: String,
    },
    /// An algorithm lithify does not verify.
    #[error("digest algorithm `{}` is not supported: expected sha256, sha384 or sha512", Escaped(.found))]
    UnknownAlgorithm {
        /// The name before the colon.
        found: String,
    },
    /// Too few or too many characters after the colon.
    #[error("a {algorithm} digest has {expected} hexadecimal characters, found {found}")]
    Length {
        /// The algorithm named.
        algorithm: Algorithm,
        /// Characters it needs.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A byte that is not a lower-case hexadecimal digit.
    #[error(
        "a digest has lower-case hexadecimal characters only, found byte 0x{byte:02x} at offset {offset}"
    )]
    NotHex {
        /// The offending byte.
        byte: u8,
        /// Its offset after the colon.
        offset: usize,
    },
}

impl Digest {
    /// The digest of `data`, computed in one go.
    #[must_use]
    pub fn of(algorithm: Algorithm, data: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(data);
        hasher.finish()
    }

    /// A digest from its raw bytes.
    ///
    /// # Errors
    /// [`ParseError::Length`] when `bytes` is not exactly the algorithm's length.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() != algorithm.len() {
            return Err(ParseError::Length {
                algorithm,
                expected: algorithm.len() * 2,
                found: bytes.len() * 2,
            });
        }
        let mut all = [0; MAX_LEN];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(Self {
            algorithm,
            bytes: all,
        })
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw digest bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len()]
    }

    /// The lower-case hexadecimal part, without the algorithm. Safe as a file name.
    #[must_use]
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.as_bytes()
            .iter()
            .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
            .map(char::from)
            .collect()
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let Some((name, hex)) = text.split_once(':') else {
            return Err(ParseError::NoAlgorithm {
                found: text.to_owned(),
            });
        };
        let Some(algorithm) = Algorithm::from_name(name) else {
            return Err(ParseError::UnknownAlgorithm {
                found: name.to_owned(),
            });
        };
        if hex.len() != algorithm.len() * 2 {
            return Err(ParseError::Length {
                algorithm,
                expected: algorithm.len() * 2,
                found: hex.len(),
            });
        }
        let mut bytes = [0; MAX_LEN];
        for (offset, byte) in hex.bytes().enumerate() {
            let nibble = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return Err(ParseError::NotHex { byte, offset }),
            };
            bytes[offset / 2] = bytes[offset / 2] << 4 | nibble;
        }
        Ok(Self { algorithm, bytes })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}
