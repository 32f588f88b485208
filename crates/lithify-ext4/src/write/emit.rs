//! The pass over all inodes: each gets what it has blocks for behind the data, and its place in the table.

use lithify_storage::Storage;
use lithify_tree::{InodeId, InodeKind, NodeId, Tree};

use super::blocks::{self, Appender, next_block};
use super::directory::{self, Frame, Name};
use super::options::{FinishReport, ImageOptions};
use super::plan::{INLINE_ROOM, LOST_AND_FOUND, Place, Plan, clamp, stored};
use super::size::{self, Size};
use super::table::{self, Table};
use super::writer::Writer;
use super::{extents, groups};
use crate::format::dirent::FileType;
use crate::format::extent::Extent;
use crate::format::inode::{
    self, BLOCK_LEN, FLAG_EXTENTS, FLAG_INDEX, Inode, MODE_BLOCK, MODE_CHAR, MODE_DIRECTORY,
    MODE_FIFO, MODE_REGULAR, MODE_SOCKET, MODE_SYMLINK,
};
use crate::format::superblock::{
    COMPAT_DIR_INDEX, COMPAT_JOURNAL, COMPAT_RESIZE_INODE, COMPAT_XATTRS, Superblock,
};
use crate::format::{
    FIRST_INODE, INODE_LEN, JOURNAL_INODE, RESIZE_INODE, ROOT_INODE, journal, put32, xattr,
};
use crate::geometry::{DataBlocks, Geometry};
use crate::{Operation, WriteError};

/// Bytes of what inodes count their blocks in.
const SECTOR: u64 = 512;

/// The most links a directory counts; with more it says one, for "unknown".
const DIRECTORY_LINKS_MAX: u32 = 64_999;

/// A block of attributes that still may be shared.
#[derive(Clone, Copy, Debug, Default)]
struct Shared {
    block: u64,
    /// How many more inodes it was written for.
    left: u32,
}

/// What the pass over the inodes works with.
struct Emitter<'a, S> {
    tree: &'a Tree,
    plan: &'a Plan,
    storage: DataBlocks<S>,
    appender: Appender,
    /// For each set of attributes.
    shared: Vec<Shared>,
    /// How many inodes have not been given their attributes, for each set.
    uses: Vec<u32>,
    /// Directories in each group.
    directories: Vec<u32>,
    report: FinishReport,
}

/// Writes everything but the data.
pub(super) fn emit<S: Storage>(
    writer: Writer<S>,
    tree: &Tree,
    plan: &Plan,
    options: &ImageOptions,
) -> Result<(S, FinishReport), WriteError> {
    let Writer {
        blocks: storage,
        data: appender,
        contents,
        size: asked,
        mut budget,
        ..
    } = writer;
    let geometry = storage.geometry;
    let block_size = u64::from(geometry.block_size);
    let data_bytes = appender.offset();
    let mut emitter = Emitter {
        tree,
        plan,
        storage,
        appender,
        shared: vec![Shared::default(); tree.xattr_set_count()],
        uses: plan.uses.clone(),
        directories: Vec::new(),
        report: FinishReport {
            data_bytes,
            clamped_times: plan.clamped_times,
            uuid: plan.uuid,
            ..FinishReport::default()
        },
    };

    // Reserved inodes stand in front of all others and are written last.
    let mut first = [[0; INODE_LEN]; FIRST_INODE as usize];
    let mut put_first = |number: u32, inode: &Inode| {
        first[number as usize - 1] = inode.to_bytes(number, plan.seed);
    };
    if plan.lost_and_found.is_none() {
        put_first(FIRST_INODE, &emitter.lost_and_found()?);
    }
    let mut table = Table::new(FIRST_INODE + 1);
    for id in tree.inode_ids() {
        if id.index() % 1024 == 0 {
            let go_on = emitter.storage.storage.go_on();
            go_on.map_err(Operation::WriteMetadata.failed())?;
        }
        let number = plan.number(id);
        let inode = emitter.inode(id, number, &contents)?;
        match number {
            ROOT_INODE | FIRST_INODE => put_first(number, &inode),
            _ => table.push(&inode.to_bytes(number, plan.seed), &mut emitter.storage)?,
        }
        // What its blocks take is counted as it comes.
        budget.grow_to(emitter.appender.offset())?;
    }
    table.flush(&mut emitter.storage)?;

    let inodes = plan.last_inode();
    let has_growth = size::grows(geometry, asked);
    let resize_block = match has_growth {
        true => Some(blocks::append(
            &mut emitter.appender,
            &mut emitter.storage,
            &vec![0; block_size as usize],
        )?),
        false => None,
    };
    let data = emitter.appender.offset() / block_size;
    emitter.report.metadata_bytes = emitter.appender.offset() - data_bytes;
    let size = size::decide(geometry, data, inodes, asked, options)?;
    budget.grow_to(emitter.appender.offset() + u64::from(size.journal) * block_size)?;
    let journal = emitter.journal(size)?;
    if let Some(journal) = &journal {
        put_first(JOURNAL_INODE, journal);
    }
    emitter.appender.flush(&mut emitter.storage)?;
    let descriptor_blocks = size
        .groups
        .div_ceil(geometry.block_size / crate::format::DESCRIPTOR_LEN as u32);
    let reserved = geometry.descriptor_blocks - descriptor_blocks;
    if let Some(block) = resize_block {
        put_first(
            RESIZE_INODE,
            &emitter.resize_inode(size, descriptor_blocks, reserved, block)?,
        );
    }
    table::put(1, first.as_flattened(), &mut emitter.storage)?;

    let used = groups::Used {
        size,
        data: emitter.appender.offset() / block_size,
        inodes,
        directories: &emitter.directories,
        seed: plan.seed,
    };
    let (descriptors, free_blocks) = groups::bitmaps(&mut emitter.storage, &used)?;
    let all = size.groups * geometry.inodes_per_group();
    let superblock = Superblock {
        inodes: all,
        blocks: size.blocks,
        free_blocks,
        free_inodes: all - inodes,
        first_block: geometry.first_block(),
        block_size: geometry.block_size,
        inodes_per_group: geometry.inodes_per_group(),
        reserved_descriptor_blocks: if has_growth { reserved as u16 } else { 0 },
        compat: COMPAT_XATTRS
            | COMPAT_DIR_INDEX
            | if journal.is_some() { COMPAT_JOURNAL } else { 0 }
            | if has_growth { COMPAT_RESIZE_INODE } else { 0 },
        uuid: plan.uuid,
        label: options.label.clone(),
        time: plan.time.seconds,
        hash_seed: plan.hash_seed,
        journal: journal.map(|inode| (inode.block, inode.size)),
    };
    let bytes = size.blocks * block_size;
    let sized = emitter.storage.storage.set_size(bytes);
    sized.map_err(Operation::WriteMetadata.failed())?;
    groups::copies(&mut emitter.storage, size.groups, &superblock, &descriptors)?;
    let report = FinishReport {
        size: bytes,
        free_blocks,
        inodes,
        journal_bytes: u64::from(size.journal) * block_size,
        ..emitter.report
    };
    Ok((emitter.storage.storage, report))
}

