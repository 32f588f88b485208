//! Inodes: a common head and a body for each of seven types in a basic and an extended form.

use super::{NONE, u16_at, u32_at, u64_at};
use crate::FileType;

/// Length of the head all inodes have.
pub(crate) const HEAD_LEN: usize = 16;

/// Largest major and minor number `rdev` has bits for (`new_encode_dev` of Linux).
pub(crate) const MAJOR_MAX: u32 = (1 << 12) - 1;
pub(crate) const MINOR_MAX: u32 = (1 << 20) - 1;

/// Longest target of a symbolic link that is written and read, in bytes. Linux shows less: from version 6.9 on it
/// refuses links over a page, and no version follows one longer than `PATH_MAX` less the NUL.
pub(crate) const TARGET_MAX: usize = 65536;

/// Added to the extended form's type number.
const EXTENDED: u16 = 7;

/// The type number of the basic form, which directories use for both.
pub(crate) const fn type_code(file_type: FileType) -> u16 {
    match file_type {
        FileType::Directory => 1,
        FileType::File => 2,
        FileType::Symlink => 3,
        FileType::BlockDevice => 4,
        FileType::CharDevice => 5,
        FileType::Fifo => 6,
        FileType::Socket => 7,
    }
}

/// The type of a basic form's number.
pub(crate) const fn type_of_code(code: u16) -> Option<FileType> {
    Some(match code {
        1 => FileType::Directory,
        2 => FileType::File,
        3 => FileType::Symlink,
        4 => FileType::BlockDevice,
        5 => FileType::CharDevice,
        6 => FileType::Fifo,
        7 => FileType::Socket,
        _ => return None,
    })
}

/// The head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) file_type: FileType,
    pub(crate) extended: bool,
    /// Permission bits, no type bits.
    pub(crate) mode: u16,
    /// Index of the owner in the id table.
    pub(crate) uid: u16,
    /// Index of the group in the id table.
    pub(crate) gid: u16,
    pub(crate) mtime: u32,
    /// Inode number, from 1.
    pub(crate) number: u32,
}

impl Head {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let code = type_code(self.file_type) + if self.extended { EXTENDED } else { 0 };
        out.extend(code.to_le_bytes());
        out.extend(self.mode.to_le_bytes());
        out.extend(self.uid.to_le_bytes());
        out.extend(self.gid.to_le_bytes());
        out.extend(self.mtime.to_le_bytes());
        out.extend(self.number.to_le_bytes());
    }

    /// Gives the type number when it is unknown.
    pub(crate) fn decode(bytes: &[u8; HEAD_LEN]) -> Result<Self, u16> {
        let code = u16_at(bytes, 0);
        let extended = code > EXTENDED;
        let basic = if extended { code - EXTENDED } else { code };
        Ok(Self {
            file_type: type_of_code(basic).ok_or(code)?,
            extended,
            mode: u16_at(bytes, 2),
            uid: u16_at(bytes, 4),
            gid: u16_at(bytes, 6),
            mtime: u32_at(bytes, 8),
            number: u32_at(bytes, 12),
        })
    }
}

/// What follows the head. Behind a file stand the lengths of its blocks, behind a link its target (and, in the extended
/// form, its attributes), behind an extended directory its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Directory {
        /// Offset of the listing's block in the directory table.
        block: u32,
        /// Offset of the listing in that block.
        offset: u16,
        nlink: u32,
        /// Length of the listing plus 3.
        size: u32,
        /// Number of the parent's inode.
        parent: u32,
        /// Number of index entries.
        index: u16,
        xattrs: u32,
    },
    File {
        /// Offset in the image of the first block.
        start: u64,
        size: u64,
        /// Bytes that are not stored for being zero.
        sparse: u64,
        nlink: u32,
        fragment: u32,
        /// Offset in the fragment block.
        offset: u32,
        xattrs: u32,
    },
    Symlink {
        nlink: u32,
        size: u32,
    },
    Device {
        nlink: u32,
        rdev: u32,
        xattrs: u32,
    },
    Ipc {
        nlink: u32,
        xattrs: u32,
    },
}

/// Length of the body, without what stands behind it.
pub(crate) const fn body_len(file_type: FileType, extended: bool) -> usize {
    match (file_type, extended) {
        (FileType::Directory, false) => 16,
        (FileType::Directory, true) => 24,
        (FileType::File, false) => 16,
        (FileType::File, true) => 40,
        (FileType::Symlink, _) => 8,
        (FileType::BlockDevice | FileType::CharDevice, false) => 8,
        (FileType::BlockDevice | FileType::CharDevice, true) => 12,
        (FileType::Fifo | FileType::Socket, false) => 4,
        (FileType::Fifo | FileType::Socket, true) => 8,
    }
}

/// Longest body.
pub(crate) const BODY_MAX: usize = 40;

