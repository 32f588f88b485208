//! The superblock of a filesystem that somebody made.

use super::MAGIC;
use crate::format::{SUPERBLOCK_LEN, crc32c, get16, get32, halves};

/// The superblock of an image, checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Superblock {
    /// Number of inodes there is room for.
    pub inodes: u32,
    /// Number of blocks.
    pub blocks: u64,
    /// Of these, free ones.
    pub free_blocks: u64,
    /// Inodes that are free.
    pub free_inodes: u32,
    /// Bytes of a block.
    pub block_size: u32,
    /// Blocks of a cluster, what is allocated as one: 1 without `bigalloc`.
    pub cluster_blocks: u32,
    /// Bytes of an inode.
    pub inode_size: u32,
    /// Features that a reader need not know (`EXT4_FEATURE_COMPAT_*`).
    pub compat: u32,
    /// Features that a reader has to know (`EXT4_FEATURE_INCOMPAT_*`).
    pub incompat: u32,
    /// Features that only a writer has to know (`EXT4_FEATURE_RO_COMPAT_*`).
    pub read_only_compat: u32,
    /// Identifier of the filesystem.
    pub uuid: [u8; 16],
    /// Its label, without the zeros behind it.
    pub label: Vec<u8>,
    pub(crate) first_block: u32,
    pub(crate) blocks_per_group: u32,
    pub(crate) inodes_per_group: u32,
    pub(crate) descriptor_len: u32,
    pub(crate) reserved_descriptor_blocks: u32,
    pub(crate) first_meta_group: u32,
    pub(crate) first_inode: u32,
    pub(crate) state: u16,
    pub(crate) journal_inode: u32,
    /// The device that a journal outside of the filesystem is on.
    pub(crate) journal_device: u32,
    /// The identifier of such a journal.
    pub(crate) journal_uuid: [u8; 16],
    pub(crate) last_orphan: u32,
    pub(crate) orphan_file: u32,
    /// Inodes that hold quotas of users, groups and projects.
    pub(crate) quota_inodes: [u32; 3],
    /// Two groups with copies of the superblock, with `sparse_super2`.
    pub(crate) backup_groups: [u32; 2],
    /// The block of multiple mount protection.
    pub(crate) mount_protection: u64,
    /// Blocks that are kept for one user.
    pub(crate) kept_blocks: u64,
    pub(crate) clusters_per_group: u32,
    /// Bytes of the fields behind the first 128 that inodes have at least, and that new ones get.
    pub(crate) extra_fields: [u32; 2],
    /// The binary logarithm of the groups of a flexible one.
    pub(crate) flexible_bits: u8,
    /// When it was mounted, written and made; 0 for never.
    pub(crate) times: [u32; 3],
    pub(crate) hash_seed: [u32; 4],
    pub(crate) flags: u32,
    pub(crate) checksum_type: u8,
    /// The sum all checksums begin with.
    pub(crate) seed: u32,
    pub(crate) block_bits: u32,
    pub(crate) cluster_bits: u32,
    pub(crate) inode_len: u16,
    pub(crate) revision: u32,
}

/// The journal of another filesystem.
pub(crate) const JOURNAL_DEVICE: u32 = 0x8;
pub(crate) const INCOMPAT_RECOVER: u32 = 0x4;
pub(crate) const INCOMPAT_META_GROUPS: u32 = 0x10;
pub(crate) const INCOMPAT_MOUNT_PROTECTION: u32 = 0x100;
pub(crate) const INCOMPAT_LARGE_DIRECTORIES: u32 = 0x4000;
pub(crate) const INCOMPAT_INLINE_DATA: u32 = 0x8000;
pub(crate) const INCOMPAT_ENCRYPTION: u32 = 0x1_0000;
pub(crate) const INCOMPAT_CASE_FOLDING: u32 = 0x2_0000;