impl<S: Storage> Emitter<'_, S> {
    fn geometry(&self) -> Geometry {
        self.storage.geometry
    }

    fn sectors(&self, blocks: u64) -> u64 {
        blocks * u64::from(self.geometry().block_size) / SECTOR
    }

    /// Appends one block.
    fn append(&mut self, bytes: &[u8]) -> Result<u64, WriteError> {
        blocks::append(&mut self.appender, &mut self.storage, bytes)
    }

    /// Counts a directory in the group of its inode.
    fn count_directory(&mut self, number: u32) {
        let group = ((number - 1) / self.geometry().inodes_per_group()) as usize;
        if self.directories.len() <= group {
            self.directories.resize(group + 1, 0);
        }
        self.directories[group] += 1;
    }

    /// Gives an inode the extents of its data, and counts its blocks.
    fn set_extents(
        &mut self,
        inode: &mut Inode,
        number: u32,
        extents: &[Extent],
    ) -> Result<(), WriteError> {
        let seed = inode::inode_seed(self.plan.seed, number);
        let (block, nodes) = extents::write(extents, seed, &mut self.appender, &mut self.storage)?;
        inode.block = block;
        inode.flags |= FLAG_EXTENTS;
        let data: u64 = extents.iter().map(|e| u64::from(e.blocks)).sum();
        inode.sectors += self.sectors(data + u64::from(nodes));
        Ok(())
    }

    /// Gives an inode data blocks that follow each other, from its first block on.
    fn set_blocks(
        &mut self,
        inode: &mut Inode,
        number: u32,
        first: u32,
        blocks: u32,
    ) -> Result<(), WriteError> {
        let mut found = Vec::new();
        extents::push(&mut found, self.geometry(), 0, first, blocks);
        self.set_extents(inode, number, &found)
    }

    fn inode(
        &mut self,
        id: InodeId,
        number: u32,
        contents: &super::contents::Contents,
    ) -> Result<Inode, WriteError> {
        let view = self.tree.inode(id);
        let kind = match view.kind {
            InodeKind::File { .. } => MODE_REGULAR,
            InodeKind::Symlink { .. } => MODE_SYMLINK,
            InodeKind::CharDevice(_) => MODE_CHAR,
            InodeKind::BlockDevice(_) => MODE_BLOCK,
            InodeKind::Fifo => MODE_FIFO,
            InodeKind::Socket => MODE_SOCKET,
            _ => MODE_DIRECTORY,
        };
        let mut inode = Inode::new(kind | view.mode);
        inode.uid = view.uid;
        inode.gid = view.gid;
        inode.time = clamp(view.mtime).0;
        inode.links = view.nlink as u16;
        match view.kind {
            InodeKind::File { size, content } => {
                inode.size = size;
                let mut found = Vec::new();
                if let Some(content) = content.and_then(|content| contents.get(content)) {
                    let geometry = self.geometry();
                    content.for_each_run(|run, at| {
                        extents::push(&mut found, geometry, run.logical, at, run.blocks);
                    });
                }
                self.set_extents(&mut inode, number, &found)?;
            }
            InodeKind::Symlink { target } => self.symlink(&mut inode, id, number, target)?,
            InodeKind::CharDevice(device) | InodeKind::BlockDevice(device) => {
                inode::put_device(&mut inode.block, device);
            }
            InodeKind::Fifo | InodeKind::Socket => {}
            _ => self.directory(&mut inode, id, number)?,
        }
        self.xattrs(&mut inode, id)?;
        Ok(inode)
    }

    fn symlink(
        &mut self,
        inode: &mut Inode,
        id: InodeId,
        number: u32,
        target: &[u8],
    ) -> Result<(), WriteError> {
        inode.size = target.len() as u64;
        // A NUL follows it.
        if target.len() < BLOCK_LEN {
            inode.block[..target.len()].copy_from_slice(target);
            return Ok(());
        }
        let mut block = vec![0; self.geometry().block_size as usize];
        if target.len() >= block.len() {
            return Err(WriteError::SymlinkTarget {
                path: self.tree.path(self.plan.first_names[id.index()]),
                found: target.len(),
                limit: block.len() - 1,
            });
        }
        block[..target.len()].copy_from_slice(target);
        let first = next_block(&self.appender, self.geometry().block_size)?;
        self.append(&block)?;
        self.set_blocks(inode, number, first, 1)
    }

    fn frame(&self, own: u32, parent: u32) -> Frame {
        Frame {
            block_size: self.geometry().block_size as usize,
            own,
            parent,
            inode_seed: inode::inode_seed(self.plan.seed, own),
            hash_seed: self.plan.hash_seed,
        }
    }

    fn directory(&mut self, inode: &mut Inode, id: InodeId, number: u32) -> Result<(), WriteError> {
        let (tree, plan) = (self.tree, self.plan);
        let node = plan.first_names[id.index()];
        let adds_lost = node == NodeId::ROOT && plan.lost_and_found.is_none();
        let mut names: Vec<Name<'_>> = tree
            .children(node)
            .map(|child| Name {
                inode: plan.number(tree.inode_id(child)),
                kind: file_type(&tree.node_inode(child).kind),
                name: tree.name(child),
            })
            .collect();
        if adds_lost {
            names.push(Name {
                inode: FIRST_INODE,
                kind: FileType::Directory,
                name: LOST_AND_FOUND,
            });
            names.sort_unstable_by_key(|name| name.name);
        }
        let links = tree.inode(id).nlink + u32::from(adds_lost);
        inode.links = match links {
            0..=DIRECTORY_LINKS_MAX => links as u16,
            _ => 1,
        };
        let parent = plan.number(tree.inode_id(tree.parent(node)));
        let frame = self.frame(number, parent);
        let first = next_block(&self.appender, self.geometry().block_size)?;
        let mut count = 0;
        let (appender, storage) = (&mut self.appender, &mut self.storage);
        let written = directory::write(&frame, &names, |block| {
            count += 1;
            blocks::append(appender, storage, block).map(drop)
        })?;
        let Some(is_indexed) = written else {
            return Err(WriteError::DirectoryTooLarge {
                path: tree.path(node),
            });
        };
        if is_indexed {
            inode.flags |= FLAG_INDEX;
            self.report.indexed_directories += 1;
        }
        inode.size = u64::from(count) * u64::from(self.geometry().block_size);
        self.count_directory(number);
        self.set_blocks(inode, number, first, count)
    }

    fn lost_and_found(&mut self) -> Result<Inode, WriteError> {
        let mut inode = Inode::new(MODE_DIRECTORY | 0o700);
        inode.links = 2;
        inode.time = self.plan.time;
        let blocks = directory::lost_and_found(&self.frame(FIRST_INODE, ROOT_INODE));
        let first = next_block(&self.appender, self.geometry().block_size)?;
        for block in &blocks {
            self.append(block)?;
        }
        inode.size = blocks.len() as u64 * u64::from(self.geometry().block_size);
        self.count_directory(FIRST_INODE);
        self.set_blocks(&mut inode, FIRST_INODE, first, blocks.len() as u32)?;
        Ok(inode)
    }

    fn xattrs(&mut self, inode: &mut Inode, id: InodeId) -> Result<(), WriteError> {
        let set = self.tree.inode(id).xattrs;
        let index = set.index();
        let attributes = match self.plan.places[index] {
            Place::Nowhere => return Ok(()),
            // A set that cannot be stored was refused.
            _ => stored(self.tree.xattrs(set)).unwrap_or_default(),
        };
        if self.plan.places[index] == Place::Inline {
            inode.xattrs = xattr::in_inode(INLINE_ROOM, &attributes);
            return Ok(());
        }
        if self.shared[index].left == 0 {
            let inodes = self.uses[index].min(xattr::SHARED_MAX);
            self.uses[index] -= inodes;
            let geometry = self.geometry();
            let data = next_block(&self.appender, geometry.block_size)?;
            let (number, _) = geometry.locate(data.into());
            let size = geometry.block_size as usize;
            let block = xattr::block(size, &attributes, inodes, number, self.plan.seed);
            self.append(&block)?;
            self.shared[index] = Shared {
                block: number,
                left: inodes,
            };
        }
        self.shared[index].left -= 1;
        inode.xattr_block = self.shared[index].block;
        inode.sectors += self.sectors(1);
        Ok(())
    }

    /// Puts the journal behind everything else; only its first block is written.
    fn journal(&mut self, size: Size) -> Result<Option<Inode>, WriteError> {
        if size.journal == 0 {
            return Ok(None);
        }
        let block_size = self.geometry().block_size;
        let first = next_block(&self.appender, block_size)?;
        self.append(&journal::superblock(
            block_size as usize,
            size.journal,
            self.plan.uuid,
        ))?;
        let mut inode = Inode::new(MODE_REGULAR | 0o600);
        inode.size = u64::from(size.journal) * u64::from(block_size);
        inode.time = self.plan.time;
        let mut found = Vec::new();
        extents::push(&mut found, self.geometry(), 0, first, size.journal);
        // Its tree, if it has one, would stand inside of it.
        let end = (u64::from(first) + u64::from(size.journal)) * u64::from(block_size);
        self.appender.leave_out(&mut self.storage, end)?;
        self.set_extents(&mut inode, JOURNAL_INODE, &found)?;
        Ok(Some(inode))
    }

    /// The inode of blocks reserved for further descriptors: each reserved block of the first group has the numbers of its
    /// copies, `block` has the numbers of these (`ext2fs_create_resize_inode`).
    fn resize_inode(
        &mut self,
        size: Size,
        descriptor_blocks: u32,
        reserved: u32,
        block: u64,
    ) -> Result<Inode, WriteError> {
        let geometry = self.geometry();
        let block_size = geometry.block_size as usize;
        let per_block = geometry.block_size / 4;
        let copies: Vec<u32> = (1..size.groups)
            .filter(|group| Geometry::has_superblock(*group))
            .collect();
        let mut numbers = vec![0; block_size];
        for index in 0..reserved {
            let at = descriptor_blocks + index;
            // A filesystem has less than 2³² blocks.
            let own = (geometry.group_start(0) + 1 + u64::from(at)) as u32;
            put32(&mut numbers, 4 * (at % per_block) as usize, own);
            let mut list = vec![0; block_size];
            for (slot, group) in copies.iter().enumerate() {
                let copy =
                    u64::from(own) + u64::from(*group) * u64::from(geometry.blocks_per_group());
                put32(&mut list, 4 * slot, copy as u32);
            }
            let written = self
                .storage
                .storage
                .write_all_at(&list, u64::from(own) * u64::from(geometry.block_size));
            written.map_err(Operation::WriteMetadata.failed())?;
        }
        let written = self
            .storage
            .storage
            .write_all_at(&numbers, block * u64::from(geometry.block_size));
        written.map_err(Operation::WriteMetadata.failed())?;
        let mut inode = Inode::new(MODE_REGULAR | 0o600);
        inode.time = self.plan.time;
        let all = u64::from(per_block);
        inode.size = (all * all + all + 12) * u64::from(geometry.block_size);
        inode.sectors = self.sectors(1 + u64::from(reserved) * (1 + copies.len() as u64));
        // The double indirect block.
        put32(&mut inode.block, 4 * 13, block as u32);
        Ok(inode)
    }
}

fn file_type(kind: &InodeKind<'_>) -> FileType {
    match kind {
        InodeKind::File { .. } => FileType::Regular,
        InodeKind::Symlink { .. } => FileType::Symlink,
        InodeKind::CharDevice(_) => FileType::CharDevice,
        InodeKind::BlockDevice(_) => FileType::BlockDevice,
        InodeKind::Fifo => FileType::Fifo,
        InodeKind::Socket => FileType::Socket,
        _ => FileType::Directory,
    }
}
