//! Strings that are never printed.

use std::fmt;

/// A password or token. Neither `Debug` nor `Display` shows it; only [`expose`](Self::expose) does.
///
/// ```
/// let secret = lithify_registry::Secret::new("hunter2");
/// assert!(!format!("{secret:?}").contains("hunter2"));
/// assert_eq!(secret.expose(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a string that is not to be printed.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The string, for the one place it is sent to.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