pub(crate) const COMPAT_SPARSE_SUPER_2: u32 = 0x200;
pub(crate) const COMPAT_ORPHAN_FILE: u32 = 0x1000;

pub(crate) const RO_GROUP_CHECKSUMS: u32 = 0x10;
pub(crate) const RO_QUOTA: u32 = 0x100;
pub(crate) const RO_CLUSTERS: u32 = 0x200;
pub(crate) const RO_PROJECTS: u32 = 0x2000;
pub(crate) const RO_SHARED_BLOCKS: u32 = 0x4000;
/// Something is in the list of orphans.
pub(crate) const RO_ORPHANS: u32 = 0x1_0000;

/// All features that a reader has to know and this one does.
pub(crate) const INCOMPAT_KNOWN: u32 = super::INCOMPAT_FILE_TYPE
    | INCOMPAT_RECOVER
    | INCOMPAT_META_GROUPS
    | super::INCOMPAT_EXTENTS
    | super::INCOMPAT_64BIT
    | INCOMPAT_MOUNT_PROTECTION
    | super::INCOMPAT_FLEX_GROUPS
    | super::INCOMPAT_VALUE_INODES
    | super::INCOMPAT_CHECKSUM_SEED
    | INCOMPAT_LARGE_DIRECTORIES
    | INCOMPAT_INLINE_DATA
    | INCOMPAT_ENCRYPTION
    | INCOMPAT_CASE_FOLDING;

/// All features that a writer has to know, or need not, and of which there is nothing more to check than this crate does.
pub(crate) const COMPAT_KNOWN: u32 = 0x1e3f;
pub(crate) const RO_KNOWN: u32 = 0x1_f77b;

/// The kernel met errors.
pub(crate) const STATE_ERRORS: u16 = 2;

/// Returns the magic number, and the one ext2, ext3 and ext4 have.
pub(crate) fn magic(bytes: &[u8; SUPERBLOCK_LEN]) -> (u16, u16) {
    (get16(bytes, 56), MAGIC)
}

/// Returns the checksum that is stored, and the right one.
pub(crate) fn checksum(bytes: &[u8; SUPERBLOCK_LEN]) -> (u32, u32) {
    (get32(bytes, 1020), crc32c::update(!0, &bytes[..1020]))
}

