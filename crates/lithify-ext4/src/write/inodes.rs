//! The pass over all inodes that writes them, when the places of all blocks are known.

use lithify_storage::Storage;
use lithify_tree::{InodeId, InodeKind, Tree};

use super::attributes::{INLINE_ROOM, Place, Value, stored};
use super::contents::Contents;
use super::extents;
use super::layout::Layout;
use super::owned::{Own, Owned};
use super::plan::Plan;
use super::table::Table;
use crate::format::extent::{Extent, IN_INODE};
use crate::format::inode::{
    self, BLOCK_LEN, FLAG_EXTENTS, FLAG_INDEX, FLAG_VALUE, Inode, MODE_DIRECTORY, MODE_REGULAR,
    MODE_TYPE, ValueState, clamp,
};
use crate::format::{FIRST_INODE, INODE_LEN, JOURNAL_INODE, RESIZE_INODE, ROOT_INODE, xattr};
use crate::geometry::{DataBlocks, Geometry};
use crate::{Operation, WriteError};

/// Bytes of what inodes count their blocks in.
const SECTOR: u64 = 512;

/// The most links a directory counts; with more it says one, for "unknown".
const DIRECTORY_LINKS_MAX: u32 = 64_999;

/// Gives an inode the extents of its data and, where it has no room for them, the tree over them, whose blocks begin with
/// `tree`.
pub(super) fn set_extents(inode: &mut Inode, geometry: &Geometry, found: &[Extent], tree: u64) {
    let data: u64 = found.iter().map(|e| u64::from(e.blocks)).sum();
    let nodes = extents::tree_blocks(found.len(), geometry.block_size);
    inode.block = extents::root(found, geometry, tree);
    inode.flags |= FLAG_EXTENTS;
    inode.sectors += sectors(geometry, data + u64::from(nodes));
}

/// Returns blocks as inodes count them.
pub(super) fn sectors(geometry: &Geometry, blocks: u64) -> u64 {
    blocks * u64::from(geometry.block_size) / SECTOR
}

/// What inodes are made of.
pub(super) struct Inodes<'a> {
    pub(super) tree: &'a Tree,
    pub(super) plan: &'a Plan,
    pub(super) contents: &'a Contents,
    pub(super) geometry: &'a Geometry,
    pub(super) owned: &'a Owned,
}

/// What was met on the way.
#[derive(Debug, Default)]
struct State {
    /// How many inodes with blocks of their own there were.
    owned: usize,
    /// How many inodes had each set of attributes.
    uses: Vec<u32>,
    extents: Vec<Extent>,
    /// The attributes behind the last inode that had any, and their set: many inodes have the same.
    inline: (usize, Vec<u8>),
}

