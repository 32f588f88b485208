//! Trees of extents over a file's blocks.

use lithify_storage::Storage;

use super::blocks::{self, Appender};
use crate::WriteError;
use crate::format::extent::{self, BLOCKS_MAX, Extent, IN_INODE, Node};
use crate::format::inode::BLOCK_LEN;
use crate::geometry::{DataBlocks, Geometry};

/// Adds the extents of data blocks that follow each other, which stand at `logical` in the file.
pub(super) fn push(
    extents: &mut Vec<Extent>,
    geometry: Geometry,
    mut logical: u32,
    data: u32,
    blocks: u32,
) {
    let (mut data, mut left) = (u64::from(data), u64::from(blocks));
    while left > 0 {
        let (physical, run) = geometry.locate(data);
        let blocks = run.min(left).min(BLOCKS_MAX.into()) as u32;
        match extents.last_mut() {
            Some(last)
                if last.logical + last.blocks == logical
                    && last.physical + u64::from(last.blocks) == physical
                    && last.blocks + blocks <= BLOCKS_MAX =>
            {
                last.blocks += blocks;
            }
            _ => extents.push(Extent {
                logical,
                physical,
                blocks,
            }),
        }
        logical = logical.wrapping_add(blocks);
        data += u64::from(blocks);
        left -= u64::from(blocks);
    }
}

/// Puts what has no room in an inode into blocks. Returns what the inode has, and the number of blocks.
pub(super) fn write<S: Storage>(
    extents: &[Extent],
    inode_seed: u32,
    appender: &mut Appender,
    storage: &mut DataBlocks<S>,
) -> Result<([u8; BLOCK_LEN], u32), WriteError> {
    let mut in_inode = [0; BLOCK_LEN];
    if extents.len() <= IN_INODE {
        extent::put_leaf(&mut in_inode, extents, IN_INODE);
        return Ok((in_inode, 0));
    }
    let block_size = storage.geometry.block_size as usize;
    let max = extent::per_block(block_size);
    let mut written = 0;
    let mut put = |logical: u32, fill: &dyn Fn(&mut [u8])| {
        let mut block = vec![0; block_size];
        fill(&mut block);
        extent::seal(&mut block, inode_seed);
        written += 1;
        let block = blocks::append(appender, storage, &block)?;
        Ok::<_, WriteError>(Node { logical, block })
    };
    let mut nodes = Vec::new();
    for chunk in extents.chunks(max) {
        nodes.push(put(chunk[0].logical, &|block| {
            extent::put_leaf(block, chunk, max);
        })?);
    }
    let mut depth = 1;
    while nodes.len() > IN_INODE {
        let mut above = Vec::new();
        for chunk in nodes.chunks(max) {
            above.push(put(chunk[0].logical, &|block| {
                extent::put_index(block, chunk, max, depth);
            })?);
        }
        nodes = above;
        depth += 1;
    }
    extent::put_index(&mut in_inode, &nodes, IN_INODE, depth);
    Ok((in_inode, written))
}
