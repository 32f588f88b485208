//! Directory listings: runs of up to 256 names whose inodes stand in one block of metadata.

use super::{u16_at, u32_at};

/// Length of what precedes a run.
pub(crate) const HEADER_LEN: usize = 12;

/// Length of an entry without its name.
pub(crate) const ENTRY_LEN: usize = 8;

/// Most entries in a run (`SQUASHFS_DIR_COUNT`).
pub(crate) const RUN_MAX: usize = 256;

/// Longest name, in bytes; the format could hold one more byte, Linux could not.
pub(crate) const NAME_MAX: usize = 255;

/// Length of an index entry without its name.
pub(crate) const INDEX_LEN: usize = 12;

/// What a directory's size counts besides its listing: Linux makes `.` and `..` up.
pub(crate) const SIZE_EXTRA: u32 = 3;

/// What precedes a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Entries in the run, 1 to 256.
    pub(crate) count: u32,
    /// Offset of the inodes' block in the inode table.
    pub(crate) block: u32,
    /// What entries' inode numbers are relative to.
    pub(crate) number: u32,
}

impl Header {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend((self.count - 1).to_le_bytes());
        out.extend(self.block.to_le_bytes());
        out.extend(self.number.to_le_bytes());
    }

    pub(crate) fn decode(b: &[u8; HEADER_LEN]) -> Self {
        Self {
            count: u32_at(b, 0).saturating_add(1),
            block: u32_at(b, 4),
            number: u32_at(b, 8),
        }
    }
}

/// An entry, without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Offset of the inode in its block.
    pub(crate) offset: u16,
    /// Inode number less the header's.
    pub(crate) delta: i16,
    /// Type number of the basic form.
    pub(crate) file_type: u16,
    /// Length of the name, 1 to 65536.
    pub(crate) name_len: usize,
}

impl Entry {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.offset.to_le_bytes());
        out.extend(self.delta.to_le_bytes());
        out.extend(self.file_type.to_le_bytes());
        out.extend((self.name_len as u16).wrapping_sub(1).to_le_bytes());
    }

    pub(crate) fn decode(b: &[u8; ENTRY_LEN]) -> Self {
        Self {
            offset: u16_at(b, 0),
            delta: u16_at(b, 2) as i16,
            file_type: u16_at(b, 4),
            name_len: usize::from(u16_at(b, 6)) + 1,
        }
    }
}

/// An index entry, without its name: that of the first entry of the run it points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    /// Offset of the run's header in the listing, uncompressed.
    pub(crate) offset: u32,
    /// Offset in the directory table of the block it is in.
    pub(crate) block: u32,
    /// Length of the name.
    pub(crate) name_len: u64,
}

impl Index {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.offset.to_le_bytes());
        out.extend(self.block.to_le_bytes());
        out.extend((self.name_len as u32).wrapping_sub(1).to_le_bytes());
    }

    pub(crate) fn decode(b: &[u8; INDEX_LEN]) -> Self {
        Self {
            offset: u32_at(b, 0),
            block: u32_at(b, 4),
            name_len: u64::from(u32_at(b, 8)) + 1,
        }
    }
}
