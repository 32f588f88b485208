//! What a layer changes in the tree, noted while it is applied: so the filesystem below can be looked at beside the one
//! with the layer, without a copy of either.

use std::collections::{HashMap, HashSet};

use super::{Builder, DETACHED, Names, Removed};
use crate::inode::{Record, Type};
use crate::{InodeId, NodeId};

/// The changes of one layer. What is not in here is as it was; nodes and inodes from the first ones on are the layer's.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    first_node: usize,
    first_inode: usize,
    /// The inodes that names of lower layers had before they were given others.
    inodes: HashMap<NodeId, InodeId>,
    /// Records of lower layers that were replaced.
    records: HashMap<InodeId, Record>,
    /// Directories of lower layers whose record was.
    described: Vec<NodeId>,
    /// Names of lower layers that were removed: in order, and to be found by directory and name.
    removed: Vec<NodeId>,
    removed_names: Removed,
    /// First children of lower directories that were emptied.
    first_children: HashMap<NodeId, u32>,
}

impl Builder {
    /// Keeps, from now on, what it takes to say which names an inode has, and notes what each layer changes.
    pub(crate) fn track_changes(&mut self) {
        self.links.get_or_insert_with(HashMap::new);
    }

    /// Whether it does.
    pub(crate) fn tracks_changes(&self) -> bool {
        self.links.is_some()
    }

    /// Begins to note what the next layer changes, if changes are tracked.
    pub(crate) fn begin_journal(&mut self) {
        self.journal = self.links.is_some().then(|| {
            Box::new(Journal {
                first_node: self.nodes.len(),
                first_inode: self.inodes.len(),
                inodes: HashMap::new(),
                records: HashMap::new(),
                described: Vec::new(),
                removed: Vec::new(),
                removed_names: Removed::default(),
                first_children: HashMap::new(),
            })
        });
    }

    /// Ends it, and gives what was noted.
    pub(crate) fn take_journal(&mut self) -> Option<Box<Journal>> {
        self.journal.take()
    }

    /// Forgets removed names where directories that lost some are looked through from, so that no layer passes over what
    /// those before it removed.
    pub(crate) fn forget_removed(&mut self, journal: &Journal) {
        for &node in &journal.removed {
            let directory = self.parent(node);
            let mut first = self.nodes[directory.index()].first_child;
            while first != super::NONE && self.nodes[first as usize].flags & DETACHED != 0 {
                self.count_step();
                first = self.nodes[first as usize].next_sibling;
            }
            self.nodes[directory.index()].first_child = first;
        }
    }

    /// Notes that an inode gets another name.
    pub(crate) fn note_link(&mut self, inode: InodeId, first: Option<NodeId>, name: NodeId) {
        if let Some(links) = &mut self.links {
            let names = links.entry(inode).or_default();
            if names.is_empty() {
                names.extend(first);
            }
            names.push(name);
        }
    }

    pub(super) fn note_inode(&mut self, node: NodeId) {
        let inode = self.inode_id(node);
        if let Some(journal) = &mut self.journal
            && node.index() < journal.first_node
        {
            journal.inodes.entry(node).or_insert(inode);
        }
    }

    pub(super) fn note_record(&mut self, node: NodeId) {
        let inode = self.inode_id(node);
        let record = self.inodes[inode.index()];
        if let Some(journal) = &mut self.journal
            && inode.index() < journal.first_inode
        {
            journal.records.entry(inode).or_insert(record);
            journal.described.push(node);
        }
    }

    pub(super) fn note_removal(&mut self, node: NodeId) {
        let Self {
            nodes,
            names,
            lookup: Names { hasher, .. },
            journal,
            ..
        } = self;
        if let Some(journal) = journal
            && node.index() < journal.first_node
        {
            journal.removed.push(node);
            journal.removed_names.add(nodes, names, hasher, node);
        }
    }

    pub(super) fn note_emptied(&mut self, directory: NodeId, first_child: u32) {
        if let Some(journal) = &mut self.journal
            && directory.index() < journal.first_node
        {
            let first = journal.first_children.entry(directory);
            first.or_insert(first_child);
        }
    }
}

/// A tree and the one it was before a layer.
#[derive(Debug)]
pub(crate) struct Both<'a> {
    pub(crate) tree: &'a Builder,
    pub(crate) journal: &'a Journal,
    removed: HashSet<NodeId>,
    removed_from: HashMap<NodeId, Vec<NodeId>>,
}

impl<'a> Both<'a> {
    pub(crate) fn new(tree: &'a Builder, journal: &'a Journal) -> Self {
        let mut removed_from: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
        for &node in &journal.removed {
            removed_from
                .entry(tree.parent(node))
                .or_default()
                .push(node);
        }
        Self {
            tree,
            journal,
            removed: journal.removed.iter().copied().collect(),
            removed_from,
        }
    }

