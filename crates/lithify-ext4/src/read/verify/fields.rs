//! Fields of inodes that are of no use to readers, and that have to be right all the same.

use super::Verifier;
use crate::format::inode::{FLAG_EXTENTS, FLAG_INDEX, FLAG_INLINE};
use crate::format::superblock::parse::{INCOMPAT_INLINE_DATA, INCOMPAT_LARGE_DIRECTORIES};
use crate::format::superblock::{COMPAT_DIR_INDEX, INCOMPAT_64BIT, INCOMPAT_EXTENTS, RO_HUGE_FILE};
use crate::read::Inode;
use crate::{Damage, FileType, ReadAt};

impl<R: ReadAt> Verifier<'_, R> {
    /// Notes a field of an inode that is not what it should be.
    pub(super) fn field(
        &mut self,
        is_right: bool,
        inode: &Inode,
        (field, expected, found): (&'static str, &'static str, u64),
    ) {
        if !is_right {
            let reason = Damage::Field {
                field,
                expected,
                found,
            };
            self.damaged(inode.damaged(reason));
        }
    }

    /// Checks the fields of an inode in use. Of one without a name, `e2fsck` looks at some.
    pub(super) fn fields(&mut self, inode: &Inode, has_name: bool) {
        let s = &self.image.superblock;
        let stored = &inode.stored;
        // Of an orphan it is the next one.
        let is_alive = stored.dtime == 0 || self.orphans.contains(&inode.number());
        let (wide, large) = (INCOMPAT_64BIT, INCOMPAT_LARGE_DIRECTORIES);
        let is_sized = match inode.file_type() {
            FileType::File => true,
            FileType::Directory => stored.size >> 32 == 0 || s.has_incompat(large),
            FileType::Symlink => stored.size >> 32 == 0,
            _ => stored.size == 0,
        };
        let has_extents = !inode.has(FLAG_EXTENTS) || s.has_incompat(INCOMPAT_EXTENTS);
        let is_inline = !inode.has(FLAG_INLINE) || s.has_incompat(INCOMPAT_INLINE_DATA);
        let high = stored.xattr_block >> 32;
        let has_high = high == 0 || s.has_incompat(wide) || !has_name;
        let sectors = stored.sectors >> 32;
        let is_huge = sectors == 0 || s.has_read_only_compat(RO_HUGE_FILE) || !has_name;
        let flags = u64::from(stored.flags);
        for (is_right, field) in [
            (is_alive, ("the time of deletion", "0", stored.dtime.into())),
            (
                is_sized,
                ("the size", "what its type can have", stored.size),
            ),
            (
                stored.fragment == 0 || !has_name,
                ("the block of a fragment", "0", stored.fragment.into()),
            ),
            (
                has_high,
                ("the upper half of the block of attributes", "0", high),
            ),
            (
                is_huge,
                ("the upper half of the number of blocks", "0", sectors),
            ),
            (has_extents, ("flags", "no extents", flags)),
            (is_inline, ("flags", "no data in the inode", flags)),
        ] {
            self.field(is_right, inode, field);
        }
        self.index_flag(inode);
        self.list_size(inode);
    }

    /// Checks that nothing else than a directory has a tree of hashes.
    pub(super) fn index_flag(&mut self, inode: &Inode) {
        let may_have = inode.file_type() == FileType::Directory
            && self.image.superblock.compat & COMPAT_DIR_INDEX != 0;
        let flags = ("flags", "no tree of hashes", inode.stored.flags.into());
        self.field(may_have || !inode.has(FLAG_INDEX), inode, flags);
    }

    /// Checks that a file is not longer than its lists of blocks could say.
    pub(super) fn list_size(&mut self, inode: &Inode) {
        let per_block = self.image.block_size() / 4;
        let blocks = 12 + per_block + per_block.pow(2) + per_block.pow(3);
        let limit = blocks * self.image.block_size();
        let size = inode.stored.size;
        if !inode.has_extents() && !inode.is_inline() && size > limit {
            self.damaged(inode.damaged(Damage::Size { size, limit }));
        }
    }
}
