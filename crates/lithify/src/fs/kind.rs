//! The filesystems an image file can hold.

/// The filesystems an image file can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Erofs,
    Squashfs,
    Ext4,
}

/// The first bytes by which images are told, beside those of EROFS, which has none at its start.
const MAGICS: [(&[u8; 4], Kind); 1] = [(b"hsqs", Kind::Squashfs)];

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 3] = [Self::Erofs, Self::Squashfs, Self::Ext4];

    /// The name in file names, keys and descriptions.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::Ext4 => "ext4",
        }
    }

    /// Whether it is written to when it is in use, so that its size and room are decided when it is made.
    pub(crate) const fn is_volume(self) -> bool {
        match self {
            Self::Erofs | Self::Squashfs => false,
            Self::Ext4 => true,
        }
    }

    /// Returns the kind of an image that begins so.
    pub(crate) fn of_magic(magic: &[u8; 4]) -> Self {
        let mut known = MAGICS.iter();
        known
            .find(|(known, _)| *known == magic)
            .map_or(Self::Erofs, |(_, kind)| *kind)
    }
}
