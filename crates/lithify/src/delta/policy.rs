//! Whether a delta is looked for.

use std::str::FromStr;

use lithify_tree::Escaped;

/// Whether a delta is looked for, and used, where an image is brought from a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeltaPolicy {
    /// Never.
    #[default]
    Never,
    /// If there is one that saves something. What is wrong with it is no reason to fail: the registry has the layers.
    Auto,
    /// Always: without one nothing is brought.
    Require,
}

/// A policy that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy `{}` for deltas: use never, auto or require", Escaped(.found))]
pub struct UnknownDeltaPolicy {
    /// The word that was given.
    pub found: String,
}

impl FromStr for DeltaPolicy {
    type Err = UnknownDeltaPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownDeltaPolicy> {
        match text {
            "never" => Ok(Self::Never),
            "auto" => Ok(Self::Auto),
            "require" => Ok(Self::Require),
            found => Err(UnknownDeltaPolicy {
                found: found.to_owned(),
            }),
        }
    }
}
