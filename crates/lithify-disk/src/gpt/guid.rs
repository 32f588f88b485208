//! Identifiers.

use std::fmt;

/// A GUID as it stands on disk: of its five groups the first three are little-endian (UEFI, appendix A).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

impl Guid {
    /// "Linux filesystem data": 0FC63DAF-8483-4772-8E79-3D69D8477DE4.
    pub const LINUX_DATA: Self = Self([
        0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d,
        0xe4,
    ]);

    /// All zero: the type of an entry that is not used.
    pub const UNUSED: Self = Self([0; 16]);

    /// The GUID with these bytes on disk.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes on disk.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A version 8 UUID (RFC 9562, section 5.8) made of a digest's first bytes.
    pub(crate) fn custom(digest: &[u8; 32]) -> Self {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&digest[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        Self(swapped(uuid))
    }
}

/// Between the order of the text and the order on disk.
fn swapped(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in swapped(self.0).iter().enumerate() {
            if matches!(n, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_groups_are_swapped() {
        let text = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
        assert_eq!(Guid::LINUX_DATA.to_string(), text);
        let custom = Guid::custom(&[0xff; 32]).to_string();
        assert_eq!(custom, "FFFFFFFF-FFFF-8FFF-BFFF-FFFFFFFFFFFF");
    }
}
