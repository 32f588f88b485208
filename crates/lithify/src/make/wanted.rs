//! Whether images others made are taken instead of made.

use std::str::FromStr;

use lithify_tree::Escaped;

/// Whether image files that were published beside an image are taken instead of made.
///
/// An image's layers are in its manifest by their digests; that a filesystem is made of them, only the registry says that
/// lists it. Who may push to the repository may list what they like. Hence the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Artifacts {
    /// Never.
    #[default]
    Ignore,
    /// Where there is one; others are made.
    Use,
    /// Always: that there is none is an error.
    Require,
}

/// A way to treat artifacts that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not what is done with artifacts: expected ignore, use or require", Escaped(.found))]
pub struct UnknownArtifacts {
    /// What was given.
    pub found: String,
}

impl FromStr for Artifacts {
    type Err = UnknownArtifacts;

    fn from_str(text: &str) -> Result<Self, UnknownArtifacts> {
        match text {
            "ignore" => Ok(Self::Ignore),
            "use" => Ok(Self::Use),
            "require" => Ok(Self::Require),
            found => Err(UnknownArtifacts {
                found: found.to_owned(),
            }),
        }
    }
}