impl Body {
    /// The caller sees to it that a basic form is enough when it asks for one.
    pub(crate) fn encode(&self, extended: bool, out: &mut Vec<u8>) {
        match (*self, extended) {
            (
                Self::Directory {
                    block,
                    offset,
                    nlink,
                    size,
                    parent,
                    ..
                },
                false,
            ) => {
                out.extend(block.to_le_bytes());
                out.extend(nlink.to_le_bytes());
                out.extend((size as u16).to_le_bytes());
                out.extend(offset.to_le_bytes());
                out.extend(parent.to_le_bytes());
            }
            (
                Self::Directory {
                    block,
                    offset,
                    nlink,
                    size,
                    parent,
                    index,
                    xattrs,
                },
                true,
            ) => {
                out.extend(nlink.to_le_bytes());
                out.extend(size.to_le_bytes());
                out.extend(block.to_le_bytes());
                out.extend(parent.to_le_bytes());
                out.extend(index.to_le_bytes());
                out.extend(offset.to_le_bytes());
                out.extend(xattrs.to_le_bytes());
            }
            (
                Self::File {
                    start,
                    size,
                    fragment,
                    offset,
                    ..
                },
                false,
            ) => {
                out.extend((start as u32).to_le_bytes());
                out.extend(fragment.to_le_bytes());
                out.extend(offset.to_le_bytes());
                out.extend((size as u32).to_le_bytes());
            }
            (
                Self::File {
                    start,
                    size,
                    sparse,
                    nlink,
                    fragment,
                    offset,
                    xattrs,
                },
                true,
            ) => {
                out.extend(start.to_le_bytes());
                out.extend(size.to_le_bytes());
                out.extend(sparse.to_le_bytes());
                out.extend(nlink.to_le_bytes());
                out.extend(fragment.to_le_bytes());
                out.extend(offset.to_le_bytes());
                out.extend(xattrs.to_le_bytes());
            }
            (Self::Symlink { nlink, size }, _) => {
                out.extend(nlink.to_le_bytes());
                out.extend(size.to_le_bytes());
            }
            (
                Self::Device {
                    nlink,
                    rdev,
                    xattrs,
                },
                _,
            ) => {
                out.extend(nlink.to_le_bytes());
                out.extend(rdev.to_le_bytes());
                if extended {
                    out.extend(xattrs.to_le_bytes());
                }
            }
            (Self::Ipc { nlink, xattrs }, _) => {
                out.extend(nlink.to_le_bytes());
                if extended {
                    out.extend(xattrs.to_le_bytes());
                }
            }
        }
    }

    /// Decodes [`body_len`] bytes.
    pub(crate) fn decode(file_type: FileType, extended: bool, b: &[u8]) -> Self {
        match (file_type, extended) {
            (FileType::Directory, false) => Self::Directory {
                block: u32_at(b, 0),
                nlink: u32_at(b, 4),
                size: u32::from(u16_at(b, 8)),
                offset: u16_at(b, 10),
                parent: u32_at(b, 12),
                index: 0,
                xattrs: NONE,
            },
            (FileType::Directory, true) => Self::Directory {
                nlink: u32_at(b, 0),
                size: u32_at(b, 4),
                block: u32_at(b, 8),
                parent: u32_at(b, 12),
                index: u16_at(b, 16),
                offset: u16_at(b, 18),
                xattrs: u32_at(b, 20),
            },
            (FileType::File, false) => Self::File {
                start: u64::from(u32_at(b, 0)),
                fragment: u32_at(b, 4),
                offset: u32_at(b, 8),
                size: u64::from(u32_at(b, 12)),
                sparse: 0,
                nlink: 1,
                xattrs: NONE,
            },
            (FileType::File, true) => Self::File {
                start: u64_at(b, 0),
                size: u64_at(b, 8),
                sparse: u64_at(b, 16),
                nlink: u32_at(b, 24),
                fragment: u32_at(b, 28),
                offset: u32_at(b, 32),
                xattrs: u32_at(b, 36),
            },
            (FileType::Symlink, _) => Self::Symlink {
                nlink: u32_at(b, 0),
                size: u32_at(b, 4),
            },
            (FileType::BlockDevice | FileType::CharDevice, _) => Self::Device {
                nlink: u32_at(b, 0),
                rdev: u32_at(b, 4),
                xattrs: if extended { u32_at(b, 8) } else { NONE },
            },
            (FileType::Fifo | FileType::Socket, _) => Self::Ipc {
                nlink: u32_at(b, 0),
                xattrs: if extended { u32_at(b, 4) } else { NONE },
            },
        }
    }
}

/// A device number as Linux packs it into 32 bits (`new_encode_dev`).
pub(crate) const fn encode_device(major: u32, minor: u32) -> u32 {
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

/// Major and minor number of that.
pub(crate) const fn decode_device(rdev: u32) -> (u32, u32) {
    (rdev >> 8 & 0xfff, rdev & 0xff | rdev >> 12 & 0xf_ff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive() {
        for (major, minor) in [
            (0, 0),
            (1, 3),
            (MAJOR_MAX, MINOR_MAX),
            (8, 256),
            (259, 70_000),
        ] {
            assert_eq!(decode_device(encode_device(major, minor)), (major, minor));
        }
    }
}