impl Superblock {
    /// Reads all fields. Nothing of them is checked.
    pub(crate) fn decode(bytes: &[u8; SUPERBLOCK_LEN]) -> Self {
        let b = bytes.as_slice();
        let revision = get32(b, 76);
        let incompat = get32(b, 96);
        let is_64bit = incompat & super::INCOMPAT_64BIT != 0;
        let wide = |low: usize, high: usize| match is_64bit {
            true => halves(b, low, high),
            false => get32(b, low).into(),
        };
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&b[104..120]);
        let mut journal_uuid = [0; 16];
        journal_uuid.copy_from_slice(&b[208..224]);
        let seed = match incompat & super::INCOMPAT_CHECKSUM_SEED {
            0 => super::Superblock::seed(uuid),
            _ => get32(b, 624),
        };
        let read_only_compat = get32(b, 100);
        let (block_bits, cluster_bits) = (get32(b, 24), get32(b, 28));
        let label = b[120..136].split(|&byte| byte == 0).next();
        Self {
            inodes: get32(b, 0),
            blocks: wide(4, 336),
            free_blocks: wide(12, 344),
            free_inodes: get32(b, 16),
            block_size: 1024_u32.checked_shl(block_bits).unwrap_or(0),
            cluster_blocks: match read_only_compat & RO_CLUSTERS {
                0 => 1,
                _ => 1_u32
                    .checked_shl(cluster_bits.wrapping_sub(block_bits))
                    .unwrap_or(0),
            },
            inode_size: match revision {
                0 => 128,
                _ => get16(b, 88).into(),
            },
            compat: get32(b, 92),
            incompat,
            read_only_compat,
            uuid,
            label: label.unwrap_or_default().to_vec(),
            first_block: get32(b, 20),
            blocks_per_group: get32(b, 32),
            inodes_per_group: get32(b, 40),
            descriptor_len: match is_64bit {
                true => get16(b, 254).into(),
                false => 32,
            },
            reserved_descriptor_blocks: get16(b, 206).into(),
            first_meta_group: get32(b, 260),
            first_inode: match revision {
                0 => super::FIRST_INODE,
                _ => get32(b, 84),
            },
            state: get16(b, 58),
            journal_inode: get32(b, 224),
            journal_device: get32(b, 228),
            journal_uuid,
            last_orphan: get32(b, 232),
            orphan_file: get32(b, 640),
            quota_inodes: [576, 580, 620].map(|at| get32(b, at)),
            backup_groups: [588, 592].map(|at| get32(b, at)),
            mount_protection: halves(b, 360, 364),
            kept_blocks: wide(8, 340),
            clusters_per_group: get32(b, 36),
            extra_fields: [348, 350].map(|at| get16(b, at).into()),
            flexible_bits: b[372],
            times: [44, 48, 264].map(|at| get32(b, at)),
            hash_seed: [236, 240, 244, 248].map(|at| get32(b, at)),
            flags: get32(b, 352),
            checksum_type: b[373],
            seed,
            block_bits,
            cluster_bits,
            inode_len: get16(b, 88),
            revision,
        }
    }

    pub(crate) fn has_incompat(&self, feature: u32) -> bool {
        self.incompat & feature != 0
    }

    pub(crate) fn has_read_only_compat(&self, feature: u32) -> bool {
        self.read_only_compat & feature != 0
    }

    /// Tells whether all metadata has checksums.
    pub(crate) fn has_checksums(&self) -> bool {
        self.has_read_only_compat(super::RO_CHECKSUMS)
    }

    /// Tells whether names are hashed as unsigned bytes.
    pub(crate) fn hashes_unsigned(&self) -> bool {
        self.flags & super::FLAG_UNSIGNED_HASH != 0
    }

    /// Returns the number of block groups.
    pub(crate) fn groups(&self) -> u32 {
        let blocks = self.blocks.saturating_sub(self.first_block.into());
        blocks.div_ceil(u64::from(self.blocks_per_group).max(1)) as u32
    }

    /// Returns the first block of a group.
    pub(crate) fn group_start(&self, group: u32) -> u64 {
        u64::from(self.first_block) + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// Returns the blocks of descriptors there are in all.
    pub(crate) fn descriptor_blocks(&self) -> u32 {
        self.groups().div_ceil(self.descriptors_per_block())
    }

    pub(crate) fn descriptors_per_block(&self) -> u32 {
        (self.block_size / self.descriptor_len.max(1)).max(1)
    }

    /// Tells whether a group has a copy of the superblock.
    pub(crate) fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.compat & COMPAT_SPARSE_SUPER_2 != 0 {
            return self.backup_groups.contains(&group);
        }
        !self.has_read_only_compat(super::RO_SPARSE_SUPER) || crate::format::has_superblock(group)
    }

    /// Returns the block with the descriptors of number `index`.
    pub(crate) fn descriptor_block(&self, index: u32) -> u64 {
        let is_meta = self.has_incompat(INCOMPAT_META_GROUPS) && index >= self.first_meta_group;
        if !is_meta {
            // The superblock is block 1 with blocks of 1 KiB, also where block 0 is in the first group.
            return u64::from(self.block_size == 1024) + 1 + u64::from(index);
        }
        let group = index.saturating_mul(self.descriptors_per_block());
        // With blocks of 1 KiB and clusters, the superblock of the first group is block 1, not 0.
        let shifted = self.block_size == 1024 && index == 0 && self.first_block == 0;
        self.group_start(group) + u64::from(self.has_superblock(group)) + u64::from(shifted)
    }
}
