//! The policy by which bare names are pulled.

use std::str::FromStr;

use lithify_tree::Escaped;

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullPolicy {
    /// Always: the registry is asked what the name means. What is in the store already is not pulled again.
    Always,
    /// When the store does not have it.
    #[default]
    Missing,
    /// Never.
    Never,
}

/// A policy that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy `{}`: use always, missing or never", Escaped(.found))]
pub struct UnknownPolicy {
    /// What was given.
    pub found: String,
}

impl FromStr for PullPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "always" => Ok(Self::Always),
            "missing" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            found => Err(UnknownPolicy {
                found: found.to_owned(),
            }),
        }
    }
}
