//! Directory blocks: an array of 12-byte entries, then the names they point to.

use super::{get_u16, get_u64, put};

const NID_OFFSET: usize = 0;
const NAME_OFFSET: usize = NID_OFFSET + size_of::<u64>();
const TYPE_OFFSET: usize = NAME_OFFSET + size_of::<u16>();
const RESERVED_OFFSET: usize = TYPE_OFFSET + size_of::<u8>();

/// Length of an entry without its name, in bytes.
pub(crate) const DIRENT_LEN: usize = RESERVED_OFFSET + size_of::<u8>();

const _: () = assert!(DIRENT_LEN == 12);

/// Longest name, in bytes (`EROFS_NAME_LEN`).
pub(crate) const NAME_MAX: usize = 255;

/// What a directory entry says its inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A symbolic link.
    Symlink,
}

/// Bits of a mode that tell the type (`S_IFMT`).
pub(crate) const TYPE_MASK: u16 = 0o170_000;

impl FileType {
    /// The type a mode's type bits name.
    pub(crate) const fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode & TYPE_MASK {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharDevice,
            0o040_000 => Self::Directory,
            0o060_000 => Self::BlockDevice,
            0o100_000 => Self::File,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "regular file",
            Self::Directory => "directory",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::Symlink => "symbolic link",
        }
    }

    /// The code in a directory entry (`FT_*` of `include/linux/fs_types.h`).
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Directory => 2,
            Self::CharDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
        }
    }

    /// The type of a code.
    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::File,
            2 => Self::Directory,
            3 => Self::CharDevice,
            4 => Self::BlockDevice,
            5 => Self::Fifo,
            6 => Self::Socket,
            7 => Self::Symlink,
            _ => return None,
        })
    }
}

/// A directory entry without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dirent {
    pub(crate) nid: u64,
    /// Offset of the name in the block.
    pub(crate) name_offset: u16,
    pub(crate) file_type: u8,
}

impl Dirent {
    /// Writes the entry at `offset` of a block.
    pub(crate) fn encode(&self, block: &mut [u8], offset: usize) {
        put(block, offset + NID_OFFSET, &self.nid.to_le_bytes());
        put(block, offset + NAME_OFFSET, &self.name_offset.to_le_bytes());
        put(block, offset + TYPE_OFFSET, &[self.file_type, 0]);
    }

    /// Reads the entry at `offset` of a block; the caller has checked that it is inside.
    pub(crate) fn decode(block: &[u8], offset: usize) -> Self {
        Self {
            nid: get_u64(block, offset + NID_OFFSET),
            name_offset: get_u16(block, offset + NAME_OFFSET),
            file_type: block[offset + TYPE_OFFSET],
        }
    }
}
