//! What is asked for, and what was made.

use lithify_cancel::Budget;
use lithify_tree::Timestamp;

use crate::WriteError;
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

/// The facts about a filesystem that have to be known before the first byte.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DataOptions {
    /// Bytes of a block. Default 4 KiB.
    pub block_size: BlockSize,
    /// Bytes of the filesystem. Default: its contents and a tenth more.
    pub size: Option<u64>,
    /// Bytes of the filesystem for each inode, at most: there are at least a tenth more inodes than files. Default 16 KiB.
    pub bytes_per_inode: u64,
    /// The number of inodes, rounded up to whole blocks of each group, instead of one for so many bytes. Eleven of them are
    /// the filesystem's own.
    pub inodes: Option<u32>,
    /// Bytes that this image and others may take together. Default: any number.
    pub budget: Budget,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            block_size: BlockSize::default(),
            size: None,
            bytes_per_inode: 16 << 10,
            inodes: None,
            budget: Budget::unlimited(),
        }
    }
}

/// How many times its size a filesystem can grow, by its reserved descriptors.
const GROWTH: u64 = 64;

/// The size a filesystem whose size is not known yet can have, and grow to.
const GROWTH_MIN: u64 = 1 << 40;

/// The least blocks of a filesystem.
pub(super) const BLOCKS_MIN: u64 = 64;

impl DataOptions {
    pub(crate) fn geometry(&self) -> Result<Geometry, WriteError> {
        let block_size = self.block_size.bytes();
        if !(1024..=64 << 20).contains(&self.bytes_per_inode) {
            return Err(WriteError::BytesPerInode {
                found: self.bytes_per_inode,
            });
        }
        let plain = Geometry::new(block_size, 0);
        let group_bytes = u64::from(plain.blocks_per_group()) * u64::from(block_size);
        let blocks_for = |bytes: u64| {
            bytes
                .div_ceil(group_bytes)
                .div_ceil(plain.descriptors_per_block().into())
        };
        // Block numbers have 32 bits, and descriptors leave half of a group.
        let most = (u64::from(block_size) << 32).min(
            u64::from(plain.blocks_per_group() / 2)
                * u64::from(plain.descriptors_per_block())
                * group_bytes,
        );
        let least = BLOCKS_MIN * u64::from(block_size);
        if let Some(size) = self.size
            && !(least..=most).contains(&size)
        {
            return Err(WriteError::Size { size, least, most });
        }
        let used = self.size.map_or(1, blocks_for);
        let grown = self
            .size
            .map_or(GROWTH_MIN, |size| size.saturating_mul(GROWTH));
        // As many as one block of numbers leads to.
        let reserved = blocks_for(grown.min(most))
            .saturating_sub(used)
            .min(u64::from(block_size) / 4);
        Ok(Geometry::new(block_size, (used + reserved) as u32))
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
    /// When it was made, as it says. Default: the median of times in the tree. The latest may be in the future, which
    /// `e2fsck` takes for a fault.
    pub time: Option<Timestamp>,
    /// The label, at most 16 bytes. Default empty.
    pub label: Vec<u8>,
    /// What identifies the file data, such as the layers' digests. The UUID and the seed of hashes are derived from it, the
    /// names and the metadata.
    pub uuid_seed: Vec<u8>,
    /// The journal.
    pub journal: Journal,
    /// Bytes left free at least, where no size is asked for. Default: a tenth of the contents.
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
    /// All inodes, with those that are free.
    pub total_inodes: u32,
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
