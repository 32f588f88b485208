//! The use of fs-verity.

use std::str::FromStr;

/// The use of fs-verity for the files of a composefs image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileVerity {
    /// The kernel compares files with the digests in the image, if their repository is under fs-verity.
    #[default]
    Auto,
    /// As `Auto`, and an image of a repository that is not is refused.
    Require,
    /// Files are read without being compared.
    Off,
}

impl FileVerity {
    /// The words of options.
    pub const WORDS: &[&str] = &["auto", "require", "off"];
}

/// A word that stands for no use of fs-verity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is none of auto, require, off", lithify_tree::Escaped(.0))]
pub struct UnknownFileVerity(String);

impl FromStr for FileVerity {
    type Err = UnknownFileVerity;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "require" => Ok(Self::Require),
            "off" => Ok(Self::Off),
            other => Err(UnknownFileVerity(other.to_owned())),
        }
    }
}
