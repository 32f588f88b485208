//! Inodes: 32 bytes (compact) or 64 (extended), on 32-byte slots.

use lithify_tree::Timestamp;

use super::{get_u16, get_u32, get_u64, put};

/// Size of a slot, in bytes: an inode's nid is the number of its first slot.
pub(crate) const SLOT_SIZE: usize = 32;

/// Fields both forms have at the same place.
mod common {
    pub(super) const FORMAT: usize = 0;
    pub(super) const XATTR_COUNT: usize = FORMAT + size_of::<u16>();
    pub(super) const MODE: usize = XATTR_COUNT + size_of::<u16>();
    /// Link count of a compact inode, reserved in an extended one.
    pub(super) const NLINK_16: usize = MODE + size_of::<u16>();
    pub(super) const SIZE: usize = NLINK_16 + size_of::<u16>();
}

/// The 32-byte form.
mod compact {
    use super::common;

    pub(super) const RESERVED: usize = common::SIZE + size_of::<u32>();
    pub(super) const UNION: usize = RESERVED + size_of::<u32>();
    pub(super) const INO: usize = UNION + size_of::<u32>();
    pub(super) const UID: usize = INO + size_of::<u32>();
    pub(super) const GID: usize = UID + size_of::<u16>();
    pub(super) const RESERVED_2: usize = GID + size_of::<u16>();
    pub(super) const LEN: usize = RESERVED_2 + size_of::<u32>();
}

/// The 64-byte form.
mod extended {
    use super::common;

    pub(super) const UNION: usize = common::SIZE + size_of::<u64>();
    pub(super) const INO: usize = UNION + size_of::<u32>();
    pub(super) const UID: usize = INO + size_of::<u32>();
    pub(super) const GID: usize = UID + size_of::<u32>();
    pub(super) const MTIME: usize = GID + size_of::<u32>();
    pub(super) const NANOSECONDS: usize = MTIME + size_of::<u64>();
    pub(super) const NLINK: usize = NANOSECONDS + size_of::<u32>();
    pub(super) const RESERVED: usize = NLINK + size_of::<u32>();
    pub(super) const LEN: usize = RESERVED + 16;
}

/// Length of a compact inode, in bytes.
pub(crate) const COMPACT_LEN: usize = compact::LEN;

/// Length of an extended inode, in bytes.
pub(crate) const EXTENDED_LEN: usize = extended::LEN;

const _: () = assert!(COMPACT_LEN == SLOT_SIZE && EXTENDED_LEN == 2 * SLOT_SIZE);

/// Bit 0 of the format field: an extended inode.
const FORMAT_EXTENDED: u16 = 1;

/// Bits 1 to 3 of the format field: the data layout.
const FORMAT_LAYOUT_SHIFT: u16 = 1;
const FORMAT_LAYOUT_MASK: u16 = 7;

/// All bits of the format field in use.
const FORMAT_KNOWN: u16 = FORMAT_EXTENDED | FORMAT_LAYOUT_MASK << FORMAT_LAYOUT_SHIFT;

/// How an inode's data is stored (`EROFS_INODE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataLayout {
    /// Consecutive blocks.
    Plain,
    /// Compressed, 8-byte indexes. Read, never written.
    CompressedFull,
    /// Consecutive blocks, the rest behind the inode.
    Inline,
    /// Compressed, packed indexes.
    CompressedCompact,
    /// Chunks found through a map behind the inode; some may be holes.
    Chunked,
}

impl DataLayout {
    const fn bits(self) -> u16 {
        match self {
            Self::Plain => 0,
            Self::CompressedFull => 1,
            Self::Inline => 2,
            Self::CompressedCompact => 3,
            Self::Chunked => 4,
        }
    }

    const fn from_bits(bits: u16) -> Option<Self> {
        Some(match bits {
            0 => Self::Plain,
            1 => Self::CompressedFull,
            2 => Self::Inline,
            3 => Self::CompressedCompact,
            4 => Self::Chunked,
            _ => return None,
        })
    }
}

