//! The ways in which bytes are not those that were promised.

use std::io;

use crate::Digest;

/// The difference between some bytes and the size and digest promised for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The bytes end too early, or are known to be of another number.
    #[error("it has {found} bytes, expected {expected}")]
    Size {
        /// The number of bytes promised.
        expected: u64,
        /// The number of bytes there are.
        found: u64,
    },
    /// More bytes follow the last one promised; how many was not looked at.
    #[error("it goes on after the {expected} bytes expected")]
    Trailing {
        /// The number of bytes promised.
        expected: u64,
    },
    /// The bytes are others.
    #[error("its digest is {found}, expected {expected}")]
    Digest {
        /// The digest promised.
        expected: Box<Digest>,
        /// The digest of the bytes there are.
        found: Box<Digest>,
    },
}

impl Mismatch {
    /// Compares a digest with the one promised.
    ///
    /// # Errors
    /// [`Mismatch::Digest`] if they differ.
    pub fn of_digests(expected: &Digest, found: &Digest) -> Result<(), Self> {
        match expected == found {
            true => Ok(()),
            false => Err(Self::Digest {
                expected: Box::new(*expected),
                found: Box::new(*found),
            }),
        }
    }

    /// Compares a number of bytes with the one promised.
    ///
    /// # Errors
    /// [`Mismatch::Size`] if they differ.
    pub fn of_sizes(expected: u64, found: u64) -> Result<(), Self> {
        match expected == found {
            true => Ok(()),
            false => Err(Self::Size { expected, found }),
        }
    }

    /// Returns the mismatch that a [`VerifiedReader`](crate::VerifiedReader) reported through `error`, if that is
    /// what the error is about.
    #[must_use]
    pub fn in_error(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Mismatch> for io::Error {
    fn from(mismatch: Mismatch) -> Self {
        Self::new(io::ErrorKind::InvalidData, mismatch)
    }
}
