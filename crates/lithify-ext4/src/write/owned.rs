//! The blocks that single inodes have besides file data: directories, long targets, trees of extents, attributes. They are
//! appended before the inodes are written, so that the place of inode tables may depend on their number.

use lithify_storage::Storage;
use lithify_tree::{InodeId, InodeKind, NodeId, Tree};

use super::attributes::{Place, stored};
use super::blocks::{self, Appender, next_block};
use super::contents::Contents;
use super::directory::{self, Frame, Name, Names};
use super::extents;
use super::plan::{LOST_AND_FOUND, Plan};
use crate::format::dirent::FileType;
use crate::format::extent::{Extent, IN_INODE};
use crate::format::inode::{self, BLOCK_LEN};
use crate::format::{FIRST_INODE, ROOT_INODE, xattr};
use crate::geometry::DataBlocks;
use crate::{Operation, WriteError};

/// Data blocks of an inode that follow each other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own {
    pub(super) first: u32,
    blocks: u32,
}

/// Of a directory with a tree of hashes. A file has less blocks.
const INDEXED: u32 = 1 << 31;

impl Own {
    pub(super) const fn blocks(self) -> u32 {
        self.blocks & !INDEXED
    }

    pub(super) const fn is_indexed(self) -> bool {
        self.blocks & INDEXED != 0
    }
}

/// The blocks of single inodes.
#[derive(Debug, Default)]
pub(super) struct Owned {
    /// Those of directories, long targets and trees over files' extents, in the order of inodes that have any.
    pub(super) blocks: Vec<Own>,
    /// Those of the `lost+found` that the tree does not have.
    pub(super) lost_and_found: Own,
    /// For each set of attributes that is in blocks, the first of them.
    pub(super) sets: Vec<u32>,
    /// The first block of values that have inodes of their own.
    pub(super) values: u32,
    /// The block that leads to blocks reserved for descriptors.
    pub(super) resize: u32,
    pub(super) indexed_directories: u32,
}

/// The appending of blocks.
pub(super) struct Owning<'a, S> {
    pub(super) tree: &'a Tree,
    pub(super) plan: &'a Plan,
    pub(super) contents: &'a Contents,
    pub(super) storage: &'a mut DataBlocks<S>,
    pub(super) appender: &'a mut Appender,
}