/// The fields of an inode, whichever form it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawInode {
    pub(crate) layout: DataLayout,
    /// Time of an extended inode; `None` makes it a compact one.
    pub(crate) mtime: Option<Timestamp>,
    /// Length of the attributes: 0 for none, else 1 plus the 4-byte units behind their header.
    pub(crate) xattr_count: u16,
    /// Permission and type bits.
    pub(crate) mode: u16,
    pub(crate) nlink: u32,
    pub(crate) size: u64,
    /// First block, device number, chunk format or number of compressed blocks.
    pub(crate) union: u32,
    pub(crate) ino: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A format field no reader of this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownFormat(pub(crate) u16);

/// Length of an inode by its format field.
pub(crate) fn length(format: &[u8; 2]) -> usize {
    if u16::from_le_bytes(*format) & FORMAT_EXTENDED == 0 {
        COMPACT_LEN
    } else {
        EXTENDED_LEN
    }
}

impl RawInode {
    /// Length of the encoded form, in bytes.
    pub(crate) const fn len(&self) -> usize {
        if self.mtime.is_some() {
            EXTENDED_LEN
        } else {
            COMPACT_LEN
        }
    }

    /// Appends the encoded form. What does not fit a compact inode must not be asked to be one.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut b = [0; EXTENDED_LEN];
        let format = self.layout.bits() << FORMAT_LAYOUT_SHIFT;
        put(&mut b, common::XATTR_COUNT, &self.xattr_count.to_le_bytes());
        put(&mut b, common::MODE, &self.mode.to_le_bytes());
        if let Some(mtime) = self.mtime {
            put(
                &mut b,
                common::FORMAT,
                &(format | FORMAT_EXTENDED).to_le_bytes(),
            );
            put(&mut b, common::SIZE, &self.size.to_le_bytes());
            put(&mut b, extended::UNION, &self.union.to_le_bytes());
            put(&mut b, extended::INO, &self.ino.to_le_bytes());
            put(&mut b, extended::UID, &self.uid.to_le_bytes());
            put(&mut b, extended::GID, &self.gid.to_le_bytes());
            put(&mut b, extended::MTIME, &mtime.seconds.to_le_bytes());
            put(
                &mut b,
                extended::NANOSECONDS,
                &mtime.nanoseconds.to_le_bytes(),
            );
            put(&mut b, extended::NLINK, &self.nlink.to_le_bytes());
        } else {
            debug_assert!(self.fits_compact());
            put(&mut b, common::FORMAT, &format.to_le_bytes());
            put(&mut b, common::NLINK_16, &(self.nlink as u16).to_le_bytes());
            put(&mut b, common::SIZE, &(self.size as u32).to_le_bytes());
            put(&mut b, compact::UNION, &self.union.to_le_bytes());
            put(&mut b, compact::INO, &self.ino.to_le_bytes());
            put(&mut b, compact::UID, &(self.uid as u16).to_le_bytes());
            put(&mut b, compact::GID, &(self.gid as u16).to_le_bytes());
        }
        out.extend_from_slice(&b[..self.len()]);
    }

    /// Whether everything but the time has room in a compact inode.
    pub(crate) const fn fits_compact(&self) -> bool {
        fits_compact(self.nlink, self.size, self.uid, self.gid)
    }

    /// Reads an inode of [`length`] bytes.
    pub(crate) fn decode(b: &[u8]) -> Result<Self, UnknownFormat> {
        let format = get_u16(b, common::FORMAT);
        if format & !FORMAT_KNOWN != 0 {
            return Err(UnknownFormat(format));
        }
        let layout = DataLayout::from_bits(format >> FORMAT_LAYOUT_SHIFT & FORMAT_LAYOUT_MASK)
            .ok_or(UnknownFormat(format))?;
        let xattr_count = get_u16(b, common::XATTR_COUNT);
        let mode = get_u16(b, common::MODE);
        Ok(if format & FORMAT_EXTENDED == 0 {
            Self {
                layout,
                mtime: None,
                xattr_count,
                mode,
                nlink: u32::from(get_u16(b, common::NLINK_16)),
                size: u64::from(get_u32(b, common::SIZE)),
                union: get_u32(b, compact::UNION),
                ino: get_u32(b, compact::INO),
                uid: u32::from(get_u16(b, compact::UID)),
                gid: u32::from(get_u16(b, compact::GID)),
            }
        } else {
            Self {
                layout,
                mtime: Some(Timestamp {
                    seconds: get_u64(b, extended::MTIME) as i64,
                    nanoseconds: get_u32(b, extended::NANOSECONDS),
                }),
                xattr_count,
                mode,
                nlink: get_u32(b, extended::NLINK),
                size: get_u64(b, common::SIZE),
                union: get_u32(b, extended::UNION),
                ino: get_u32(b, extended::INO),
                uid: get_u32(b, extended::UID),
                gid: get_u32(b, extended::GID),
            }
        })
    }
}

