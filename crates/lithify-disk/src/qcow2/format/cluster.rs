//! The unit of allocation.

/// The size of a cluster: a power of two from 512 bytes to 2 MiB.
///
/// The lower bound is that of the format. The upper one is QEMU's, which opens no image with larger
/// clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterSize {
    bits: u32,
}

impl ClusterSize {
    /// The smallest size, 512 bytes.
    pub const MIN: Self = Self { bits: 9 };
    /// The largest size, 2 MiB.
    pub const MAX: Self = Self { bits: 21 };
    /// The size that `qemu-img create` uses when none is given, 64 KiB.
    pub const DEFAULT: Self = Self { bits: 16 };

    /// Returns the size of so many bytes, if it is one.
    #[must_use]
    pub const fn new(bytes: u64) -> Option<Self> {
        match bytes.is_power_of_two() {
            true => Self::from_bits(bytes.trailing_zeros()),
            false => None,
        }
    }

    /// Returns the size whose binary logarithm is `bits`, if it is one.
    pub(in crate::qcow2) const fn from_bits(bits: u32) -> Option<Self> {
        match Self::MIN.bits <= bits && bits <= Self::MAX.bits {
            true => Some(Self { bits }),
            false => None,
        }
    }

    /// Returns the size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.bits
    }

    /// Returns the binary logarithm of the size in bytes.
    pub(in crate::qcow2) const fn bits(self) -> u32 {
        self.bits
    }

    /// Returns the size as a length in memory.
    pub(in crate::qcow2) const fn length(self) -> usize {
        1 << self.bits
    }

    /// Returns the bytes of `offset` behind the start of its cluster.
    pub(in crate::qcow2) const fn within(self, offset: u64) -> u64 {
        offset & (self.bytes() - 1)
    }

    /// Tells whether a cluster starts at `offset`.
    pub(in crate::qcow2) const fn is_aligned(self, offset: u64) -> bool {
        self.within(offset) == 0
    }
}

impl Default for ClusterSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_within_bounds() {
        for bytes in [0, 1, 256, 511, 513, 3 << 16, 4 << 20, u64::MAX] {
            assert_eq!(ClusterSize::new(bytes), None, "{bytes}");
        }
        for bits in 9..=21 {
            let size = ClusterSize::new(1 << bits).unwrap();
            assert_eq!((size.bytes(), size.length()), (1 << bits, 1 << bits));
            assert!(size.is_aligned(3 << bits) && !size.is_aligned((3 << bits) + 1));
        }
        assert_eq!(ClusterSize::default().bytes(), 65_536);
    }
}
