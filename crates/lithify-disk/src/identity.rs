//! Identifiers derived from content.

use lithify_digest::{Algorithm, Hasher};

use crate::part::Part;

/// SHA-256 of what something is for and of everything that makes it what it is.
pub(crate) fn digest<'a>(
    purpose: &str,
    numbers: &[u64],
    parts: impl IntoIterator<Item = &'a Part>,
) -> [u8; 32] {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut field = |bytes: &[u8]| {
        // Lengths keep one field's end from being another's start.
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(purpose.as_bytes());
    for number in numbers {
        field(&number.to_le_bytes());
    }
    for part in parts {
        field(&part.size.to_le_bytes());
        field(part.name.as_bytes());
        field(&part.identity);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(hasher.finish().as_bytes());
    digest
}
