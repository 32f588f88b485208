//! Kinds of disks.

use std::fmt;
use std::str::FromStr;

use lithify_tree::Escaped;

/// A kind of disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DiskKind {
    /// `disk.vmdk`: a text that lists the image files, so that nothing is copied.
    Vmdk,
    /// `disk.raw`: the same disk as one file.
    Raw,
    /// `disk.gpt`: one file with a partition for each image file.
    Gpt,
}

/// A text that names no kind of disk.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{}` is no kind of disk: expected vmdk, raw or gpt", Escaped(.text))]
pub struct UnknownDisk {
    /// The text.
    pub text: String,
}

impl DiskKind {
    const ALL: [Self; 3] = [Self::Vmdk, Self::Raw, Self::Gpt];

    /// The name on the command line and in descriptions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vmdk => "vmdk",
            Self::Raw => "raw",
            Self::Gpt => "gpt",
        }
    }

    /// The file in the output directory.
    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::Vmdk => "disk.vmdk",
            Self::Raw => "disk.raw",
            Self::Gpt => "disk.gpt",
        }
    }
}

impl fmt::Display for DiskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DiskKind {
    type Err = UnknownDisk;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownDisk {
            text: text.to_owned(),
        })
    }
}
