//! Trees of extents over a file's blocks.
//!
//! The blocks of a tree follow each other: first its leaves, then each level above. So the part of a tree that an inode has
//! follows from the extents and the place of the first block.

use lithify_storage::Storage;

use super::blocks::{self, Appender};
use crate::WriteError;
use crate::format::extent::{self, BLOCKS_MAX, Extent, IN_INODE, Node};
use crate::format::inode::BLOCK_LEN;
use crate::geometry::{DataBlocks, Geometry};

/// Adds the extents of data blocks that follow each other, which stand at `logical` in the file.
pub(super) fn push(
    extents: &mut Vec<Extent>,
    geometry: &Geometry,
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

/// A tree over extents, without its blocks' contents.
#[derive(Debug)]
struct Shape {
    /// Entries of a block.
    max: usize,
    /// Blocks of each level, leaves first; none where the inode has room for all extents.
    levels: Vec<usize>,
}

impl Shape {
    fn of(extents: usize, block_size: u32) -> Self {
        let max = extent::per_block(block_size as usize);
        let mut levels = Vec::new();
        let mut entries = extents;
        while entries > IN_INODE {
            entries = entries.div_ceil(max);
            levels.push(entries);
        }
        Self { max, levels }
    }

    fn blocks(&self) -> usize {
        self.levels.iter().sum()
    }

    /// Returns the entries that lead to the blocks of a level, in the level above.
    fn nodes<'a>(
        &self,
        level: usize,
        extents: &'a [Extent],
        geometry: &'a Geometry,
        first: u64,
    ) -> impl Iterator<Item = Node> + 'a {
        // Extents below a block of that level.
        let span = self.max.saturating_pow(level as u32 + 1);
        let before: usize = self.levels[..level].iter().sum();
        let data = move |index: usize| first + (before + index) as u64;
        extents
            .iter()
            .step_by(span)
            .enumerate()
            .map(move |(index, extent)| Node {
                logical: extent.logical,
                block: geometry.locate(data(index)).0,
            })
    }
}

/// Returns the number of blocks a tree has besides what stands in the inode.
pub(super) fn tree_blocks(extents: usize, block_size: u32) -> u32 {
    // A file has less than 2³² blocks, and so extents.
    Shape::of(extents, block_size).blocks() as u32
}

/// Returns the part of a tree that stands in the inode; the first of its blocks is data block `first`.
pub(super) fn root(extents: &[Extent], geometry: &Geometry, first: u64) -> [u8; BLOCK_LEN] {
    let mut in_inode = [0; BLOCK_LEN];
    let shape = Shape::of(extents.len(), geometry.block_size);
    match shape.levels.len() {
        0 => extent::put_leaf(&mut in_inode, extents, IN_INODE),
        depth => {
            let nodes: Vec<Node> = shape.nodes(depth - 1, extents, geometry, first).collect();
            extent::put_index(&mut in_inode, &nodes, IN_INODE, depth as u16);
        }
    }
    in_inode
}

/// Appends the blocks of a tree. Returns the data block of the first.
pub(super) fn write<S: Storage>(
    extents: &[Extent],
    inode_seed: u32,
    appender: &mut Appender,
    storage: &mut DataBlocks<S>,
) -> Result<u32, WriteError> {
    let geometry = storage.geometry.clone();
    let first = blocks::next_block(appender, geometry.block_size)?;
    let shape = Shape::of(extents.len(), geometry.block_size);
    let mut block = vec![0; geometry.block_size as usize];
    let mut put = |fill: &dyn Fn(&mut [u8])| {
        block.fill(0);
        fill(&mut block);
        extent::seal(&mut block, inode_seed);
        blocks::append(appender, storage, &block)
    };
    for level in 0..shape.levels.len() {
        match level {
            0 => {
                for chunk in extents.chunks(shape.max) {
                    put(&|block| extent::put_leaf(block, chunk, shape.max))?;
                }
            }
            _ => {
                let below = shape.nodes(level - 1, extents, &geometry, first.into());
                let below: Vec<Node> = below.collect();
                for chunk in below.chunks(shape.max) {
                    put(&|block| extent::put_index(block, chunk, shape.max, level as u16))?;
                }
            }
        }
    }
    Ok(first)
}
