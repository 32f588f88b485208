//! Block groups: their own blocks, and what their bitmaps and counts say about all others.

use super::set::Set;
use super::{ProblemKind, Verifier};
use crate::format::crc32c;
use crate::format::group::{BLOCK_UNINIT, Descriptor, INODE_UNINIT};
use crate::format::superblock::RO_CHECKSUMS;
use crate::format::superblock::parse::{
    INCOMPAT_META_GROUPS, INCOMPAT_MOUNT_PROTECTION, RO_GROUP_CHECKSUMS,
};
use crate::{Damage, ReadAt, ReadError};

/// A bitmap and what it should be.
struct Bitmap<'a> {
    what: &'static str,
    group: u32,
    /// Where it is.
    block: u64,
    /// Numbers it is about, from a multiple of 8 on.
    first: u64,
    count: u64,
    /// Bits that its checksum covers.
    summed: u64,
    stored: u32,
    used: &'a Set,
}

impl<R: ReadAt> Verifier<'_, R> {
    /// Tells whether descriptors say which parts of their group were never used.
    fn has_unused_parts(&self) -> bool {
        let s = &self.image.superblock;
        s.has_read_only_compat(RO_GROUP_CHECKSUMS | RO_CHECKSUMS)
    }

    /// Returns how many inodes of a group's table may be in use; none if it has no descriptor.
    pub(super) fn used_of_table(&mut self, group: u32) -> Result<u32, ReadError> {
        let all = self.image.superblock.inodes_per_group;
        let descriptor = match self.image.descriptor(group) {
            Err(e @ ReadError::Io { .. }) => return Err(e),
            // Said once, where metadata is noted.
            Err(_) => return Ok(0),
            Ok(descriptor) => descriptor,
        };
        if !self.has_unused_parts() {
            return Ok(all);
        }
        Ok(match descriptor.flags & INODE_UNINIT {
            0 => all.saturating_sub(descriptor.unused_inodes),
            _ => 0,
        })
    }

    /// Notes the blocks of all groups' metadata.
    pub(super) fn fixed_metadata(&mut self) -> Result<(), ReadError> {
        let s = &self.image.superblock;
        let (groups, per_block) = (s.groups(), s.descriptors_per_block());
        let has_meta = s.has_incompat(INCOMPAT_META_GROUPS);
        let first_meta = s.first_meta_group;
        let old_blocks = match has_meta {
            true => first_meta,
            false => s.descriptor_blocks() + s.reserved_descriptor_blocks,
        };
        let table_blocks = (u64::from(s.inodes_per_group) * u64::from(s.inode_size))
            .div_ceil(u64::from(s.block_size));
        let (block_size, inodes_per_group) = (s.block_size, s.inodes_per_group);
        let protection = s
            .has_incompat(INCOMPAT_MOUNT_PROTECTION)
            .then_some(s.mount_protection);
        let mut marked = Vec::new();
        for group in 0..groups {
            let s = &self.image.superblock;
            let mut start = s.group_start(group);
            if start == 0 && block_size == 1024 {
                // With clusters, what is in front of the superblock is in the first group.
                marked.push((0, 1));
                start = 1;
            }
            let has_superblock = s.has_superblock(group);
            if has_superblock {
                marked.push((start, 1));
            }
            let meta = group / per_block;
            if !has_meta || meta < first_meta {
                if has_superblock {
                    marked.push((start + 1, old_blocks.into()));
                }
            } else if [0, 1, per_block - 1].contains(&(group % per_block)) {
                marked.push((start + u64::from(has_superblock), 1));
            }
            let descriptor = self.image.descriptor(group);
            if let Some(found) = self.tried(descriptor)? {
                let unused = found.flags & (INODE_UNINIT | BLOCK_UNINIT);
                if !self.has_unused_parts() && (unused != 0 || found.unused_inodes != 0) {
                    let reason = Damage::Field {
                        field: "the number of inodes never used",
                        expected: "0 where descriptors have no checksums",
                        found: found.unused_inodes.into(),
                    };
                    self.damaged(ReadError::Group { group, reason });
                }
                if found.unused_inodes > inodes_per_group {
                    let reason = Damage::Field {
                        field: "the number of inodes never used",
                        expected: "at most those of a group",
                        found: found.unused_inodes.into(),
                    };
                    self.damaged(ReadError::Group { group, reason });
                }
                for (block, count) in [
                    (found.block_bitmap, 1),
                    (found.inode_bitmap, 1),
                    (found.inode_table, table_blocks),
                ] {
                    if !self.is_inside(group, block, count) {
                        self.problem(ProblemKind::Outside { group, block });
                    }
                }
                marked.push((found.block_bitmap, 1));
                marked.push((found.inode_bitmap, 1));
                marked.push((found.inode_table, table_blocks));
            }
            for (block, count) in marked.drain(..) {
                self.mark_fixed(group, block, count)?;
            }
        }
        if let Some(block) = protection {
            self.mark_fixed(0, block, 1)?;
        }
        Ok(())
    }

    fn mark_fixed(&mut self, group: u32, block: u64, count: u64) -> Result<(), ReadError> {
        let checked = self.image.blocks.check(block, count);
        let checked = checked.map_err(|reason| ReadError::Group { group, reason });
        if self.tried(checked)?.is_none() || count == 0 {
            return Ok(());
        }
        let (from, to) = (self.cluster(block), self.cluster(block + count - 1) + 1);
        let twice = self.used.insert_range(from, to - from);
        self.fixed.insert_range(from, to - from);
        // Metadata of different kinds may share a cluster.
        if let Some(cluster) = twice
            && self.image.superblock.cluster_blocks == 1
        {
            let block = u64::from(self.image.superblock.first_block) + cluster;
            self.problem(ProblemKind::Metadata { group, block });
        }
        Ok(())
    }

    /// Compares bitmaps and counts with what was found.
    pub(super) fn bitmaps(&mut self) -> Result<(), ReadError> {
        let s = &self.image.superblock;
        let (mut free_clusters, mut free_inodes) = (0, 0);
        let clusters_per_group = u64::from(s.blocks_per_group / s.cluster_blocks);
        let all = (s.blocks - u64::from(s.first_block)).div_ceil(s.cluster_blocks.into());
        let inodes_per_group = u64::from(s.inodes_per_group);
        let cluster_blocks = u64::from(s.cluster_blocks);
        for group in 0..s.groups() {
            let first = u64::from(group) * clusters_per_group;
            let count = clusters_per_group.min(all - first);
            let found = match self.image.descriptor(group) {
                Err(e @ ReadError::Io { .. }) => return Err(e),
                // Said before.
                Err(_) => continue,
                Ok(found) => found,
            };
            let used = self.used.count(first, count);
            free_clusters += count - used;
            self.report.own.used_blocks += used * cluster_blocks;
            self.block_bitmap(group, &found, first, count)?;
            self.group_count(
                group,
                "free clusters of blocks",
                found.free_blocks,
                count - used,
            );
            let first = u64::from(group) * inodes_per_group;
            let used = self.in_use.count(first, inodes_per_group);
            free_inodes += inodes_per_group - used;
            self.inode_bitmap(group, &found, first, inodes_per_group)?;
            self.group_count(
                group,
                "free inodes",
                found.free_inodes,
                inodes_per_group - used,
            );
            let directories = self.directories.get(&group).copied().unwrap_or(0);
            self.group_count(
                group,
                "directories",
                found.used_directories,
                directories.into(),
            );
        }
        // These are right only once a filesystem was unmounted, and cannot be compared where groups cannot be read.
        if !self.image.is_replayed && self.damaged_groups.is_empty() {
            let s = &self.image.superblock;
            let blocks = (s.free_blocks, free_clusters * cluster_blocks);
            let inodes = (u64::from(s.free_inodes), free_inodes);
            for (what, (stated, found)) in [("free blocks", blocks), ("free inodes", inodes)] {
                if stated != found {
                    self.problem(ProblemKind::Count {
                        what,
                        stated,
                        found,
                    });
                }
            }
        }
        Ok(())
    }

    fn group_count(&mut self, group: u32, what: &'static str, stated: u32, found: u64) {
        let stated = u64::from(stated);
        if stated != found {
            self.problem(ProblemKind::GroupCount {
                group,
                what,
                stated,
                found,
            });
        }
    }

    fn block_bitmap(
        &mut self,
        group: u32,
        descriptor: &Descriptor,
        first: u64,
        count: u64,
    ) -> Result<(), ReadError> {
        let s = &self.image.superblock;
        let (start, size) = (u64::from(s.first_block), u64::from(s.cluster_blocks));
        let difference = if self.has_unused_parts() && descriptor.flags & BLOCK_UNINIT != 0 {
            // Only what is metadata is used.
            let numbers = first / 8..(first + count).div_ceil(8);
            let differs = |index: &u64| self.used.byte(*index) != self.fixed.byte(*index);
            let found = numbers.clone().find(differs).map(|index| {
                let bits = self.used.byte(index) ^ self.fixed.byte(index);
                (index * 8 + u64::from(bits.trailing_zeros()), true)
            });
            found.map(|(number, is_used)| (number, is_used, numbers.filter(differs).count() as u64))
        } else {
            let used = std::mem::take(&mut self.used);
            let bitmap = Bitmap {
                what: "blocks",
                group,
                block: descriptor.block_bitmap,
                first,
                count,
                summed: u64::from(s.blocks_per_group / s.cluster_blocks),
                stored: descriptor.block_bitmap_sum,
                used: &used,
            };
            let found = self.compare_bitmap(&bitmap);
            self.used = used;
            found?
        };
        if let Some((cluster, is_used, count)) = difference {
            self.problem(ProblemKind::BlockBitmap {
                group,
                block: start + cluster * size,
                is_used,
                count,
            });
        }
        Ok(())
    }

    fn inode_bitmap(
        &mut self,
        group: u32,
        descriptor: &Descriptor,
        first: u64,
        count: u64,
    ) -> Result<(), ReadError> {
        if self.has_unused_parts() && descriptor.flags & INODE_UNINIT != 0 {
            // Names that lead there have been said.
            return Ok(());
        }
        let used = std::mem::take(&mut self.in_use);
        let bitmap = Bitmap {
            what: "inodes",
            group,
            block: descriptor.inode_bitmap,
            first,
            count,
            summed: count,
            stored: descriptor.inode_bitmap_sum,
            used: &used,
        };
        let found = self.compare_bitmap(&bitmap);
        self.in_use = used;
        if let Some((index, is_used, count)) = found? {
            self.problem(ProblemKind::InodeBitmap {
                group,
                inode: index + 1,
                is_used,
                count,
            });
        }
        Ok(())
    }

    /// Compares a bitmap. Returns the first number that is different, whether that is used, and how many there are.
    fn compare_bitmap(
        &mut self,
        bitmap: &Bitmap<'_>,
    ) -> Result<Option<(u64, bool, u64)>, ReadError> {
        if self.image.blocks.check(bitmap.block, 1).is_err() {
            // Said before.
            return Ok(None);
        }
        let bytes = self.image.blocks.block(bitmap.block)?;
        let s = &self.image.superblock;
        if s.has_checksums() {
            let computed = crc32c::update(s.seed, &bytes[..(bitmap.summed / 8) as usize]);
            let mask = if s.descriptor_len < 64 {
                0xffff
            } else {
                u32::MAX
            };
            let (stored, computed) = (bitmap.stored, computed & mask);
            if stored != computed {
                let group = bitmap.group;
                let reason = Damage::Checksum { stored, computed };
                self.problem(ProblemKind::Unreadable(ReadError::Bitmap {
                    what: bitmap.what,
                    group,
                    reason,
                }));
            }
        }
        let bit = |index: u64| bytes[(index / 8) as usize] >> (index % 8) & 1 == 1;
        let mut difference: Option<(u64, bool, u64)> = None;
        for (at, byte) in (0..bitmap.count.div_ceil(8)).zip(bytes.iter()) {
            if bitmap.used.byte(bitmap.first / 8 + at) == *byte {
                continue;
            }
            for index in at * 8..bitmap.count.min(at * 8 + 8) {
                let number = bitmap.first + index;
                let is_used = bitmap.used.contains(number);
                if is_used != bit(index) {
                    let (_, _, count) = difference.get_or_insert((number, is_used, 0));
                    *count += 1;
                }
            }
        }
        if (bitmap.count..bytes.len() as u64 * 8).any(|index| !bit(index)) {
            self.problem(ProblemKind::Padding {
                what: bitmap.what,
                group: bitmap.group,
            });
        }
        Ok(difference)
    }
}
