//! Everything but file data, in order.

use std::io;

use lithify_storage::{ReadAt, Storage};
use lithify_tree::Tree;

use super::blocks::Appender;
use super::groups;
use super::inodes::Inodes;
use super::options::{FinishReport, ImageOptions};
use super::owned::Owning;
use super::plan::Plan;
use super::reserved;
use super::size::{self, Needs};
use super::writer::Writer;
use crate::format::INODE_LEN;
use crate::format::superblock::{
    COMPAT_DIR_INDEX, COMPAT_JOURNAL, COMPAT_RESIZE_INODE, COMPAT_XATTRS, INCOMPAT_VALUE_INODES,
    Superblock,
};
use crate::geometry::{DataBlocks, Geometry};
use crate::{Operation, WriteError};

/// Writes everything but the data.
pub(super) fn emit<S: Storage>(
    writer: Writer<S>,
    tree: &Tree,
    plan: &Plan,
    options: &ImageOptions,
) -> Result<(S, FinishReport), WriteError> {
    let Writer {
        blocks: mut storage,
        data: mut appender,
        contents,
        options: data_options,
        mut budget,
        ..
    } = writer;
    let geometry = storage.geometry.clone();
    let block_size = u64::from(geometry.block_size);
    let data_bytes = appender.offset();
    let owned = Owning {
        tree,
        plan,
        contents: &contents,
        storage: &mut storage,
        appender: &mut appender,
    }
    // What its blocks take is counted as it comes.
    .append_all(|end| Ok(budget.grow_to(end)?))?;
    appender.flush(&mut storage)?;

    let needs = Needs {
        data: appender.offset() / block_size,
        inodes: plan.last_inode(),
    };
    let measure = |geometry: &Geometry| {
        let mut appender = Appender::new(data_bytes, block_size, Operation::WriteMetadata);
        let mut storage = DataBlocks {
            storage: Discarded,
            geometry: geometry.clone(),
        };
        Owning {
            tree,
            plan,
            contents: &contents,
            storage: &mut storage,
            appender: &mut appender,
        }
        .append_all(|_| Ok(()))?;
        Ok(appender.offset() / block_size)
    };
    let layout = size::decide(&geometry, needs, &data_options, options, measure)?;
    // Of the rest, most is holes.
    budget.grow_to(appender.offset() + u64::from(needs.inodes) * INODE_LEN as u64)?;

    let journal = reserved::write_journal(&layout, plan, &mut storage)?;
    let resize = reserved::write_resize(&layout, plan, owned.resize, &mut storage)?;
    let directories = Inodes {
        tree,
        plan,
        contents: &contents,
        geometry: &geometry,
        owned: &owned,
    }
    .write(&layout, &resize, journal.as_ref(), &mut storage)?;
    let used = groups::Used {
        layout: &layout,
        inodes: needs.inodes,
        directories: &directories,
        seed: plan.seed,
    };
    let descriptors = groups::bitmaps(&mut storage, &used)?;

    let all = layout.groups * layout.inodes_per_group;
    let has_values = !plan.values.all.is_empty();
    let reserved = geometry.descriptor_blocks - reserved::descriptor_blocks(&layout, &geometry);
    let superblock = Superblock {
        inodes: all,
        blocks: layout.blocks,
        free_blocks: layout.free(&geometry),
        free_inodes: all - needs.inodes,
        first_block: geometry.first_block(),
        block_size: geometry.block_size,
        inodes_per_group: layout.inodes_per_group,
        reserved_descriptor_blocks: reserved as u16,
        compat: COMPAT_XATTRS
            | COMPAT_DIR_INDEX
            | COMPAT_RESIZE_INODE
            | if journal.is_some() { COMPAT_JOURNAL } else { 0 },
        incompat: if has_values { INCOMPAT_VALUE_INODES } else { 0 },
        overhead: layout.overhead(&geometry),
        uuid: plan.uuid,
        label: options.label.clone(),
        time: plan.time.seconds,
        hash_seed: plan.hash_seed,
        journal: journal.map(|inode| (inode.block, inode.size)),
    };
    // What is asked for is what the image has, also where the end of it is no group.
    let bytes = match data_options.size {
        Some(size) => size.min(block_size * u64::from(u32::MAX)),
        None => layout.blocks * block_size,
    };
    let sized = storage.storage.set_size(bytes);
    sized.map_err(Operation::WriteMetadata.failed())?;
    groups::copies(&mut storage, layout.groups, &superblock, &descriptors)?;
    let report = FinishReport {
        size: bytes,
        free_blocks: superblock.free_blocks,
        inodes: needs.inodes,
        total_inodes: all,
        data_bytes,
        metadata_bytes: needs.data * block_size - data_bytes,
        journal_bytes: u64::from(layout.journal_blocks()) * block_size,
        moved_bytes: 0,
        indexed_directories: owned.indexed_directories,
        clamped_times: plan.clamped_times,
        uuid: plan.uuid,
    };
    Ok((storage.storage, report))
}

/// Takes what is only counted.
struct Discarded;

impl ReadAt for Discarded {
    fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn size(&self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Storage for Discarded {
    fn write_all_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_size(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}
