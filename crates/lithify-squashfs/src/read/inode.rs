//! One inode.

use lithify_tree::{Device, Timestamp};

use super::Image;
use super::metadata::Cursor;
use crate::error::Damage;
use crate::format::directory::SIZE_EXTRA;
use crate::format::inode::{BODY_MAX, Body, HEAD_LEN, Head, TARGET_MAX, body_len, decode_device};
use crate::format::{NONE, Position};
use crate::{FileType, ReadAt, ReadError};

/// An inode of an image.
#[derive(Clone, Copy, Debug)]
pub struct Inode {
    pub(super) reference: u64,
    pub(super) head: Head,
    pub(super) body: Body,
    uid: u32,
    gid: u32,
    /// Where what stands behind the body begins.
    pub(super) behind: Position,
}

impl Inode {
    /// Its number, which `stat` shows.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.head.number
    }

    /// Where it is, in the form in which directories refer to it.
    #[must_use]
    pub fn reference(&self) -> u64 {
        self.reference
    }

    /// What it is.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        self.head.file_type
    }

    /// Permission bits with set-user-ID, set-group-ID and sticky.
    #[must_use]
    pub fn mode(&self) -> u16 {
        self.head.mode & 0o7777
    }

    /// Owner.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Modification time, in whole seconds from 1970 to 2106.
    #[must_use]
    pub fn mtime(&self) -> Timestamp {
        Timestamp {
            seconds: i64::from(self.head.mtime),
            nanoseconds: 0,
        }
    }

    /// Number of names by its own account; 1 for a regular file in the basic form.
    #[must_use]
    pub fn nlink(&self) -> u32 {
        match self.body {
            Body::Directory { nlink, .. }
            | Body::File { nlink, .. }
            | Body::Symlink { nlink, .. }
            | Body::Device { nlink, .. }
            | Body::Ipc { nlink, .. } => nlink,
        }
    }

    /// Size in bytes: of a file's data, a link's target, the listing of a directory.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.body {
            Body::File { size, .. } => size,
            Body::Symlink { size, .. } => u64::from(size),
            Body::Directory { size, .. } => u64::from(size.saturating_sub(SIZE_EXTRA)),
            Body::Device { .. } | Body::Ipc { .. } => 0,
        }
    }

    /// Device number of a device, else 0:0.
    #[must_use]
    pub fn device(&self) -> Device {
        match self.body {
            Body::Device { rdev, .. } => {
                let (major, minor) = decode_device(rdev);
                Device { major, minor }
            }
            _ => Device::default(),
        }
    }

    /// Whether it is of the extended form.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.head.extended
    }

    pub(super) fn expect(&self, file_type: FileType) -> Result<(), ReadError> {
        if self.file_type() == file_type {
            return Ok(());
        }
        Err(ReadError::Type {
            number: self.number(),
            expected: file_type.name(),
        })
    }

    /// The error for something wrong with it.
    pub(super) fn damaged(&self, reason: Damage) -> ReadError {
        ReadError::Inode {
            number: u64::from(self.number()),
            reason,
        }
    }
}

impl<R: ReadAt> Image<R> {
    /// The inode of a reference.
    ///
    /// # Errors
    /// [`ReadError`] when there is none or it is damaged.
    pub fn inode(&self, reference: u64) -> Result<Inode, ReadError> {
        let damaged = |reason| ReadError::Inode {
            number: reference,
            reason,
        };
        let mut cursor = self.inode_cursor(Position::from_reference(reference));
        let mut bytes = [0; HEAD_LEN];
        cursor.read(&mut bytes)?;
        let head = Head::decode(&bytes).map_err(|code| damaged(Damage::InodeType { code }))?;
        let mut bytes = [0; BODY_MAX];
        let length = body_len(head.file_type, head.extended);
        cursor.read(&mut bytes[..length])?;
        let body = Body::decode(head.file_type, head.extended, &bytes);
        if head.number == 0 {
            return Err(damaged(Damage::NumberZero));
        }
        match body {
            Body::File { size, fragment, .. } => {
                if size > i64::MAX as u64 {
                    return Err(damaged(Damage::Size {
                        size,
                        limit: i64::MAX as u64,
                    }));
                }
                // What Linux refuses (`squashfs_read_inode`), and thereby empty files in fragment blocks.
                if fragment != NONE && size % self.block_size() == 0 {
                    return Err(damaged(Damage::NoTail { size }));
                }
            }
            Body::Symlink { size, .. } if size as usize > TARGET_MAX => {
                return Err(damaged(Damage::Size {
                    size: u64::from(size),
                    limit: TARGET_MAX as u64,
                }));
            }
            _ => {}
        }
        Ok(Inode {
            reference,
            head,
            body,
            uid: self.id(head.uid).map_err(damaged)?,
            gid: self.id(head.gid).map_err(damaged)?,
            behind: cursor.position(),
        })
    }

    pub(super) fn inode_cursor(&self, position: Position) -> Cursor<'_, R> {
        self.cursor("the inode table", self.superblock.inode_table, position)
    }

    /// Bytes of an inode in its table, with the list of its blocks or its target, without a directory's index.
    pub(super) fn inode_len(&self, inode: &Inode) -> Result<u64, ReadError> {
        let behind = match inode.body {
            // At most 2⁶³ / 4096 blocks.
            Body::File { .. } => 4 * self.layout(inode)?.blocks,
            Body::Symlink { size, .. } => u64::from(size),
            _ => 0,
        };
        let body = body_len(inode.head.file_type, inode.head.extended);
        Ok((HEAD_LEN + body) as u64 + behind)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`ReadError`] when the inode is no link or damaged.
    pub fn read_link(&self, inode: &Inode) -> Result<Vec<u8>, ReadError> {
        inode.expect(FileType::Symlink)?;
        // Its length was checked when the inode was read.
        let target = self
            .inode_cursor(inode.behind)
            .read_vec(inode.size() as usize)?;
        match target.is_empty() || target.contains(&0) {
            // Linux reads up to a NUL, others all: a link that leads to two places.
            true => Err(inode.damaged(Damage::Target)),
            false => Ok(target),
        }
    }

    /// The number of the attributes of an inode, or [`NONE`].
    pub(super) fn xattr_number(&self, inode: &Inode) -> Result<u32, ReadError> {
        Ok(match inode.body {
            Body::Directory { xattrs, .. }
            | Body::File { xattrs, .. }
            | Body::Device { xattrs, .. }
            | Body::Ipc { xattrs, .. } => xattrs,
            Body::Symlink { .. } if !inode.head.extended => NONE,
            Body::Symlink { size, .. } => {
                let mut cursor = self.inode_cursor(inode.behind);
                cursor.skip(u64::from(size))?;
                cursor.u32()?
            }
        })
    }
}
