//! The growing tree a merge works on: constant-time lookup, insertion and removal of whole subtrees.
//!
//! It is one file because the lists, the table of names and the counts of links are kept in step by every operation here, and by
//! nothing outside of it.

mod journal; // what a layer changes

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use crate::inode::{Payload, Record, Type};
use crate::tree::Node as Finished;
use crate::xattr_table::XattrTable;
use crate::{InodeId, NodeId, PATH_MAX, Timestamp, Tree, XattrSetId, Xattrs};

pub(crate) use journal::{Both, Journal};

/// End of a sibling list.
const NONE: u32 = u32::MAX;

/// Set on a name that was removed; the root never is.
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
    /// Length of the whole path in bytes, so that no combination of symbolic links makes one over [`PATH_MAX`].
    path_length: u16,
    name_length: u8,
    flags: u8,
}

const _: () = assert!(size_of::<Node>() == 24);

/// Why a name cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InsertError {
    /// More names, inodes or name bytes than 32 bits can count, or names than the limit allows.
    Full,
    /// A path of that many bytes, over [`PATH_MAX`].
    TooLong(usize),
}

/// The outcome of a lookup, good for an insertion at the same place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    hash: u64,
    pub(crate) node: Option<NodeId>,
}

/// Names by (parent, name). Keyed by a random state: names are hostile.
#[derive(Clone, Debug, Default)]
struct Names {
    table: HashTable<NodeId>,
    hasher: RandomState,
}

/// What a layer removed, by (parent, name).
#[derive(Clone, Debug, Default)]
pub(crate) struct Removed {
    table: HashTable<NodeId>,
}

#[derive(Clone, Debug)]
pub(crate) struct Builder {
    nodes: Vec<Node>,
    inodes: Vec<Record>,
    names: Vec<u8>,
    targets: Vec<u8>,
    xattrs: XattrTable,
    /// Attached nodes.
    lookup: Names,
    name_limit: u32,
    memory_limit: u64,
    /// Inodes and bytes of targets there were after the last [`compact`](Self::compact).
    compacted: (usize, usize),
    /// Names of inodes that got several, if changes are tracked; may have changed again since.
    links: Option<HashMap<InodeId, Vec<NodeId>>>,
    journal: Option<Box<Journal>>,
    /// Lookups, insertions and removals so far: what tests measure growth by.
    #[cfg(test)]
    pub(crate) steps: std::cell::Cell<u64>,
}

impl Names {
    fn hash(&self, parent: NodeId, name: &[u8]) -> u64 {
        hash(&self.hasher, parent, name)
    }
}

impl Removed {
    fn add(&mut self, nodes: &[Node], names: &[u8], hasher: &RandomState, node: NodeId) {
        let hash = |n: &NodeId| hash(hasher, nodes[n.index()].parent, name_of(nodes, names, *n));
        self.table.insert_unique(hash(&node), node, hash);
    }
}

fn hash(hasher: &RandomState, parent: NodeId, name: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u32(parent.0);
    // No length before it: what comes first has always the same, and nothing comes after.
    hasher.write(name);
    hasher.finish()
}

fn name_of<'n>(nodes: &[Node], names: &'n [u8], node: NodeId) -> &'n [u8] {
    let n = &nodes[node.index()];
    &names[n.name as usize..][..usize::from(n.name_length)]
}