/// Whether link count, size and owner have room in a compact inode.
pub(crate) const fn fits_compact(nlink: u32, size: u64, uid: u32, gid: u32) -> bool {
    nlink <= u16::MAX as u32
        && size <= u32::MAX as u64
        && uid <= u16::MAX as u32
        && gid <= u16::MAX as u32
}

/// Highest major number the device field holds.
pub(crate) const MAJOR_MAX: u32 = (1 << 12) - 1;

/// Highest minor number the device field holds.
pub(crate) const MINOR_MAX: u32 = (1 << 20) - 1;

/// Longest target of a symbolic link Linux follows, in bytes (`PATH_MAX` less the NUL).
pub(crate) const SYMLINK_TARGET_MAX: usize = 4095;

/// The device field (`new_encode_dev` of `include/linux/kdev_t.h`): the low minor byte, 12 bits of major, the rest of
/// the minor.
pub(crate) const fn encode_device(major: u32, minor: u32) -> Option<u32> {
    if major > MAJOR_MAX || minor > MINOR_MAX {
        return None;
    }
    Some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

/// Major and minor number of a device field.
pub(crate) const fn decode_device(field: u32) -> (u32, u32) {
    (field >> 8 & MAJOR_MAX, field & 0xff | field >> 12 & !0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: RawInode = RawInode {
        layout: DataLayout::Inline,
        mtime: None,
        xattr_count: 7,
        mode: 0o104_755,
        nlink: 65535,
        size: u32::MAX as u64,
        union: 0x1234_5678,
        ino: 9,
        uid: 65535,
        gid: 1,
    };

    #[test]
    fn both_forms_come_back() {
        let extended = RawInode {
            mtime: Some(Timestamp {
                seconds: -5,
                nanoseconds: 999_999_999,
            }),
            nlink: 65536,
            size: 1 << 40,
            uid: u32::MAX,
            layout: DataLayout::Chunked,
            ..COMPACT
        };
        for inode in [COMPACT, extended] {
            let mut bytes = Vec::new();
            inode.encode(&mut bytes);
            assert_eq!(bytes.len(), length(&[bytes[0], bytes[1]]));
            assert_eq!(RawInode::decode(&bytes), Ok(inode));
        }
    }

    #[test]
    fn unknown_formats_are_refused() {
        for format in [0x0010_u16, 0x000a, 0x000c, 0x000e, 0x8000] {
            let mut bytes = [0; EXTENDED_LEN];
            bytes[..2].copy_from_slice(&format.to_le_bytes());
            assert_eq!(RawInode::decode(&bytes), Err(UnknownFormat(format)));
        }
    }

    #[test]
    fn device_numbers() {
        for (major, minor) in [(0, 0), (1, 3), (8, 255), (8, 256), (MAJOR_MAX, MINOR_MAX)] {
            assert_eq!(
                encode_device(major, minor).map(decode_device),
                Some((major, minor))
            );
        }
        assert_eq!(encode_device(1, 3), Some(0x103));
        assert_eq!(encode_device(MAJOR_MAX + 1, 0), None);
        assert_eq!(encode_device(0, MINOR_MAX + 1), None);
    }
}
