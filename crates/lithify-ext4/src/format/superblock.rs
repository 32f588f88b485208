//! The superblock, 1024 bytes at offset 1024 and, as copies, at the start of some groups (`struct ext4_super_block`).

pub(crate) mod parse; // the superblock as it is found

use super::hash::HALF_MD4;
use super::{
    DESCRIPTOR_LEN, FIRST_INODE, INODE_LEN, JOURNAL_INODE, SUPERBLOCK_LEN, crc32c, put16, put32,
};

const MAGIC: u16 = 0xef53;

pub(crate) const COMPAT_JOURNAL: u32 = 0x4;
pub(crate) const COMPAT_XATTRS: u32 = 0x8;
pub(crate) const COMPAT_RESIZE_INODE: u32 = 0x10;
pub(crate) const COMPAT_DIR_INDEX: u32 = 0x20;

pub(crate) const INCOMPAT_FILE_TYPE: u32 = 0x2;
pub(crate) const INCOMPAT_EXTENTS: u32 = 0x40;
pub(crate) const INCOMPAT_64BIT: u32 = 0x80;
pub(crate) const INCOMPAT_FLEX_GROUPS: u32 = 0x200;
pub(crate) const INCOMPAT_VALUE_INODES: u32 = 0x400;
pub(crate) const INCOMPAT_CHECKSUM_SEED: u32 = 0x2000;

pub(crate) const RO_SPARSE_SUPER: u32 = 0x1;
pub(crate) const RO_LARGE_FILE: u32 = 0x2;
pub(crate) const RO_HUGE_FILE: u32 = 0x8;
pub(crate) const RO_DIR_LINKS: u32 = 0x20;
pub(crate) const RO_EXTRA_INODE: u32 = 0x40;
pub(crate) const RO_CHECKSUMS: u32 = 0x400;

/// The logarithm of the groups of a flexible one: sixteen.
pub(crate) const FLEXIBLE_GROUPS_LOG: u8 = 4;

/// Names are hashed as unsigned bytes, on every machine.
const FLAG_UNSIGNED_HASH: u32 = 2;
/// Mounted with extended attributes of users and with ACLs.
const MOUNT_XATTRS_ACLS: u32 = 0x4 | 0x8;

/// What is not the same in all filesystems.
#[derive(Clone, Debug)]
pub(crate) struct Superblock {
    pub(crate) inodes: u32,
    pub(crate) blocks: u64,
    pub(crate) free_blocks: u64,
    pub(crate) free_inodes: u32,
    pub(crate) first_block: u32,
    pub(crate) block_size: u32,
    pub(crate) inodes_per_group: u32,
    pub(crate) reserved_descriptor_blocks: u16,
    pub(crate) compat: u32,
    /// What there is besides what all have.
    pub(crate) incompat: u32,
    /// Blocks no file can have: metadata of groups, and the journal.
    pub(crate) overhead: u64,
    pub(crate) uuid: [u8; 16],
    pub(crate) label: Vec<u8>,
    /// When it was made, as it says.
    pub(crate) time: i64,
    pub(crate) hash_seed: [u32; 4],
    /// The journal's extents and size, to find it when its inode is damaged.
    pub(crate) journal: Option<([u8; 60], u64)>,
}

impl Superblock {
    /// Returns the sum all checksums begin with.
    pub(crate) fn seed(uuid: [u8; 16]) -> u32 {
        crc32c::update(!0, &uuid)
    }

    /// Returns the copy in group `group`, with its checksum.
    pub(crate) fn to_bytes(&self, group: u32) -> [u8; SUPERBLOCK_LEN] {
        let mut bytes = [0; SUPERBLOCK_LEN];
        let b = &mut bytes;
        let halves = |value: u64| (value as u32, (value >> 32) as u32);
        put32(b, 0, self.inodes);
        let (low, high) = halves(self.blocks);
        put32(b, 4, low);
        put32(b, 336, high);
        let (low, high) = halves(self.free_blocks);
        put32(b, 12, low);
        put32(b, 344, high);
        put32(b, 16, self.free_inodes);
        put32(b, 20, self.first_block);
        let log = self.block_size.trailing_zeros() - 10;
        put32(b, 24, log);
        put32(b, 28, log);
        put32(b, 32, 8 * self.block_size);
        put32(b, 36, 8 * self.block_size);
        put32(b, 40, self.inodes_per_group);
        let (low, high) = halves(self.time as u64);
        // Written, made, checked; never mounted.
        put32(b, 48, low);
        put32(b, 64, low);
        put32(b, 264, low);
        for at in [628, 629, 630] {
            b[at] = high as u8;
        }
        put16(b, 54, u16::MAX);
        put16(b, 56, MAGIC);
        // Clean; errors do not stop it.
        put16(b, 58, 1);
        put16(b, 60, 1);
        put32(b, 76, 1);
        put32(b, 84, FIRST_INODE);
        put16(b, 88, INODE_LEN as u16);
        put16(b, 90, group as u16);
        put32(b, 92, self.compat);
        put32(
            b,
            96,
            INCOMPAT_FILE_TYPE
                | INCOMPAT_EXTENTS
                | INCOMPAT_64BIT
                | INCOMPAT_FLEX_GROUPS
                | INCOMPAT_CHECKSUM_SEED
                | self.incompat,
        );
        put32(
            b,
            100,
            RO_SPARSE_SUPER
                | RO_LARGE_FILE
                | RO_HUGE_FILE
                | RO_DIR_LINKS
                | RO_EXTRA_INODE
                | RO_CHECKSUMS,
        );
        b[104..120].copy_from_slice(&self.uuid);
        b[120..120 + self.label.len()].copy_from_slice(&self.label);
        put16(b, 206, self.reserved_descriptor_blocks);
        if let Some((block, size)) = &self.journal {
            put32(b, 224, JOURNAL_INODE);
            // The journal's inode has a copy here (`s_jnl_blocks`): its blocks, then the size, upper half first.
            b[253] = 1;
            b[268..328].copy_from_slice(block);
            let (low, high) = halves(*size);
            put32(b, 328, high);
            put32(b, 332, low);
        }
        for (index, word) in self.hash_seed.iter().enumerate() {
            put32(b, 236 + 4 * index, *word);
        }
        b[252] = HALF_MD4;
        put16(b, 254, DESCRIPTOR_LEN as u16);
        put32(b, 256, MOUNT_XATTRS_ACLS);
        put16(b, 348, 32);
        put16(b, 350, 32);
        put32(b, 352, FLAG_UNSIGNED_HASH);
        b[372] = FLEXIBLE_GROUPS_LOG;
        // CRC-32C.
        b[373] = 1;
        // The kernel would count them at every mount, and has 32 bits for them.
        put32(b, 584, u32::try_from(self.overhead).unwrap_or(0));
        put32(b, 624, Self::seed(self.uuid));
        let sum = crc32c::update(!0, &b[..1020]);
        put32(b, 1020, sum);
        bytes
    }
}
