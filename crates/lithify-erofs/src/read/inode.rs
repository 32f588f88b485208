//! One inode.

use lithify_tree::{Device, Timestamp};

use super::Image;
use crate::format::inode::{
    COMPACT_LEN, DataLayout, EXTENDED_LEN, RawInode, SLOT_SIZE, decode_device, length,
};
use crate::format::xattr;
use crate::{FileType, ReadAt, ReadError};

/// An inode of an image.
#[derive(Clone, Copy, Debug)]
pub struct Inode {
    nid: u64,
    file_type: FileType,
    /// Offset in the image.
    pub(super) address: u64,
    pub(super) raw: RawInode,
    mtime: Timestamp,
}

impl Inode {
    /// Its number: what directory entries refer to it by, and what `stat` shows as inode number.
    #[must_use]
    pub fn nid(&self) -> u64 {
        self.nid
    }

    /// What it is.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// Permission bits with set-user-ID, set-group-ID and sticky.
    #[must_use]
    pub fn mode(&self) -> u16 {
        self.raw.mode & !FileType::MASK
    }

    /// Owner.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.raw.uid
    }

    /// Group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.raw.gid
    }

    /// Modification time; that of the image for a compact inode.
    #[must_use]
    pub fn mtime(&self) -> Timestamp {
        self.mtime
    }

    /// Number of names by its own account.
    #[must_use]
    pub fn nlink(&self) -> u32 {
        self.raw.nlink
    }

    /// Size in bytes: of a file's data, a directory's blocks, a link's target.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.raw.size
    }

    /// Device number of a device, else 0:0.
    #[must_use]
    pub fn device(&self) -> Device {
        match self.file_type {
            FileType::CharDevice | FileType::BlockDevice => {
                let (major, minor) = decode_device(self.raw.union);
                Device { major, minor }
            }
            _ => Device::default(),
        }
    }

    /// How its data is stored.
    #[must_use]
    pub fn layout(&self) -> DataLayout {
        self.raw.layout
    }

    /// Whether it takes 32 bytes, else 64.
    #[must_use]
    pub fn is_compact(&self) -> bool {
        self.raw.mtime.is_none()
    }

    /// Whether it has extended attributes.
    #[must_use]
    pub fn has_xattrs(&self) -> bool {
        self.raw.xattr_count != 0
    }

    pub(super) fn expect_directory(&self) -> Result<(), ReadError> {
        self.expect(FileType::Directory, "directory")
    }

    pub(super) fn expect(
        &self,
        file_type: FileType,
        expected: &'static str,
    ) -> Result<(), ReadError> {
        if self.file_type == file_type {
            return Ok(());
        }
        Err(ReadError::Type {
            nid: self.nid,
            expected,
        })
    }

    /// Length of the attributes, in bytes.
    pub(super) fn xattr_len(&self) -> usize {
        xattr::body_len(self.raw.xattr_count)
    }

    /// Offset in the image of the attributes.
    pub(super) fn xattr_address(&self) -> u64 {
        self.address + self.raw.len() as u64
    }

    /// Offset in the image of what is behind the attributes.
    pub(super) fn behind(&self) -> u64 {
        self.xattr_address() + self.xattr_len() as u64
    }
}

impl<R: ReadAt> Image<R> {
    /// The inode of a number.
    ///
    /// # Errors
    /// [`ReadError`] when there is none or it is damaged.
    pub fn inode(&self, nid: u64) -> Result<Inode, ReadError> {
        const WHAT: &str = "the inode";
        let base = u64::from(self.superblock.meta_block) << self.superblock.block_bits;
        let address = nid
            .checked_mul(SLOT_SIZE as u64)
            .and_then(|a| a.checked_add(base))
            .unwrap_or(u64::MAX);
        self.check_range(WHAT, nid, address, COMPACT_LEN as u64)?;
        let mut bytes = [0; EXTENDED_LEN];
        // Both forms in one read; the last inode of an image may be a compact one.
        let readable = (self.size - address).min(EXTENDED_LEN as u64) as usize;
        self.read_part(WHAT, nid, address, &mut bytes[..readable])?;
        let length = length(&[bytes[0], bytes[1]]);
        self.check_range(WHAT, nid, address, length as u64)?;
        let raw = RawInode::decode(&bytes[..length]).map_err(|unknown| ReadError::InodeFormat {
            nid,
            format: unknown.0,
        })?;
        let file_type = FileType::from_mode(raw.mode).ok_or(ReadError::Mode {
            nid,
            mode: raw.mode,
        })?;
        if raw.size > i64::MAX as u64 {
            return Err(ReadError::Size {
                nid,
                size: raw.size,
                limit: i64::MAX as u64,
            });
        }
        let mtime = raw.mtime.unwrap_or(self.superblock.build_time);
        if mtime.nanoseconds > 999_999_999 {
            return Err(ReadError::Nanoseconds {
                nid,
                found: mtime.nanoseconds,
            });
        }
        Ok(Inode {
            nid,
            file_type,
            address,
            raw,
            mtime,
        })
    }
}