impl Inodes<'_> {
    /// Writes all inodes. Returns the number of directories in each group.
    pub(super) fn write<S: Storage>(
        &self,
        layout: &Layout,
        resize: &Inode,
        journal: Option<&Inode>,
        storage: &mut DataBlocks<S>,
    ) -> Result<Vec<u32>, WriteError> {
        let mut state = State {
            uses: vec![0; self.plan.uses.len()],
            ..State::default()
        };
        let mut table = Table::new(layout, self.geometry, FIRST_INODE + 1);
        let mut directories = Vec::new();
        let mut count = |number: u32, inode: &Inode| {
            let group = ((number - 1) / layout.inodes_per_group) as usize;
            if directories.len() <= group {
                directories.resize(group + 1, 0);
            }
            directories[group] += u32::from(inode.mode & MODE_TYPE == MODE_DIRECTORY);
        };
        // Reserved inodes stand in front of all others and are written last.
        let mut first = [[0; INODE_LEN]; FIRST_INODE as usize];
        let mut put_first = |number: u32, inode: &Inode| {
            first[number as usize - 1] = inode.to_bytes(number, self.plan.seed);
        };
        put_first(RESIZE_INODE, resize);
        if let Some(journal) = journal {
            put_first(JOURNAL_INODE, journal);
        }
        if self.plan.lost_and_found.is_none() {
            let lost = self.lost_and_found();
            count(FIRST_INODE, &lost);
            put_first(FIRST_INODE, &lost);
        }
        for id in self.tree.inode_ids() {
            if id.index() % 1024 == 0 {
                let go_on = storage.storage.go_on();
                go_on.map_err(Operation::WriteMetadata.failed())?;
            }
            let number = self.plan.number(id);
            let inode = self.inode(id, &mut state);
            count(number, &inode);
            match number {
                ROOT_INODE | FIRST_INODE => put_first(number, &inode),
                _ => table.push(&inode.to_bytes(number, self.plan.seed), storage)?,
            }
        }
        let mut at = u64::from(self.owned.values);
        for value in &self.plan.values.all {
            let number = value.elsewhere.inode;
            let inode = self.value(value, &mut at);
            table.push(&inode.to_bytes(number, self.plan.seed), storage)?;
        }
        table.flush(storage)?;
        let at = layout.table(self.geometry, 0) * u64::from(self.geometry.block_size);
        let written = storage.write_all_at(first.as_flattened(), at);
        written.map_err(Operation::WriteMetadata.failed())?;
        Ok(directories)
    }

    fn inode(&self, id: InodeId, state: &mut State) -> Inode {
        let view = self.tree.inode(id);
        let mut inode = Inode::new(view.kind.type_bits() | view.mode);
        inode.uid = view.uid;
        inode.gid = view.gid;
        inode.time = clamp(view.mtime).0;
        inode.links = view.nlink as u16;
        match view.kind {
            InodeKind::File { size, content } => {
                inode.size = size;
                state.extents.clear();
                if let Some(content) = content.and_then(|content| self.contents.get(content)) {
                    content.extents(self.geometry, &mut state.extents);
                }
                let tree = match state.extents.len() {
                    0..=IN_INODE => 0,
                    _ => self.next_owned(&mut state.owned).first,
                };
                set_extents(&mut inode, self.geometry, &state.extents, tree.into());
            }
            InodeKind::Symlink { target } => {
                inode.size = target.len() as u64;
                // A NUL follows it.
                if target.len() < BLOCK_LEN {
                    inode.block[..target.len()].copy_from_slice(target);
                } else {
                    let own = self.next_owned(&mut state.owned);
                    self.set_blocks(&mut inode, own);
                }
            }
            InodeKind::CharDevice(device) | InodeKind::BlockDevice(device) => {
                inode::put_device(&mut inode.block, device);
            }
            InodeKind::Directory => {
                // The root has a `lost+found` more.
                let adds = id.index() == 0 && self.plan.lost_and_found.is_none();
                let links = view.nlink + u32::from(adds);
                inode.links = match links {
                    0..=DIRECTORY_LINKS_MAX => links as u16,
                    _ => 1,
                };
                let own = self.next_owned(&mut state.owned);
                self.set_directory(&mut inode, own);
            }
            _ => {}
        }
        self.set_attributes(&mut inode, id, state);
        inode
    }

    /// Returns the blocks of the next inode that has any: they were appended in the order of inodes.
    fn next_owned(&self, next: &mut usize) -> Own {
        let own = self.owned.blocks.get(*next).copied().unwrap_or_default();
        *next += 1;
        own
    }

    /// Gives an inode blocks that follow each other, and the tree behind them if there is one.
    fn set_blocks(&self, inode: &mut Inode, own: Own) {
        let mut found = Vec::new();
        extents::push(&mut found, self.geometry, 0, own.first, own.blocks());
        let tree = u64::from(own.first) + u64::from(own.blocks());
        set_extents(inode, self.geometry, &found, tree);
    }

    fn set_directory(&self, inode: &mut Inode, own: Own) {
        inode.size = u64::from(own.blocks()) * u64::from(self.geometry.block_size);
        if own.is_indexed() {
            inode.flags |= FLAG_INDEX;
        }
        self.set_blocks(inode, own);
    }

    fn lost_and_found(&self) -> Inode {
        let mut inode = Inode::new(MODE_DIRECTORY | 0o700);
        inode.links = 2;
        inode.time = self.plan.time;
        self.set_directory(&mut inode, self.owned.lost_and_found);
        inode
    }

    fn set_attributes(&self, inode: &mut Inode, id: InodeId, state: &mut State) {
        let set = self.tree.inode(id).xattrs;
        let index = set.index();
        match self.plan.places[index] {
            Place::Nowhere => {}
            Place::Inline => {
                if state.inline.0 != index || state.inline.1.is_empty() {
                    // A set that cannot be stored was refused.
                    let attributes = stored(self.tree.xattrs(set)).unwrap_or_default();
                    state.inline = (index, xattr::in_inode(INLINE_ROOM, &attributes));
                }
                inode.xattrs.clone_from(&state.inline.1);
            }
            Place::Block(_) => {
                let block = self.owned.sets[index] + state.uses[index] / xattr::SHARED_MAX;
                state.uses[index] += 1;
                inode.xattr_block = self.geometry.locate(block.into()).0;
                // Values are counted as if they were the file's own.
                let values = self.plan.values.blocks(index, self.geometry.block_size);
                inode.sectors += sectors(self.geometry, 1 + values);
            }
        }
    }

    /// Returns the inode of a value, whose first data block is `at`, and adds its blocks to that.
    fn value(&self, value: &Value, at: &mut u64) -> Inode {
        let mut inode = Inode::new(MODE_REGULAR | 0o600);
        inode.flags = FLAG_VALUE;
        inode.size = value.bytes.len() as u64;
        inode.time = self.plan.time;
        inode.value = Some(ValueState {
            hash: value.elsewhere.hash,
            references: value.references,
        });
        let blocks = inode.size.div_ceil(self.geometry.block_size.into()) as u32;
        let mut found = Vec::new();
        // Data blocks that were appended have numbers of 32 bits, and a value has few.
        extents::push(&mut found, self.geometry, 0, *at as u32, blocks);
        set_extents(&mut inode, self.geometry, &found, 0);
        *at += u64::from(blocks);
        inode
    }
}