impl<S: Storage> Owning<'_, S> {
    /// Appends the blocks of all inodes. `each` is told the offset of the end behind each inode.
    pub(super) fn append_all(
        mut self,
        mut each: impl FnMut(u64) -> Result<(), WriteError>,
    ) -> Result<Owned, WriteError> {
        let mut owned = Owned {
            sets: vec![u32::MAX; self.tree.xattr_set_count()],
            ..Owned::default()
        };
        if self.plan.lost_and_found.is_none() {
            owned.lost_and_found = self.lost_and_found()?;
        }
        let mut found = Vec::new();
        for id in self.tree.inode_ids() {
            if id.index() % 1024 == 0 {
                let go_on = self.storage.storage.go_on();
                go_on.map_err(Operation::WriteMetadata.failed())?;
            }
            if let Some(own) = self.inode(id, &mut found)? {
                owned.indexed_directories += u32::from(own.is_indexed());
                owned.blocks.push(own);
            }
            self.set(id, &mut owned.sets)?;
            each(self.appender.offset())?;
        }
        owned.values = self.next()?;
        for value in &self.plan.values.all {
            self.appender.append(self.storage, &value.bytes)?;
            self.appender.pad(self.storage)?;
        }
        owned.resize = self.next()?;
        let end = self.appender.offset() + u64::from(self.block_size());
        self.appender.leave_out(self.storage, end)?;
        each(end)?;
        Ok(owned)
    }

    fn block_size(&self) -> u32 {
        self.storage.geometry.block_size
    }

    fn next(&self) -> Result<u32, WriteError> {
        next_block(self.appender, self.block_size())
    }

    /// Appends the tree of extents, where the inode has no room for them.
    fn tree_of(&mut self, number: u32, found: &[Extent]) -> Result<Option<Own>, WriteError> {
        if found.len() <= IN_INODE {
            return Ok(None);
        }
        let seed = inode::inode_seed(self.plan.seed, number);
        let first = extents::write(found, seed, self.appender, self.storage)?;
        let blocks = extents::tree_blocks(found.len(), self.block_size());
        Ok(Some(Own { first, blocks }))
    }

    /// Appends the tree of extents of blocks that are a whole file.
    fn tree_over(&mut self, number: u32, own: Own) -> Result<(), WriteError> {
        let mut found = Vec::new();
        extents::push(
            &mut found,
            &self.storage.geometry,
            0,
            own.first,
            own.blocks(),
        );
        self.tree_of(number, &found).map(drop)
    }

    fn inode(&mut self, id: InodeId, found: &mut Vec<Extent>) -> Result<Option<Own>, WriteError> {
        let number = self.plan.number(id);
        match self.tree.inode(id).kind {
            InodeKind::File { content, .. } => {
                let content = content.and_then(|content| self.contents.get(content));
                let Some(content) = content else {
                    return Ok(None);
                };
                found.clear();
                content.extents(&self.storage.geometry, found);
                self.tree_of(number, found)
            }
            InodeKind::Symlink { target } if target.len() < BLOCK_LEN => Ok(None),
            InodeKind::Symlink { target } => self.target(id, target).map(Some),
            InodeKind::Directory => {
                let own = self.directory(id, number)?;
                self.tree_over(number, own)?;
                Ok(Some(own))
            }
            _ => Ok(None),
        }
    }

    fn target(&mut self, id: InodeId, target: &[u8]) -> Result<Own, WriteError> {
        let mut block = vec![0; self.block_size() as usize];
        // A NUL follows it.
        if target.len() >= block.len() {
            return Err(WriteError::SymlinkTarget {
                path: self.tree.path(self.plan.first_names[id.index()]),
                found: target.len(),
                limit: block.len() - 1,
            });
        }
        block[..target.len()].copy_from_slice(target);
        let first = self.next()?;
        blocks::append(self.appender, self.storage, &block)?;
        Ok(Own { first, blocks: 1 })
    }

    fn frame(&self, own: u32, parent: u32) -> Frame {
        Frame {
            block_size: self.block_size() as usize,
            own,
            parent,
            inode_seed: inode::inode_seed(self.plan.seed, own),
            hash_seed: self.plan.hash_seed,
        }
    }

    fn directory(&mut self, id: InodeId, number: u32) -> Result<Own, WriteError> {
        let node = self.plan.first_names[id.index()];
        let names = Children::of(self.tree, self.plan, node);
        let parent = self.plan.number(self.tree.inode_id(self.tree.parent(node)));
        let frame = self.frame(number, parent);
        let first = self.next()?;
        let mut blocks = 0;
        let (appender, storage) = (&mut *self.appender, &mut *self.storage);
        let written = directory::write(&frame, &names, |block| {
            blocks += 1;
            blocks::append(appender, storage, block)
        })?;
        match written {
            Some(is_indexed) => Ok(Own {
                first,
                blocks: blocks | if is_indexed { INDEXED } else { 0 },
            }),
            None => Err(WriteError::DirectoryTooLarge {
                path: self.tree.path(node),
            }),
        }
    }

    fn lost_and_found(&mut self) -> Result<Own, WriteError> {
        let blocks = directory::lost_and_found(&self.frame(FIRST_INODE, ROOT_INODE));
        let own = Own {
            first: self.next()?,
            blocks: blocks.len() as u32,
        };
        for block in &blocks {
            blocks::append(self.appender, self.storage, block)?;
        }
        self.tree_over(FIRST_INODE, own)?;
        Ok(own)
    }

    /// Appends the blocks of an inode's attributes, those for all inodes with the same.
    fn set(&mut self, id: InodeId, sets: &mut [u32]) -> Result<(), WriteError> {
        let set = self.tree.inode(id).xattrs;
        let index = set.index();
        if !matches!(self.plan.places[index], Place::Block(_)) || sets[index] != u32::MAX {
            return Ok(());
        }
        // A set that cannot be stored was refused.
        let mut attributes = stored(self.tree.xattrs(set)).unwrap_or_default();
        self.plan.values.refer(index, &mut attributes);
        sets[index] = self.next()?;
        let mut left = self.plan.uses[index];
        while left > 0 {
            let inodes = left.min(xattr::SHARED_MAX);
            let (number, _) = self.storage.geometry.locate(self.next()?.into());
            let size = self.block_size() as usize;
            let block = xattr::block(size, &attributes, inodes, number, self.plan.seed);
            blocks::append(self.appender, self.storage, &block)?;
            left -= inodes;
        }
        Ok(())
    }
}

/// The names of a directory.
struct Children<'a> {
    tree: &'a Tree,
    plan: &'a Plan,
    nodes: Vec<NodeId>,
    /// The place of the `lost+found` that the tree does not have.
    lost_and_found: Option<usize>,
}

impl<'a> Children<'a> {
    fn of(tree: &'a Tree, plan: &'a Plan, directory: NodeId) -> Self {
        let adds = directory == NodeId::ROOT && plan.lost_and_found.is_none();
        let nodes: Vec<NodeId> = tree.children(directory).collect();
        let lost_and_found =
            adds.then(|| nodes.partition_point(|node| tree.name(*node) < LOST_AND_FOUND));
        Self {
            tree,
            plan,
            nodes,
            lost_and_found,
        }
    }
}

impl Names for Children<'_> {
    fn count(&self) -> usize {
        self.nodes.len() + usize::from(self.lost_and_found.is_some())
    }

    fn name(&self, index: usize) -> Name<'_> {
        let node = match self.lost_and_found {
            Some(lost) if index == lost => {
                return Name {
                    inode: FIRST_INODE,
                    kind: FileType::Directory,
                    name: LOST_AND_FOUND,
                };
            }
            Some(lost) if index > lost => self.nodes[index - 1],
            _ => self.nodes[index],
        };
        Name {
            inode: self.plan.number(self.tree.inode_id(node)),
            kind: file_type(&self.tree.node_inode(node).kind),
            name: self.tree.name(node),
        }
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
