//! One inode.

use std::sync::Arc;

use lithify_tree::{Device, Timestamp};

use super::data::Position;
use super::{Image, compare};
use crate::format::ROOT_INODE;
use crate::format::inode::{
    BLOCK_LEN, FLAG_CASE_FOLDED, FLAG_ENCRYPTED, FLAG_EXTENTS, FLAG_HUGE, FLAG_INDEX, FLAG_INLINE,
    FLAG_VALUE, OLD_LEN, Stored, checksum, device,
};
use crate::format::superblock::RO_HUGE_FILE;
use crate::format::superblock::parse::INCOMPAT_LARGE_DIRECTORIES;
use crate::{Damage, FileType, ReadAt, ReadError};

/// An inode of an image.
#[derive(Clone, Copy, Debug)]
pub struct Inode {
    number: u32,
    file_type: FileType,
    size: u64,
    pub(super) stored: Stored,
    /// The sum with which those of its blocks begin.
    pub(super) seed: u32,
}

/// The bytes of an inode.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    block: Arc<Vec<u8>>,
    at: usize,
    length: usize,
}

impl Bytes {
    pub(super) fn get(&self) -> &[u8] {
        &self.block[self.at..self.at + self.length]
    }
}

impl Inode {
    /// Its number, which `stat` shows.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its type.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// Permission bits with set-user-ID, set-group-ID and sticky.
    #[must_use]
    pub fn mode(&self) -> u16 {
        self.stored.mode & 0o7777
    }

    /// Owner.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.stored.uid
    }

    /// Group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.stored.gid
    }

    /// Modification time, from 1901 to 2446; up to 2038 and in whole seconds in inodes of 128 bytes.
    #[must_use]
    pub fn mtime(&self) -> Timestamp {
        self.stored.mtime
    }

    /// Number of names by its own account: 1 for a directory with more subdirectories than it can count.
    #[must_use]
    pub fn nlink(&self) -> u32 {
        self.stored.links.into()
    }

    /// Size in bytes: of a file's data, a link's target, the blocks of a directory.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Device number of a device, else 0:0.
    #[must_use]
    pub fn device(&self) -> Device {
        match self.file_type {
            FileType::CharDevice | FileType::BlockDevice => device(&self.stored.block),
            _ => Device::default(),
        }
    }

    /// Its flags (`EXT4_*_FL`).
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.stored.flags
    }

    /// An inode that is of no type, as if it were of one.
    pub(super) fn of_type(number: u32, stored: Stored, file_type: FileType, seed: u32) -> Self {
        Self {
            number,
            file_type,
            size: stored.size,
            stored,
            seed: stored.seed(seed, number),
        }
    }

    /// Its checksum, the one that is stored and the right one.
    pub(super) fn checksum(&self, bytes: &[u8], seed: u32) -> (u32, u32) {
        checksum(bytes, &self.stored, self.number, seed)
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.stored.flags & flag != 0
    }

    pub(super) fn is_inline(&self) -> bool {
        self.has(FLAG_INLINE)
    }

    pub(super) fn is_indexed(&self) -> bool {
        self.has(FLAG_INDEX) && !self.is_inline()
    }

    pub(super) fn is_case_folded(&self) -> bool {
        self.has(FLAG_CASE_FOLDED)
    }

    /// Tells whether its blocks are found by extents, else by lists of blocks.
    pub(super) fn has_extents(&self) -> bool {
        self.has(FLAG_EXTENTS)
    }

    /// Tells whether it has blocks of its own, besides one of attributes.
    pub(super) fn has_blocks(&self) -> bool {
        match self.file_type {
            FileType::File | FileType::Directory => !self.is_inline(),
            FileType::Symlink => !self.is_inline() && !self.is_fast_link(),
            _ => false,
        }
    }

    /// Tells whether it is a link with its target in place of its blocks' list.
    pub(super) fn is_fast_link(&self) -> bool {
        self.size < BLOCK_LEN as u64 && !self.has_extents()
    }

    pub(super) fn expect(&self, file_type: FileType) -> Result<(), ReadError> {
        if self.file_type == file_type {
            return Ok(());
        }
        Err(ReadError::Type {
            number: self.number,
            expected: file_type.name(),
        })
    }

    /// Refuses an inode whose data or names are encrypted.
    pub(super) fn expect_plain(&self) -> Result<(), ReadError> {
        match self.has(FLAG_ENCRYPTED) {
            true => Err(ReadError::Encrypted {
                number: self.number,
            }),
            false => Ok(()),
        }
    }

    /// The error for something wrong with it.
    pub(super) fn damaged(&self, reason: Damage) -> ReadError {
        damaged(self.number, reason)
    }
}

pub(super) fn damaged(number: u32, reason: Damage) -> ReadError {
    ReadError::Inode { number, reason }
}

