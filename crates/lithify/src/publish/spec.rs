//! The two conventions for EROFS layers.

use std::fmt;
use std::str::FromStr;

use lithify_oci::manifest::media_type;
use lithify_tree::Escaped;

/// By which convention EROFS layers are described. Both are read, whichever is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErofsSpec {
    /// containerd's, since 2.3: `application/vnd.erofs.layer.v1`.
    #[default]
    Containerd,
    /// The draft EROFS image layer format's: `application/vnd.erofs`, and annotations for the part each layer has. It may
    /// change.
    Draft,
}

impl ErofsSpec {
    pub(super) const fn media_type(self, zstd: bool) -> &'static str {
        match (self, zstd) {
            (Self::Containerd, false) => media_type::EROFS_LAYER,
            (Self::Containerd, true) => media_type::EROFS_LAYER_ZSTD,
            (Self::Draft, false) => media_type::EROFS_DRAFT,
            (Self::Draft, true) => media_type::EROFS_DRAFT_ZSTD,
        }
    }
}

/// A convention that does not exist.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{}` is no convention for EROFS layers: expected containerd or draft", Escaped(.found))]
pub struct UnknownErofsSpec {
    /// What was asked for.
    pub found: String,
}

impl FromStr for ErofsSpec {
    type Err = UnknownErofsSpec;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "containerd" => Ok(Self::Containerd),
            "draft" => Ok(Self::Draft),
            _ => Err(UnknownErofsSpec {
                found: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for ErofsSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Containerd => "containerd",
            Self::Draft => "draft",
        })
    }
}
