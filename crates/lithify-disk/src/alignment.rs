//! Where parts may start.

use crate::SECTOR;

/// What offsets of parts are multiples of: a power of two from 512 bytes to 1 GiB.
///
/// ```
/// use lithify_disk::Alignment;
///
/// assert_eq!(Alignment::new(2 << 20), Some(Alignment::HUGE_PAGE));
/// assert_eq!(Alignment::new(3000), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alignment(u64);

impl Alignment {
    /// 512 bytes: parts follow each other without a gap.
    pub const SECTOR: Self = Self(SECTOR);
    /// 1 MiB, what partitioning programs use.
    pub const MEBIBYTE: Self = Self(1 << 20);
    /// 2 MiB, for guests that map the disk's memory directly (DAX) with huge pages.
    pub const HUGE_PAGE: Self = Self(2 << 20);

    const MAX: u64 = 1 << 30;

    /// An alignment in bytes, if it is a power of two from 512 to 2³⁰.
    #[must_use]
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= SECTOR && bytes <= Self::MAX {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The first multiple that is not less than `offset`.
    pub(crate) fn round_up(self, offset: u64) -> Option<u64> {
        offset.checked_next_multiple_of(self.0)
    }
}