impl<R: ReadAt> Image<R> {
    /// The inode of a number, which has to be one that names can lead to.
    ///
    /// # Errors
    /// [`ReadError`] when there is none or it is damaged.
    pub fn inode(&self, number: u32) -> Result<Inode, ReadError> {
        let (first, last) = (self.superblock.first_inode, self.superblock.inodes);
        if number != ROOT_INODE && !(first..=last).contains(&number) {
            let inode = number;
            return Err(damaged(
                number,
                Damage::InodeOutOfRange { inode, first, last },
            ));
        }
        let inode = self.any_inode(number)?;
        if inode.stored.links == 0 || inode.has(FLAG_VALUE) {
            return Err(inode.damaged(Damage::Unused));
        }
        Ok(inode)
    }

    /// Reads an inode, also one that no name leads to.
    pub(super) fn any_inode(&self, number: u32) -> Result<Inode, ReadError> {
        let (bytes, stored) = self.stored_inode(number)?;
        self.check_inode(number, bytes.get(), stored)
    }

    /// Reads an inode's bytes, without looking at them.
    pub(super) fn stored_inode(&self, number: u32) -> Result<(Bytes, Stored), ReadError> {
        let s = &self.superblock;
        let last = s.inodes;
        let index = match number {
            1.. if number <= last => number - 1,
            inode => {
                let first = 1;
                return Err(damaged(
                    number,
                    Damage::InodeOutOfRange { inode, first, last },
                ));
            }
        };
        let group = index / s.inodes_per_group;
        let table = self.descriptor(group)?.inode_table;
        let offset = u64::from(index % s.inodes_per_group) * u64::from(s.inode_size);
        let block = table.saturating_add(offset / u64::from(s.block_size));
        self.blocks
            .check(block, 1)
            .map_err(|reason| ReadError::Group { group, reason })?;
        let bytes = Bytes {
            block: self.blocks.block(block)?,
            at: (offset % u64::from(s.block_size)) as usize,
            length: s.inode_size as usize,
        };
        let stored = Stored::parse(bytes.get());
        Ok((bytes, stored))
    }

    /// Checks an inode as it is stored.
    pub(super) fn check_inode(
        &self,
        number: u32,
        bytes: &[u8],
        stored: Stored,
    ) -> Result<Inode, ReadError> {
        let s = &self.superblock;
        let damaged = |reason| damaged(number, reason);
        if bytes.len() > OLD_LEN
            && (OLD_LEN + stored.extra > bytes.len() || !stored.extra.is_multiple_of(4))
        {
            return Err(damaged(Damage::Field {
                field: "the length of fields behind the first 128 bytes",
                expected: "a multiple of 4 that the inode has room for",
                found: stored.extra as u64,
            }));
        }
        if s.has_checksums() {
            compare(checksum(bytes, &stored, number, s.seed)).map_err(damaged)?;
        }
        let mode = stored.mode;
        let file_type =
            FileType::from_mode(mode).ok_or_else(|| damaged(Damage::InodeType { mode }))?;
        let nanoseconds = stored.mtime.nanoseconds;
        if nanoseconds >= 1_000_000_000 {
            return Err(damaged(Damage::Nanoseconds { nanoseconds }));
        }
        // Directories kept other things in the upper half.
        let is_wide = file_type == FileType::File || s.has_incompat(INCOMPAT_LARGE_DIRECTORIES);
        let size = match file_type {
            FileType::File | FileType::Directory if is_wide => stored.size,
            FileType::File | FileType::Directory | FileType::Symlink => stored.size & 0xffff_ffff,
            _ => 0,
        };
        let limit = match file_type {
            FileType::Symlink => u64::from(s.block_size),
            _ => u64::from(s.block_size) << 32,
        };
        if size > limit {
            return Err(damaged(Damage::Size { size, limit }));
        }
        Ok(Inode {
            number,
            file_type,
            size,
            stored,
            seed: stored.seed(s.seed, number),
        })
    }

    /// Returns what an inode says it takes, in units of 512 bytes.
    pub(super) fn sectors(&self, inode: &Inode) -> u64 {
        let sectors = inode.stored.sectors;
        if !self.superblock.has_read_only_compat(RO_HUGE_FILE) {
            return sectors & 0xffff_ffff;
        }
        match inode.has(FLAG_HUGE) {
            true => sectors.saturating_mul(self.block_size() / 512),
            false => sectors,
        }
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`ReadError`] when the inode is no link or damaged.
    pub fn read_link(&self, inode: &Inode) -> Result<Vec<u8>, ReadError> {
        inode.expect(FileType::Symlink)?;
        inode.expect_plain()?;
        // At most a block.
        let size = inode.size as usize;
        let target = if inode.is_inline() {
            self.inline_data(inode)?
        } else if inode.is_fast_link() {
            inode.stored.block[..size].to_vec()
        } else {
            let mut target = vec![0; size];
            self.fill(inode, 0, &mut target, &mut Position::default())?;
            target
        };
        match target.is_empty() || target.contains(&0) {
            // Linux reads up to a NUL, others all: a link that leads to two places.
            true => Err(inode.damaged(Damage::Target)),
            false => Ok(target),
        }
    }
}
