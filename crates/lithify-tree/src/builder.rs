//! The growing tree a merge works on: constant-time lookup, insertion and removal of whole subtrees.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::inode::{Payload, Record, Type};
use crate::tree::Node as Finished;
use crate::xattr_table::XattrTable;
use crate::{InodeId, NodeId, Timestamp, Tree, XattrSetId};

/// End of a sibling list.
const NONE: u32 = u32::MAX;

/// The root keeps this bit like any other node; it is never removed.
const DETACHED: u8 = 1;

/// One name. Removal only marks and unlinks the topmost name: what is below becomes unreachable with it.
#[derive(Clone, Copy, Debug)]
struct Node {
    name: u32,
    parent: NodeId,
    inode: InodeId,
    /// Newest child; may be detached.
    first_child: u32,
    next_sibling: u32,
    name_length: u8,
    flags: u8,
}

/// More names, inodes or name bytes than 32 bits can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug)]
pub(crate) struct Builder {
    nodes: Vec<Node>,
    inodes: Vec<Record>,
    names: Vec<u8>,
    targets: Vec<u8>,
    xattrs: XattrTable,
    /// Attached nodes by (parent, name). Keyed by a random state: names are hostile.
    lookup: HashTable<NodeId>,
    hasher: RandomState,
}

fn hash(hasher: &RandomState, parent: NodeId, name: &[u8]) -> u64 {
    hasher.hash_one((parent.0, name))
}

