//! The filesystems an image file can hold.

/// The filesystems an image file can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Erofs,
    Squashfs,
}

/// The first bytes by which images are told, beside those of EROFS, which has none at its start.
const MAGICS: [(&[u8; 4], Kind); 1] = [(b"hsqs", Kind::Squashfs)];

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 2] = [Self::Erofs, Self::Squashfs];

    /// The name in file names, keys and descriptions.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
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
