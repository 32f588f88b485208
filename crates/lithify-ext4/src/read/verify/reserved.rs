//! Inodes with the first numbers, which are the filesystem's own or of no use.

use super::Verifier;
use crate::format::inode::{FLAG_EXTENTS, FLAG_INLINE, OLD_LEN};
use crate::format::superblock::parse::{RO_PROJECTS, RO_QUOTA};
use crate::format::superblock::{COMPAT_JOURNAL, COMPAT_RESIZE_INODE};
use crate::format::{JOURNAL_INODE, RESIZE_INODE};
use crate::read::{Inode, compare};
use crate::{Damage, FileType, ReadAt, ReadError};

/// The inode of bad blocks.
pub(super) const BAD_BLOCKS_INODE: u32 = 1;
/// The inode in which a boot loader may be.
const BOOT_LOADER_INODE: u32 = 5;
/// The inodes of quotas and of the journal, which are empty where there are none.
const EMPTY_INODES: [u32; 3] = [3, 4, JOURNAL_INODE];

impl<R: ReadAt> Verifier<'_, R> {
    /// Tells whether an inode is the filesystem's own.
    pub(super) fn is_own(&self, number: u32) -> bool {
        let s = &self.image.superblock;
        let quotas = match s.has_read_only_compat(RO_QUOTA | RO_PROJECTS) {
            true => s.quota_inodes,
            false => [0; 3],
        };
        let is_there = |feature| s.compat & feature != 0;
        number == RESIZE_INODE && is_there(COMPAT_RESIZE_INODE)
            || number == s.journal_inode && is_there(COMPAT_JOURNAL)
            || self.is_orphan_file(number)
            || quotas.contains(&number)
    }

    /// Checks an inode that is reserved, and that no name leads to.
    pub(super) fn reserved_inode(&mut self, number: u32) -> Result<(), ReadError> {
        let image = self.image;
        let (bytes, stored) = image.stored_inode(number)?;
        // One that never was anything has no checksum either.
        if bytes.get()[..OLD_LEN] == [0; OLD_LEN] {
            return Ok(());
        }
        let is_file = FileType::from_mode(stored.mode) == Some(FileType::File);
        if self.is_own(number) || (number == BOOT_LOADER_INODE && is_file) {
            let inode = image.check_inode(number, bytes.get(), stored)?;
            inode.expect(FileType::File)?;
            return self.inode(&inode, false);
        }
        let seed = image.superblock.seed;
        // Of no other are the blocks looked at.
        let file_type = match number {
            BAD_BLOCKS_INODE => FileType::File,
            _ => FileType::Fifo,
        };
        let inode = Inode::of_type(number, stored, file_type, seed);
        if image.superblock.has_checksums() {
            compare(inode.checksum(bytes.get(), seed)).map_err(|reason| inode.damaged(reason))?;
        }
        self.orphans_link(number, &stored);
        if EMPTY_INODES.contains(&number) {
            let is_empty =
                stored.links == 0 && stored.sectors as u32 == 0 && stored.block[..4] == [0; 4];
            return match is_empty {
                true => Ok(()),
                false => Err(inode.damaged(Damage::NotEmpty)),
            };
        }
        let mode = ("the mode", "0 of a reserved inode", stored.mode.into());
        self.field(stored.mode == 0, &inode, mode);
        if number == BAD_BLOCKS_INODE {
            let is_list = stored.links == 0
                && (
                    stored.uid as u16,
                    stored.gid as u16,
                    stored.xattr_block as u32,
                ) == (0, 0, 0)
                && stored.flags & (FLAG_EXTENTS | FLAG_INLINE) == 0;
            let flags = (
                "flags",
                "those of a list of bad blocks",
                stored.flags.into(),
            );
            self.field(is_list, &inode, flags);
        } else {
            if number == RESIZE_INODE && stored.block != [0; 60] {
                self.damaged(inode.damaged(Damage::NotEmpty));
            }
            self.index_flag(&inode);
            self.list_size(&inode);
        }
        self.account(&inode, false)
    }
}