impl Builder {
    pub(crate) fn new(root_mtime: Timestamp) -> Self {
        let root = Record::new(
            Payload::Directory,
            0o755,
            0,
            0,
            root_mtime,
            XattrSetId::EMPTY,
        );
        Self {
            nodes: vec![Node {
                name: 0,
                parent: NodeId::ROOT,
                inode: InodeId(0),
                first_child: NONE,
                next_sibling: NONE,
                name_length: 0,
                flags: 0,
            }],
            inodes: vec![root],
            names: Vec::new(),
            targets: Vec::new(),
            xattrs: XattrTable::new(),
            lookup: HashTable::new(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn inode_count(&self) -> usize {
        self.inodes.len()
    }

    pub(crate) fn inode_id(&self, node: NodeId) -> InodeId {
        self.nodes[node.index()].inode
    }

    pub(crate) fn record(&self, node: NodeId) -> &Record {
        &self.inodes[self.inode_id(node).index()]
    }

    pub(crate) fn kind(&self, node: NodeId) -> Type {
        self.record(node).kind
    }

    pub(crate) fn parent(&self, node: NodeId) -> NodeId {
        self.nodes[node.index()].parent
    }

    pub(crate) fn is_detached(&self, node: NodeId) -> bool {
        self.nodes[node.index()].flags & DETACHED != 0
    }

    fn name(&self, node: NodeId) -> &[u8] {
        let n = &self.nodes[node.index()];
        &self.names[n.name as usize..][..usize::from(n.name_length)]
    }

    /// The target of a symbolic link.
    pub(crate) fn target(&self, node: NodeId) -> &[u8] {
        match self.record(node).payload() {
            Payload::Symlink { offset, length } => {
                &self.targets[offset as usize..][..length as usize]
            }
            _ => b"",
        }
    }

    pub(crate) fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let hash = hash(&self.hasher, parent, name);
        self.lookup
            .find(hash, |&n| {
                self.nodes[n.index()].parent == parent && self.name(n) == name
            })
            .copied()
    }

    /// Adds a name that does not exist yet.
    pub(crate) fn insert(
        &mut self,
        parent: NodeId,
        name: &[u8],
        inode: InodeId,
    ) -> Result<NodeId, Full> {
        let id = index(self.nodes.len()).map(NodeId)?;
        let offset = index(self.names.len())?;
        self.names.extend_from_slice(name);
        let next_sibling = std::mem::replace(&mut self.nodes[parent.index()].first_child, id.0);
        self.nodes.push(Node {
            name: offset,
            parent,
            inode,
            first_child: NONE,
            next_sibling,
            // A cleaned component has at most NAME_MAX = 255 bytes.
            name_length: name.len() as u8,
            flags: 0,
        });
        let (nodes, names, hasher) = (&self.nodes, &self.names, &self.hasher);
        self.lookup
            .insert_unique(hash(hasher, parent, name), id, |&n| {
                let node = &nodes[n.index()];
                hash(
                    hasher,
                    node.parent,
                    &names[node.name as usize..][..usize::from(node.name_length)],
                )
            });
        Ok(id)
    }

    /// Makes a name point to another inode.
    pub(crate) fn set_inode(&mut self, node: NodeId, inode: InodeId) {
        self.nodes[node.index()].inode = inode;
    }

    pub(crate) fn add_inode(&mut self, record: Record) -> Result<InodeId, Full> {
        let id = index(self.inodes.len()).map(InodeId)?;
        self.inodes.push(record);
        Ok(id)
    }

    pub(crate) fn replace_record(&mut self, node: NodeId, record: Record) {
        let inode = self.inode_id(node);
        self.inodes[inode.index()] = record;
    }

    pub(crate) fn intern(&mut self, xattrs: &crate::Xattrs) -> XattrSetId {
        self.xattrs.intern(xattrs)
    }

    pub(crate) fn add_target(&mut self, target: &[u8]) -> Result<Payload, Full> {
        let offset = index(self.targets.len())?;
        let length = index(target.len())?;
        self.targets.extend_from_slice(target);
        Ok(Payload::Symlink { offset, length })
    }

    /// Removes a name and with it everything below. The names below stay in the lookup table under their
    /// unreachable parent, so that [`Self::child`] can still walk a removed subtree from its top.
    pub(crate) fn detach(&mut self, node: NodeId) {
        let hash = hash(&self.hasher, self.parent(node), self.name(node));
        if let Ok(found) = self.lookup.find_entry(hash, |&n| n == node) {
            found.remove();
        }
        self.nodes[node.index()].flags |= DETACHED;
    }

    /// Removes everything below a directory and returns what stood directly in it.
    pub(crate) fn detach_children(&mut self, directory: NodeId) -> Vec<NodeId> {
        let mut removed = Vec::new();
        let mut at = std::mem::replace(&mut self.nodes[directory.index()].first_child, NONE);
        while at != NONE {
            let node = NodeId(at);
            at = self.nodes[at as usize].next_sibling;
            if !self.is_detached(node) {
                self.detach(node);
                removed.push(node);
            }
        }
        removed
    }

    pub(crate) fn name_of(&self, node: NodeId) -> Box<[u8]> {
        self.name(node).into()
    }

    /// Renumbers what is reachable: nodes breadth first with sorted siblings, inodes by their first name.
    pub(crate) fn finish(self) -> Tree {
        let Self {
            nodes: old,
            mut inodes,
            names,
            targets,
            xattrs,
            lookup,
            ..
        } = self;
        drop(lookup);
        let name = |node: &Node| &names[node.name as usize..][..usize::from(node.name_length)];
        // The n-th finished node comes from old[origin[n]].
        let mut origin: Vec<u32> = vec![0];
        let mut nodes: Vec<Finished> = Vec::new();
        let mut parents: Vec<NodeId> = vec![NodeId::ROOT];
        let mut at = 0;
        while at < origin.len() {
            let node = old[origin[at] as usize];
            let first_child = origin.len();
            let mut child = node.first_child;
            while child != NONE {
                if old[child as usize].flags & DETACHED == 0 {
                    origin.push(child);
                }
                child = old[child as usize].next_sibling;
            }
            origin[first_child..]
                .sort_unstable_by(|&a, &b| name(&old[a as usize]).cmp(name(&old[b as usize])));
            let children = (origin.len() - first_child) as u32;
            parents.resize(origin.len(), NodeId(at as u32));
            nodes.push(Finished {
                name: node.name,
                parent: parents[at],
                inode: node.inode,
                first_child: first_child as u32,
                children,
                name_length: node.name_length,
            });
            at += 1;
        }
        drop((old, origin, parents));

        let mut renumbered = vec![NONE; inodes.len()];
        let mut order: Vec<Record> = Vec::new();
        for record in &mut inodes {
            record.nlink = 0;
        }
        for node in &mut nodes {
            let was = node.inode.index();
            if renumbered[was] == NONE {
                renumbered[was] = order.len() as u32;
                order.push(inodes[was]);
            }
            node.inode = InodeId(renumbered[was]);
            order[node.inode.index()].nlink += 1;
        }
        drop((inodes, renumbered));
        for index in 0..nodes.len() {
            let node = nodes[index];
            if order[node.inode.index()].kind == Type::Directory {
                // Its own `.`, and the `..` of each subdirectory.
                order[node.inode.index()].nlink += 1;
                if index != 0 {
                    let parent = nodes[node.parent.index()].inode;
                    order[parent.index()].nlink += 1;
                }
            }
        }
        Tree {
            nodes,
            inodes: order,
            names,
            targets,
            xattrs,
        }
    }
}

fn index(length: usize) -> Result<u32, Full> {
    match u32::try_from(length) {
        Ok(NONE) | Err(_) => Err(Full),
        Ok(index) => Ok(index),
    }
}
