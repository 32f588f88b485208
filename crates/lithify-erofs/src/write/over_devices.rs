//! Images whose files' blocks are on further devices: blocks 1 and following hold the device table, inodes follow.

use lithify_tree::Tree;

use super::contents::Contents;
use super::emit::{self, DeviceTable};
use super::tails::Tails;
use super::{DATA_START, FinishReport, ImageOptions, go_on, layout, xattrs};
use crate::error::Operation;
use crate::format::BLOCK_SIZE;
use crate::format::device::{DeviceSlot, SLOT_LEN};
use crate::format::superblock::VOLUME_NAME_LEN;
use crate::{Storage, WriteError};

/// Writes the image. `map` gets its length in blocks and says where the devices are mapped to.
pub(crate) fn write<S: Storage, E: From<WriteError>>(
    storage: &mut S,
    tree: &Tree,
    contents: &Contents,
    tails: &mut impl Tails,
    count: u16,
    options: &ImageOptions,
    map: impl FnOnce(u32) -> Result<Vec<DeviceSlot>, E>,
) -> Result<FinishReport, E> {
    if options.volume_name.len() >= VOLUME_NAME_LEN || options.volume_name.contains(&0) {
        return Err(E::from(WriteError::VolumeName {
            name: options.volume_name.clone(),
        }));
    }
    layout::check(tree, contents)?;
    go_on(storage)?;
    let planner = layout::Planner {
        tree,
        contents,
        xattrs: &xattrs::XattrPlan::new(tree)?,
        build_time: options
            .build_time
            .unwrap_or_else(|| layout::frequent_time(tree)),
    };
    go_on(storage)?;
    let layout = layout::Layout::new(&planner)?;
    let table_blocks = (usize::from(count) * SLOT_LEN).div_ceil(BLOCK_SIZE) as u32;
    let meta_start = DATA_START + table_blocks;
    let blocks = meta_start
        .checked_add(layout.inode_blocks)
        .and_then(|b| b.checked_add(layout.late_blocks))
        .ok_or(WriteError::TooLarge)?;

    let mut table: Vec<u8> = map(blocks)?.iter().flat_map(DeviceSlot::encode).collect();
    debug_assert_eq!(table.len(), usize::from(count) * SLOT_LEN);
    table.resize(table_blocks as usize * BLOCK_SIZE, 0);
    let table_start = u64::from(DATA_START) * BLOCK_SIZE as u64;
    storage
        .write_all_at(&table, table_start)
        .map_err(Operation::WriteMetadata.failed())?;
    let devices = DeviceTable {
        count,
        // Block 1.
        table: (table_start / SLOT_LEN as u64) as u16,
    };
    let mut report = emit::emit(
        storage, &planner, &layout, tails, meta_start, devices, options,
    )?;
    report.metadata_bytes += report.data_bytes;
    report.data_bytes = 0;
    Ok(report)
}
