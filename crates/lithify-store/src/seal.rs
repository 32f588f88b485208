//! Records that can tell when a byte of them changed.
//!
//! A record is one line of JSON, `{"record":R,"sha256":"H"}` and a newline: H is the SHA-256 of the bytes of R. What is
//! around R and H is compared byte by byte, so that every byte of the file counts.

use lithify_digest::{Algorithm, Digest};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest record file, in bytes.
pub(crate) const MAX_RECORD: usize = 4 << 20;

const HEAD: &[u8] = b"{\"record\":";
const MIDDLE: &[u8] = b",\"sha256\":\"";
const TAIL: &[u8] = b"\"}\n";
/// What follows the record.
const AFTER: usize = MIDDLE.len() + 64 + TAIL.len();

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// More bytes than any record has.
    #[error("a record has at most {MAX_RECORD} bytes")]
    TooLarge,
    /// Not `{"record":…,"sha256":"…"}` and a newline.
    #[error("not in the form of a record")]
    Form,
    /// The bytes are not those that were written.
    #[error("the record's bytes give sha256 {found}, it says {expected:?}")]
    Digest {
        /// What the record says.
        expected: String,
        /// What its bytes give.
        found: String,
    },
    /// The record is not what should be there.
    #[error("the record does not hold what it should")]
    Json(#[from] serde_json::Error),
    /// A record of a newer lithify.
    #[error("the record has version {found}, this lithify knows {known}")]
    Version {
        /// The version found.
        found: u64,
        /// The newest known.
        known: u64,
    },
    /// A member breaks its rules, or two of them contradict.
    #[error("the record's {member} is wrong: expected {expected}")]
    Member {
        /// Which.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The record is valid, but belongs to another name.
    #[error("the record belongs to {belongs}")]
    Misplaced {
        /// The name it belongs to.
        belongs: String,
    },
}

/// The bytes of a record's file.
pub(crate) fn seal<T: Serialize>(record: &T) -> Result<Vec<u8>, RecordError> {
    let json = serde_json::to_vec(record)?;
    if json.len() > MAX_RECORD - HEAD.len() - AFTER {
        return Err(RecordError::TooLarge);
    }
    let digest = Digest::of(Algorithm::Sha256, &json);
    Ok([HEAD, &json, MIDDLE, digest.hex().as_bytes(), TAIL].concat())
}

/// The record of a file's bytes.
pub(crate) fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    if bytes.len() > MAX_RECORD {
        return Err(RecordError::TooLarge);
    }
    let (json, hex) = parts(bytes).ok_or(RecordError::Form)?;
    let found = Digest::of(Algorithm::Sha256, json).hex();
    if found.as_bytes() != hex {
        return Err(RecordError::Digest {
            expected: String::from_utf8_lossy(hex).into_owned(),
            found,
        });
    }
    Ok(serde_json::from_slice(json)?)
}

/// The record's bytes and its digest's.
fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = bytes.strip_prefix(HEAD)?;
    let (json, after) = inner.split_at_checked(inner.len().checked_sub(AFTER)?)?;
    let hex = after.strip_prefix(MIDDLE)?.strip_suffix(TAIL)?;
    Some((json, hex))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(unseal::<Value>(&bytes).is_err());
        }

        #[test]
        fn each_flipped_bit_is_found(text in ".{0,40}", byte in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let mut bytes = seal(&text).unwrap();
            prop_assert_eq!(&unseal::<String>(&bytes).unwrap(), &text);
            let at = byte.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(unseal::<String>(&bytes).is_err());
        }

        #[test]
        fn cut_or_grown_records_are_refused(text in ".{0,40}", cut in any::<prop::sample::Index>(), more in any::<u8>()) {
            let mut bytes = seal(&text).unwrap();
            prop_assert!(unseal::<String>(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(more);
            prop_assert!(unseal::<String>(&bytes).is_err());
        }
    }

    #[test]
    fn the_form_is_fixed() {
        let bytes = seal(&1).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"record\":1,\"sha256\":\"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b\"}\n"
        );
    }

    #[test]
    fn large_records_are_refused() {
        let text = "x".repeat(MAX_RECORD);
        assert!(matches!(seal(&text), Err(RecordError::TooLarge)));
        let text = "x".repeat(MAX_RECORD + 1);
        assert!(matches!(
            unseal::<String>(text.as_bytes()),
            Err(RecordError::TooLarge)
        ));
    }
}
