//! The table of filesystems an image file can hold.

/// The filesystems an image file can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Erofs,
    Squashfs,
}

impl Kind {
    /// The name in file names, keys and descriptions.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
        }
    }

    /// The version of the bytes that its writer makes.
    pub(crate) const fn writer_version(self) -> u32 {
        match self {
            Self::Erofs => lithify_erofs::WRITER_VERSION,
            Self::Squashfs => lithify_squashfs::WRITER_VERSION,
        }
    }
}
