//! Reading images, ours and those of others, without trusting them.

mod blocks; // the blocks of an image
mod bounds; // limits to what an image makes a walk do
mod data; // contents of files
mod directory; // names in directories
mod htree; // names found by their hash
mod inode; // one inode
mod journal; // changes that are only in the journal
mod map; // where an inode's blocks are
mod open; // the superblock
mod verify; // everything at once
mod walk; // all names
mod xattr; // extended attributes

use crate::format::ROOT_INODE;
use lithify_tree::Timestamp;

use crate::format::group::{Descriptor, checksum, old_checksum, stored_checksum};
use crate::format::inode::{OLD_LEN, clamp};
use crate::format::superblock::parse::{RO_GROUP_CHECKSUMS, Superblock};
use crate::{Damage, FileType, ReadAt, ReadError};
use blocks::Blocks;

pub use data::FileReader;
pub use directory::{DirEntry, ReadDir};
pub use inode::Inode;
pub use verify::{Counts, Problem, ProblemKind, Verification};
pub use walk::{Entries, OverlayEntries, Walk, WalkEntry};

/// An ext4 image, or one of ext2 or ext3.
///
/// Opening checks the superblock, and reads the journal of a filesystem that was not unmounted: what is read from then on is what the
/// kernel would see after replaying it. Nothing is written. Everything else is checked when it is read, so that a damaged or
/// hostile image gives errors and never panics, loops or takes memory out of proportion. See
/// [`verify`](Self::verify) for a check of the whole.
///
/// Inodes that nothing names but that are still in use, which the kernel would remove at the next mount (*orphans*), are
/// not in the tree.
#[derive(Debug)]
pub struct Image<R> {
    superblock: Superblock,
    blocks: Blocks<R>,
    is_replayed: bool,
}

impl<R: ReadAt> Image<R> {
    /// The superblock.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Size of the image in bytes. The source may be longer.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.superblock.blocks * u64::from(self.superblock.block_size)
    }

    /// Size of a block in bytes.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        u64::from(self.superblock.block_size)
    }

    /// Returns the time an inode says that was given this one: inodes of 128 bytes have seconds up to 2038, larger ones
    /// nanoseconds, from 1901 to 2446.
    #[must_use]
    pub fn stored_time(&self, time: Timestamp) -> Timestamp {
        if self.superblock.inode_size as usize > OLD_LEN {
            return clamp(time).0;
        }
        Timestamp {
            seconds: time.seconds.clamp(i32::MIN.into(), i32::MAX.into()),
            nanoseconds: 0,
        }
    }

    /// Tells whether the filesystem was not unmounted, so that some of what is read comes from its journal.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.is_replayed
    }

    /// The source back.
    #[must_use]
    pub fn into_source(self) -> R {
        self.blocks.source
    }

    /// The root directory.
    ///
    /// # Errors
    /// [`ReadError`] when it is damaged or no directory.
    pub fn root(&self) -> Result<Inode, ReadError> {
        let root = self.inode(ROOT_INODE)?;
        root.expect(FileType::Directory)?;
        Ok(root)
    }

    /// The inode at a path: components separated by slashes, symbolic links not followed. `None` when there is none.
    ///
    /// # Errors
    /// [`ReadError`] when something on the way is damaged.
    pub fn lookup(&self, path: &[u8]) -> Result<Option<Inode>, ReadError> {
        let mut at = self.root()?;
        for name in path.split(|&b| b == b'/').filter(|c| !c.is_empty()) {
            if at.file_type() != FileType::Directory {
                return Ok(None);
            }
            match self.find(&at, name)? {
                Some(number) => at = self.inode(number)?,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The descriptor of a block group that there is.
    fn descriptor(&self, group: u32) -> Result<Descriptor, ReadError> {
        let s = &self.superblock;
        let damaged = |reason| ReadError::Group { group, reason };
        let per_block = s.descriptors_per_block();
        let block = s.descriptor_block(group / per_block);
        self.blocks.check(block, 1).map_err(damaged)?;
        let bytes = self.blocks.block(block)?;
        let length = s.descriptor_len as usize;
        let at = (group % per_block) as usize * length;
        let bytes = &bytes[at..at + length];
        let computed = if s.has_checksums() {
            Some(checksum(bytes, group, s.seed))
        } else {
            s.has_read_only_compat(RO_GROUP_CHECKSUMS)
                .then(|| old_checksum(bytes, group, &s.uuid))
        };
        let stored = stored_checksum(bytes);
        if let Some(computed) = computed
            && computed != stored
        {
            return Err(damaged(Damage::Checksum {
                stored: stored.into(),
                computed: computed.into(),
            }));
        }
        Ok(Descriptor::parse(bytes))
    }
}

/// Compares a checksum with the one it should be.
fn compare((stored, computed): (u32, u32)) -> Result<(), Damage> {
    match stored == computed {
        true => Ok(()),
        false => Err(Damage::Checksum { stored, computed }),
    }
}
