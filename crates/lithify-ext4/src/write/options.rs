//! What is asked for, and what was made.

use lithify_cancel::Budget;
use lithify_tree::Timestamp;

use crate::WriteError;
use crate::format::{DESCRIPTOR_LEN, INODE_LEN};
use crate::geometry::Geometry;

/// Bytes of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockSize {
    /// 1 KiB.
    Small,
    /// 2 KiB.
    Medium,
    /// 4 KiB.
    #[default]
    Large,
}

impl BlockSize {
    /// Returns the bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Small => 1024,
            Self::Medium => 2048,
            Self::Large => 4096,
        }
    }
}

/// How file data is taken: what has to be known before the first byte.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DataOptions {
    /// Bytes of a block. Default 4 KiB.
    pub block_size: BlockSize,
    /// Bytes of the filesystem. Default: what is in it and a tenth more.
    pub size: Option<u64>,
    /// Bytes of the filesystem for each inode, at least. Default 16 KiB.
    pub bytes_per_inode: u64,
    /// Bytes that this image and others may take together. Default: any number.
    pub budget: Budget,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            block_size: BlockSize::default(),
            size: None,
            bytes_per_inode: 16 << 10,
            budget: Budget::unlimited(),
        }
    }
}

/// How many times its size a filesystem can grow, by its reserved descriptors.
const GROWTH: u64 = 64;

/// The size a filesystem whose size is not known yet can grow to, at least.
const GROWTH_MIN: u64 = 1 << 40;

impl DataOptions {
    pub(crate) fn geometry(&self) -> Result<Geometry, WriteError> {
        let block_size = self.block_size.bytes();
        if !(1024..=64 << 20).contains(&self.bytes_per_inode) {
            return Err(WriteError::BytesPerInode {
                found: self.bytes_per_inode,
            });
        }
        let group_bytes = u64::from(8 * block_size) * u64::from(block_size);
        let (least, most) = (64 * u64::from(block_size), u64::from(block_size) << 32);
        if let Some(size) = self.size
            && !(least..=most).contains(&size)
        {
            return Err(WriteError::Size { size, least, most });
        }
        let per_block = u64::from(block_size) / DESCRIPTOR_LEN as u64;
        let blocks_for = |bytes: u64| bytes.div_ceil(group_bytes).div_ceil(per_block);
        let used = self.size.map_or(1, blocks_for);
        let grown = match self.size {
            Some(size) => size.saturating_mul(GROWTH).min(most),
            None => GROWTH_MIN.min(most),
        };
        // As many as one block of numbers leads to.
        let reserved = blocks_for(grown)
            .saturating_sub(used)
            .min(u64::from(block_size) / 4);
        let per_table_block = u64::from(block_size) / INODE_LEN as u64;
        let inodes = |bytes: u64| (bytes / self.bytes_per_inode).max(16);
        let most_inodes = u64::from(8 * block_size);
        let table = inodes(group_bytes)
            .min(most_inodes)
            .div_ceil(per_table_block);
        // A filesystem of one small group has a small table.
        let table = match self.size {
            Some(size) if size < group_bytes => table.min(inodes(size).div_ceil(per_table_block)),
            _ => table,
        };
        Ok(Geometry {
            block_size,
            descriptor_blocks: (used + reserved) as u32,
            // An even number, so that the bitmap of inodes ends with a whole byte.
            table_blocks: table.next_multiple_of(2) as u32,
        })
    }
}

/// The journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Journal {
    /// As large as `mke2fs` makes it for the size of the filesystem.
    #[default]
    Default,
    /// So many bytes.
    Bytes(u64),
    /// None.
    None,
}

/// What the filesystem says about itself.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ImageOptions {
    /// When it was made, as it says. Default: the latest time in the tree.
    pub time: Option<Timestamp>,
    /// The label, at most 16 bytes. Default empty.
    pub label: Vec<u8>,
    /// What identifies the file data, such as the layers' digests. The UUID and the seed of hashes are derived from it, the
    /// names and the metadata.
    pub uuid_seed: Vec<u8>,
    /// The journal.
    pub journal: Journal,
    /// Bytes left free at least, where no size is asked for. Default: a tenth of what is in it.
    pub free: Option<u64>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FinishReport {
    /// Bytes of the filesystem.
    pub size: u64,
    /// Blocks that are free.
    pub free_blocks: u64,
    /// Inodes that are used, reserved ones included.
    pub inodes: u32,
    /// Bytes of blocks with file data.
    pub data_bytes: u64,
    /// Bytes of blocks with directories, extents, attributes and targets of links.
    pub metadata_bytes: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Bytes copied inside the image to close the space of dead data.
    pub moved_bytes: u64,
    /// Directories with a tree of hashes.
    pub indexed_directories: u32,
    /// Times that were outside of what an inode can say, and became the nearest it can.
    pub clamped_times: u64,
    /// The UUID.
    pub uuid: [u8; 16],
}
