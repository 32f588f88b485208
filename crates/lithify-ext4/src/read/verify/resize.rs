//! The resize inode: a list of lists of the blocks that are kept free behind each copy of the descriptors, for more of them.

use super::Verifier;
use crate::format::{RESIZE_INODE, get32};
use crate::{Damage, FileType, ReadAt, ReadError};

impl<R: ReadAt> Verifier<'_, R> {
    /// Checks that the resize inode leads to the blocks that are reserved, and says where each has its copies.
    pub(super) fn resize_inode(&mut self) -> Result<(), ReadError> {
        let image = self.image;
        let inode = image.any_inode(RESIZE_INODE)?;
        inode.expect(FileType::File)?;
        let s = &image.superblock;
        if inode.stored.links == 0 {
            return Err(inode.damaged(Damage::Unused));
        }
        let block_of = |block: u32| {
            let checked = image.blocks.check(block.into(), 1);
            checked.map_err(|reason| inode.damaged(reason))?;
            image.blocks.block(block.into())
        };
        let wrong = |found: u32, expected: u64| match u64::from(found) == expected {
            true => Ok(()),
            false => Err(inode.damaged(Damage::Reserved { found, expected })),
        };
        // The double indirect block, which is in none of the others' places.
        let lists = get32(&inode.stored.block, 4 * 13);
        if lists == 0 {
            return Err(inode.damaged(Damage::Reserved {
                found: 0,
                expected: 1,
            }));
        }
        let lists = block_of(lists)?;
        let per_block = s.block_size as usize / 4;
        let used = s.descriptor_blocks();
        let first = s.descriptor_block(0) + u64::from(used);
        let groups = (1..s.groups()).filter(|group| s.has_superblock(*group));
        let groups: Vec<u32> = groups.take(per_block).collect();
        for index in 0..s.reserved_descriptor_blocks {
            let block = first + u64::from(index);
            let at = (used + index) as usize % per_block;
            wrong(get32(&lists, 4 * at), block)?;
            let copies = block_of(get32(&lists, 4 * at))?;
            for (at, group) in groups.iter().enumerate() {
                let copy = block + u64::from(*group) * u64::from(s.blocks_per_group);
                wrong(get32(&copies, 4 * at), copy)?;
            }
        }
        Ok(())
    }
}
