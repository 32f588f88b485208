//! Values.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The largest number that is exact in a double, and so for every reader: 2⁵³ − 1 (RFC 8785, appendix B; ECMA-262,
/// `MAX_SAFE_INTEGER`).
pub(crate) const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A value. Numbers are whole and not negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(u64),
    String(String),
    Array(Vec<Self>),
    Object(Object),
}

/// Values by their keys.
pub(crate) type Object = BTreeMap<Key, Json>;

/// A key of an object. Keys are in the order of their UTF-16 code units (RFC 8785, section 3.2.3), which is not that of their characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) String);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.encode_utf16().cmp(other.0.encode_utf16())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self(key.to_owned())
    }
}
