//! Fields of the superblock that are of no use to readers.

use super::{ProblemKind, Verifier};
use crate::format::superblock::parse::{COMPAT_KNOWN, RO_KNOWN, STATE_ERRORS};
use crate::format::superblock::{COMPAT_JOURNAL, COMPAT_RESIZE_INODE, INCOMPAT_FLEX_GROUPS};
use crate::{Damage, ReadAt, ReadError};

impl<R: ReadAt> Verifier<'_, R> {
    pub(super) fn superblock(&mut self) {
        let s = &self.image.superblock;
        let has_errors = s.state & STATE_ERRORS != 0;
        let has_journal = s.compat & COMPAT_JOURNAL != 0;
        let names_journal = (s.journal_device == 0 && s.journal_uuid != [0; 16])
            || (!has_journal && s.journal_inode != 0);
        let most = u64::from(s.block_size / 4);
        let extra = s.inode_size - 128;
        let is_extra = |length: u32| {
            extra == 0 || length == 0 || ((4..=extra).contains(&length) && length.is_multiple_of(4))
        };
        let is_quota =
            |inode: u32| matches!(inode, 0 | 3 | 4) || (s.first_inode..=s.inodes).contains(&inode);
        let wrong = [
            (
                s.clusters_per_group == s.blocks_per_group / s.cluster_blocks,
                "the number of clusters of a group",
                "those of its blocks",
                s.clusters_per_group.into(),
            ),
            (
                s.kept_blocks <= s.blocks / 2,
                "the number of blocks kept for one user",
                "at most half of all",
                s.kept_blocks,
            ),
            (
                u64::from(s.reserved_descriptor_blocks) <= most,
                "the number of blocks reserved for descriptors",
                "what one list of blocks has room for",
                s.reserved_descriptor_blocks.into(),
            ),
            (
                s.reserved_descriptor_blocks == 0 || s.compat & COMPAT_RESIZE_INODE != 0,
                "the number of blocks reserved for descriptors",
                "none without a resize inode",
                s.reserved_descriptor_blocks.into(),
            ),
            (
                s.extra_fields.into_iter().all(is_extra),
                "the length of fields behind the first 128 bytes of inodes",
                "a multiple of 4 that inodes have room for",
                s.extra_fields.into_iter().max().unwrap_or(0).into(),
            ),
            (
                s.flexible_bits < 32,
                "the binary logarithm of the size of flexible groups",
                "at most 31",
                s.flexible_bits.into(),
            ),
            (
                s.quota_inodes.into_iter().all(is_quota),
                "the inode of a quota",
                "3, 4, or one that is not reserved",
                s.quota_inodes.into_iter().max().unwrap_or(0).into(),
            ),
            (
                s.compat & !COMPAT_KNOWN == 0,
                "the set of compatible features",
                "those that are known",
                s.compat.into(),
            ),
            (
                s.read_only_compat & !RO_KNOWN == 0,
                "the set of features for writers",
                "those that are known",
                s.read_only_compat.into(),
            ),
        ];
        let wrong = wrong.into_iter().find(|(is_right, ..)| !is_right);
        if let Some((_, field, expected, found)) = wrong {
            let reason = Damage::Field {
                field,
                expected,
                found,
            };
            self.damaged(ReadError::Superblock { reason });
        }
        if has_errors {
            self.problem(ProblemKind::Errors);
        }
        if names_journal {
            self.problem(ProblemKind::NoJournal);
        }
    }

    /// Checks that metadata of a group is inside of it, unless groups are flexible.
    pub(super) fn is_inside(&self, group: u32, block: u64, count: u64) -> bool {
        let s = &self.image.superblock;
        let start = s.group_start(group);
        let end = start + u64::from(s.blocks_per_group);
        s.has_incompat(INCOMPAT_FLEX_GROUPS) || (block >= start && block + count <= end)
    }
}
