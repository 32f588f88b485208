//! The filesystems an image file can hold.

/// The filesystems an image file can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Erofs,
    Squashfs,
    Ext4,
}

/// Bytes at the start of an image by which its kind is told.
pub(super) const HEAD: usize = 2048;

/// What images are told by: where it is, and what it is. One that has several is the first.
const MAGICS: [(usize, &[u8], Kind); 3] = [
    (1024, b"\xe2\xe1\xf5\xe0", Kind::Erofs),
    (0, b"hsqs", Kind::Squashfs),
    (1080, b"\x53\xef", Kind::Ext4),
];

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
    pub(super) fn of_head(head: &[u8]) -> Option<Self> {
        let found = MAGICS
            .into_iter()
            .find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
        found.map(|(_, _, kind)| kind)
    }
}