impl Builder {
    pub(crate) fn new(root_mtime: Timestamp, name_limit: u32) -> Self {
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
                path_length: 0,
                name_length: 0,
                flags: 0,
            }],
            inodes: vec![root],
            names: Vec::new(),
            targets: Vec::new(),
            xattrs: XattrTable::new(),
            lookup: Names::default(),
            name_limit,
            memory_limit: u64::MAX,
            compacted: (0, 0),
            links: None,
            journal: None,
            #[cfg(test)]
            steps: std::cell::Cell::new(0),
        }
    }

    pub(crate) fn set_name_limit(&mut self, limit: u32) {
        self.name_limit = limit;
    }

    pub(crate) fn name_limit(&self) -> u32 {
        self.name_limit
    }

    pub(crate) fn set_memory_limit(&mut self, limit: u64) {
        self.memory_limit = limit;
    }

    pub(crate) fn memory_limit(&self) -> u64 {
        self.memory_limit
    }

    /// Bytes of memory the tree takes, about.
    pub(crate) fn memory(&self) -> u64 {
        // A name's place in the table takes its number, a byte of hash, and what the table has to spare.
        const PLACE_LEN: usize = 8;
        let bytes = self.nodes.len() * (size_of::<Node>() + PLACE_LEN)
            + self.inodes.len() * size_of::<Record>()
            + self.names.len()
            + self.targets.len();
        (bytes + self.xattrs.memory()) as u64
    }

    /// Forgets inodes that no name leads to, and their targets, if there may be as many of them as of others: a name can be
    /// given a new inode any number of times. Between layers only, since a hard link may mean what its layer removed.
    pub(crate) fn compact(&mut self) {
        /// So few are not worth it.
        const INODES_MIN: usize = 1 << 16;
        const TARGETS_MIN: usize = 1 << 20;
        let (inodes, targets) = self.compacted;
        if self.inodes.len() <= 2 * inodes + INODES_MIN
            && self.targets.len() <= 2 * targets + TARGETS_MIN
        {
            return;
        }
        // A directory is there before what is in it.
        let mut dead = vec![false; self.nodes.len()];
        let mut place = vec![NONE; self.inodes.len()];
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            dead[at] = node.flags & DETACHED != 0 || dead[node.parent.index()];
            if !dead[at] {
                place[node.inode.index()] = 0;
            }
        }
        let mut kept = 0;
        let mut targets = Vec::new();
        for (at, place) in place.iter_mut().enumerate() {
            if *place == NONE {
                continue;
            }
            *place = kept;
            let mut record = self.inodes[at];
            if let Payload::Symlink { offset, length } = record.payload() {
                let target = &self.targets[offset as usize..][..length as usize];
                // No more than there were.
                record.set_target(targets.len() as u32);
                targets.extend_from_slice(target);
            }
            self.inodes[kept as usize] = record;
            kept += 1;
        }
        self.inodes.truncate(kept as usize);
        self.inodes.shrink_to(2 * self.inodes.len());
        self.targets = targets;
        if let Some(links) = self.links.take() {
            let kept = links.into_iter().filter_map(|(inode, mut names)| {
                let inode = InodeId(place[inode.index()]);
                names.retain(|n| !dead[n.index()]);
                (inode.0 != NONE).then_some((inode, names))
            });
            self.links = Some(kept.collect());
        }
        for (node, dead) in self.nodes.iter_mut().zip(dead) {
            // Nothing leads to a dead name; the root's inode is always there.
            node.inode = match dead {
                true => InodeId(0),
                false => InodeId(place[node.inode.index()]),
            };
        }
        self.compacted = (self.inodes.len(), self.targets.len());
    }

    /// Makes room for so many more names: a table that grows by doubling hashes every name twice.
    pub(crate) fn expect_names(&mut self, count: usize) {
        let Self {
            nodes,
            names,
            lookup: Names { table, hasher },
            ..
        } = self;
        table.reserve(count, |&n| {
            hash(hasher, nodes[n.index()].parent, name_of(nodes, names, n))
        });
    }

    fn count_step(&self) {
        #[cfg(test)]
        self.steps.set(self.steps.get() + 1);
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

    /// Whether the root still reaches a name.
    pub(crate) fn is_reachable(&self, node: NodeId) -> bool {
        let mut at = node;
        while at != NodeId::ROOT {
            self.count_step();
            if self.nodes[at.index()].flags & DETACHED != 0 {
                return false;
            }
            at = self.parent(at);
        }
        true
    }

    pub(crate) fn name(&self, node: NodeId) -> &[u8] {
        name_of(&self.nodes, &self.names, node)
    }

    /// The target of a symbolic link.
    pub(crate) fn target(&self, node: NodeId) -> &[u8] {
        self.target_of(self.record(node))
    }

    /// The target of a symbolic link, by its inode.
    pub(crate) fn target_of(&self, record: &Record) -> &[u8] {
        match record.payload() {
            Payload::Symlink { offset, length } => {
                &self.targets[offset as usize..][..length as usize]
            }
            _ => b"",
        }
    }

    pub(crate) fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        self.slot(parent, name).node
    }

    pub(crate) fn slot(&self, parent: NodeId, name: &[u8]) -> Slot {
        self.count_step();
        let hash = self.lookup.hash(parent, name);
        let node = self.find(&self.lookup.table, hash, parent, name);
        Slot { hash, node }
    }

    /// The name a layer removed from a directory.
    pub(crate) fn removed_child(
        &self,
        removed: &Removed,
        parent: NodeId,
        name: &[u8],
    ) -> Option<NodeId> {
        if removed.table.is_empty() {
            return None;
        }
        self.count_step();
        self.find(&removed.table, self.lookup.hash(parent, name), parent, name)
    }

    fn find(
        &self,
        table: &HashTable<NodeId>,
        hash: u64,
        parent: NodeId,
        name: &[u8],
    ) -> Option<NodeId> {
        let is = |&n: &NodeId| self.parent(n) == parent && self.name(n) == name;
        table.find(hash, is).copied()
    }

    /// Adds a name that does not exist yet; `slot` is the outcome of looking it up.
    pub(crate) fn insert(
        &mut self,
        parent: NodeId,
        name: &[u8],
        slot: Slot,
        inode: InodeId,
    ) -> Result<NodeId, InsertError> {
        self.count_step();
        if self.nodes.len() > self.name_limit as usize {
            return Err(InsertError::Full);
        }
        let above = usize::from(self.nodes[parent.index()].path_length);
        let path_length = above + usize::from(above != 0) + name.len();
        if path_length > PATH_MAX {
            return Err(InsertError::TooLong(path_length));
        }
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
            path_length: path_length as u16,
            // A component has at most NAME_MAX = 255 bytes.
            name_length: name.len() as u8,
            flags: 0,
        });
        let Self {
            nodes,
            names,
            lookup: Names { table, hasher },
            ..
        } = self;
        table.insert_unique(slot.hash, id, |&n| {
            hash(hasher, nodes[n.index()].parent, name_of(nodes, names, n))
        });
        Ok(id)
    }

    /// Makes a name point to another inode.
    pub(crate) fn set_inode(&mut self, node: NodeId, inode: InodeId) {
        self.note_inode(node);
        self.nodes[node.index()].inode = inode;
    }

    pub(crate) fn add_inode(&mut self, record: Record) -> Result<InodeId, InsertError> {
        let id = index(self.inodes.len()).map(InodeId)?;
        self.inodes.push(record);
        Ok(id)
    }

    pub(crate) fn replace_record(&mut self, node: NodeId, record: Record) {
        self.note_record(node);
        let inode = self.inode_id(node);
        self.inodes[inode.index()] = record;
    }

    pub(crate) fn intern(&mut self, xattrs: &Arc<Xattrs>) -> XattrSetId {
        self.xattrs.intern_shared(xattrs)
    }

    pub(crate) fn shared_xattrs(&self, id: XattrSetId) -> &Arc<Xattrs> {
        self.xattrs.shared(id)
    }

    pub(crate) fn xattr_set(&self, id: XattrSetId) -> &Xattrs {
        self.xattrs.get(id)
    }

    /// Replaces the attribute sets `map` has something else for.
    pub(crate) fn map_xattrs<E>(
        &mut self,
        map: impl Fn(&Xattrs) -> Result<Option<Xattrs>, E>,
    ) -> Result<(), E> {
        if let Some((mapped, places)) = self.xattrs.mapped(|_, set| map(set))? {
            for inode in &mut self.inodes {
                inode.xattrs = places[inode.xattrs.index()];
            }
            self.xattrs = mapped;
        }
        Ok(())
    }

    /// The path of the first name whose inode is what is looked for.
    pub(crate) fn find_inode(&self, is: impl Fn(&Record) -> bool) -> Option<Vec<u8>> {
        if !self.inodes.iter().any(&is) {
            return None;
        }
        let node = (0..self.nodes.len() as u32)
            .map(NodeId)
            .find(|&n| is(self.record(n)) && self.is_reachable(n))?;
        let mut chain = Vec::new();
        let mut at = node;
        while at != NodeId::ROOT {
            chain.push(self.name(at));
            at = self.parent(at);
        }
        chain.reverse();
        Some(chain.join(&b'/'))
    }

    pub(crate) fn add_target(&mut self, target: &[u8]) -> Result<Payload, InsertError> {
        let offset = index(self.targets.len())?;
        let length = index(target.len())?;
        self.targets.extend_from_slice(target);
        Ok(Payload::Symlink { offset, length })
    }

    /// Removes a name and with it everything below; says whether it was there. The names below stay in the lookup
    /// table under their unreachable parent, so that [`Self::child`] can still walk a removed subtree from its top.
    pub(crate) fn detach(&mut self, node: NodeId) -> bool {
        self.count_step();
        if self.nodes[node.index()].flags & DETACHED != 0 {
            return false;
        }
        let hash = self.lookup.hash(self.parent(node), self.name(node));
        if let Ok(found) = self.lookup.table.find_entry(hash, |&n| n == node) {
            found.remove();
        }
        self.nodes[node.index()].flags |= DETACHED;
        self.note_removal(node);
        true
    }

    /// Like [`detach`](Self::detach), remembering what was removed.
    pub(crate) fn detach_into(&mut self, removed: &mut Removed, node: NodeId) -> bool {
        if !self.detach(node) {
            return false;
        }
        let Self {
            nodes,
            names,
            lookup: Names { hasher, .. },
            ..
        } = self;
        removed.add(nodes, names, hasher, node);
        true
    }

    /// Removes everything below a directory; returns how many names stood directly in it.
    pub(crate) fn detach_children_into(&mut self, removed: &mut Removed, directory: NodeId) -> u64 {
        let mut count = 0;
        let mut at = std::mem::replace(&mut self.nodes[directory.index()].first_child, NONE);
        self.note_emptied(directory, at);
        while at != NONE {
            count += u64::from(self.detach_into(removed, NodeId(at)));
            at = self.nodes[at as usize].next_sibling;
        }
        count
    }

    /// Renumbers what is reachable: nodes breadth first with sorted siblings, inodes by their first name, attribute
    /// sets by their first inode.
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
        let mut nodes = breadth_first(&old, &names);
        drop(old);
        renumber_inodes(&mut nodes, &mut inodes);
        count_links(&nodes, &mut inodes);
        let xattrs = renumber_xattrs(&mut inodes, &xattrs);
        Tree {
            nodes,
            inodes,
            names,
            targets,
            xattrs,
        }
    }
}