    /// Names of the tree that the layer made, gave another inode or described, each once, root included if it is.
    pub(crate) fn touched(&self) -> Vec<NodeId> {
        let journal = self.journal;
        let new = (journal.first_node..self.tree.nodes.len()).map(|n| NodeId(n as u32));
        let changed = journal.inodes.keys().copied();
        let described = journal.described.iter().copied();
        let mut touched: Vec<NodeId> = new
            .chain(changed)
            .chain(described)
            .filter(|&n| self.tree.is_reachable(n))
            .collect();
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// Directories that lost a name, if they are still there.
    pub(crate) fn robbed(&self) -> Vec<NodeId> {
        let directories = self.removed_from.keys().copied();
        directories.filter(|&n| self.tree.is_reachable(n)).collect()
    }

    /// Names of lower layers that a directory lost.
    pub(crate) fn removed_from(&self, directory: NodeId) -> &[NodeId] {
        self.removed_from.get(&directory).map_or(&[], |names| names)
    }

    /// Whether a node was there before the layer.
    fn is_old(&self, node: NodeId) -> bool {
        node.index() < self.journal.first_node
    }

    /// Whether a name was in its directory before the layer.
    fn was_attached(&self, node: NodeId) -> bool {
        self.is_old(node)
            && (self.tree.nodes[node.index()].flags & DETACHED == 0 || self.removed.contains(&node))
    }

    fn was_reachable(&self, node: NodeId) -> bool {
        let mut at = node;
        while at != NodeId::ROOT {
            self.tree.count_step();
            if !self.was_attached(at) {
                return false;
            }
            at = self.tree.parent(at);
        }
        true
    }

    /// The inode a name had.
    pub(crate) fn inode_before(&self, node: NodeId) -> InodeId {
        let inodes = &self.journal.inodes;
        let changed = inodes.get(&node).copied();
        changed.unwrap_or_else(|| self.tree.inode_id(node))
    }

    /// What an inode was.
    pub(crate) fn record_before(&self, inode: InodeId) -> &Record {
        let records = &self.journal.records;
        records
            .get(&inode)
            .unwrap_or(&self.tree.inodes[inode.index()])
    }

    fn was_directory(&self, node: NodeId) -> bool {
        self.record_before(self.inode_before(node)).kind == Type::Directory
    }

    /// The name that a directory had before the layer.
    fn child_before(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        let removed = &self.journal.removed_names;
        let found = self.tree.removed_child(removed, directory, name);
        found.or_else(|| {
            let child = self.tree.child(directory, name);
            child.filter(|&n| self.is_old(n))
        })
    }

    /// The names that a directory had before the layer.
    pub(crate) fn children_before(&self, directory: NodeId) -> impl Iterator<Item = NodeId> {
        let first = self.journal.first_children.get(&directory);
        let first = first.map_or(self.tree.nodes[directory.index()].first_child, |&f| f);
        let node = |n: u32| (n != super::NONE).then_some(NodeId(n));
        let next = move |n: &NodeId| node(self.tree.nodes[n.index()].next_sibling);
        std::iter::successors(node(first), next)
            .inspect(|_| self.tree.count_step())
            .filter(|&n| self.was_attached(n))
    }

    /// What had the name of a node before the layer, as far as directories above it had been directories.
    pub(crate) fn counterpart(
        &self,
        node: NodeId,
        known: &mut HashMap<NodeId, Option<NodeId>>,
    ) -> Option<NodeId> {
        // A name of a lower layer that is still there is below others that are.
        if self.is_old(node) {
            return Some(node);
        }
        let mut way = Vec::new();
        let mut at = node;
        let mut found = loop {
            if self.is_old(at) {
                break Some(at);
            }
            if let Some(&found) = known.get(&at) {
                break found;
            }
            way.push(at);
            at = self.tree.parent(at);
        };
        for node in way.into_iter().rev() {
            let directory = found.filter(|&n| self.was_directory(n));
            found = directory.and_then(|n| self.child_before(n, self.tree.name(node)));
            known.insert(node, found);
        }
        found
    }

    /// The names an inode has, of which `name` is one.
    pub(crate) fn names(&self, inode: InodeId, name: Option<NodeId>) -> Vec<NodeId> {
        let shared = self.tree.links.as_ref().and_then(|links| links.get(&inode));
        let all = shared.map_or(&[][..], |names| names);
        let mut names: Vec<NodeId> = all
            .iter()
            .copied()
            .chain(name)
            .filter(|&n| self.tree.inode_id(n) == inode && self.tree.is_reachable(n))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// How many names an inode had, of which `name` was one.
    pub(crate) fn names_before(&self, inode: InodeId, name: NodeId) -> usize {
        let shared = self.tree.links.as_ref().and_then(|links| links.get(&inode));
        let all = shared.map_or(&[][..], |names| names);
        let mut names: Vec<NodeId> = all
            .iter()
            .copied()
            .chain([name])
            .filter(|&n| self.was_reachable(n) && self.inode_before(n) == inode)
            .collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }
}