fn breadth_first(old: &[Node], names: &[u8]) -> Vec<Finished> {
    let name = |n: u32| name_of(old, names, NodeId(n));
    let finished = |n: u32, parent: NodeId| Finished {
        name: old[n as usize].name,
        parent,
        inode: old[n as usize].inode,
        first_child: 0,
        children: 0,
        name_length: old[n as usize].name_length,
    };
    // The n-th finished node comes from old[origin[n]].
    let mut origin: Vec<u32> = vec![0];
    let mut nodes = vec![finished(0, NodeId::ROOT)];
    let mut at = 0;
    while at < origin.len() {
        let first_child = origin.len();
        let mut child = old[origin[at] as usize].first_child;
        while child != NONE {
            if old[child as usize].flags & DETACHED == 0 {
                origin.push(child);
            }
            child = old[child as usize].next_sibling;
        }
        origin[first_child..].sort_unstable_by(|&a, &b| name(a).cmp(name(b)));
        let parent = NodeId(at as u32);
        nodes.extend(origin[first_child..].iter().map(|&n| finished(n, parent)));
        nodes[at].first_child = first_child as u32;
        nodes[at].children = (origin.len() - first_child) as u32;
        at += 1;
    }
    nodes
}

/// Moves each reachable inode to its new place, in the order of first names, and drops the others.
fn renumber_inodes(nodes: &mut [Finished], inodes: &mut Vec<Record>) {
    let mut place = vec![NONE; inodes.len()];
    let mut reachable = 0;
    for node in nodes {
        let place = &mut place[node.inode.index()];
        if *place == NONE {
            *place = reachable;
            reachable += 1;
        }
        node.inode = InodeId(*place);
    }
    // In place, along the cycles of the permutation: a copy would be the largest transient of the whole merge.
    for at in 0..inodes.len() {
        while place[at] != NONE && place[at] as usize != at {
            let to = place[at] as usize;
            inodes.swap(at, to);
            place.swap(at, to);
        }
    }
    inodes.truncate(reachable as usize);
}

fn count_links(nodes: &[Finished], inodes: &mut [Record]) {
    for record in &mut *inodes {
        record.nlink = 0;
    }
    for (index, node) in nodes.iter().enumerate() {
        let inode = &mut inodes[node.inode.index()];
        inode.nlink += 1;
        if inode.kind == Type::Directory {
            // Its own `.`, and the `..` of each subdirectory.
            inode.nlink += 1;
            if index != 0 {
                let parent = nodes[node.parent.index()].inode;
                inodes[parent.index()].nlink += 1;
            }
        }
    }
}

/// Keeps the attribute sets that a reachable inode has.
fn renumber_xattrs(inodes: &mut [Record], all: &XattrTable) -> XattrTable {
    let mut kept = XattrTable::new();
    let mut place: Vec<Option<XattrSetId>> = vec![None; all.len()];
    for record in inodes {
        let id = record.xattrs;
        record.xattrs =
            *place[id.index()].get_or_insert_with(|| kept.intern_shared(all.shared(id)));
    }
    kept
}

fn index(length: usize) -> Result<u32, InsertError> {
    match u32::try_from(length) {
        Ok(NONE) | Err(_) => Err(InsertError::Full),
        Ok(index) => Ok(index),
    }
}
