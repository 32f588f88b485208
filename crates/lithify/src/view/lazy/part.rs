//! A part of a stack's filesystem, as a tree like that of the whole.

use std::collections::{HashMap, HashSet};

use lithify_erofs::ReadAt;
use lithify_tree::{
    Entry, EntryKind, LayerEntries, Merge, MergeError, Metadata, SYMLINK_MAX, Tree, TreePath,
};

use super::guard::Guard;
use super::lookup::Node;
use super::stack::{LayerName, Stack};
use crate::Error;
use crate::error::LayerError;
use crate::session::budgets::Budgets;

/// Names that were looked at.
pub(super) struct Part<'a, R> {
    stack: &'a Stack<R>,
    entries: LayerEntries,
    seen: HashSet<Vec<u8>>,
    /// First names of inodes that say they have several.
    first_names: HashMap<(usize, u64), TreePath>,
    guard: Guard<'a, R>,
    /// Most names.
    limit: u32,
    budgets: Budgets,
    /// Bytes of memory counted.
    memory: u64,
}

/// Directories on the way: their paths and what they are.
type Way = Vec<(Vec<u8>, Vec<(usize, lithify_erofs::Inode)>)>;

impl<'a, R: ReadAt> Part<'a, R> {
    pub(super) fn new(stack: &'a Stack<R>, limit: u32, budgets: Budgets) -> Self {
        Self {
            stack,
            entries: LayerEntries::new(),
            seen: HashSet::new(),
            first_names: HashMap::new(),
            guard: Guard::new(stack),
            limit,
            budgets,
            memory: 0,
        }
    }

    /// What is at a path when symbolic links, the last component's too, are followed inside the root.
    pub(super) fn resolve(&mut self, path: &[u8]) -> Result<Option<(Vec<u8>, Node)>, Error> {
        let root = self.stack.root()?;
        self.add(&[], &root)?;
        let Node::Directory(root) = root else {
            return Ok(None);
        };
        let mut way: Way = vec![(Vec::new(), root)];
        // What is left to walk, last first.
        let mut left: Vec<Vec<u8>> = components(path).rev().collect();
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == b".." {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let Some((at, directory)) = way.last() else {
                return Ok(None);
            };
            let Some(node) = self.stack.child(directory, &name)? else {
                return Ok(None);
            };
            let full = join(at, &name);
            self.add(&full, &node)?;
            if let Some(target) = self.stack.target(&node)? {
                links += 1;
                if links > SYMLINK_MAX {
                    return Ok(None);
                }
                if target.starts_with(b"/") {
                    way.truncate(1);
                }
                left.extend(components(&target).rev());
                continue;
            }
            match node {
                Node::Directory(merged) => way.push((full, merged)),
                node if left.is_empty() => return Ok(Some((full, node))),
                Node::Other(..) => return Ok(None),
            }
        }
        Ok(way
            .pop()
            .map(|(path, merged)| (path, Node::Directory(merged))))
    }

    /// Adds everything below a node, so many directories deep.
    pub(super) fn below(
        &mut self,
        path: &[u8],
        node: &Node,
        depth: Option<usize>,
    ) -> Result<(), Error> {
        let mut open = vec![(path.to_vec(), node.clone(), 0)];
        while let Some((path, node, at)) = open.pop() {
            let Node::Directory(merged) = &node else {
                continue;
            };
            if depth.is_some_and(|most| at >= most) {
                continue;
            }
            let mut directories = Vec::new();
            for (name, child) in self.stack.children(merged)? {
                let full = join(&path, &name);
                self.add(&full, &child)?;
                if matches!(child, Node::Directory(_)) {
                    directories.push((full, child, at + 1));
                }
            }
            // So that names come in the order of the whole.
            open.extend(directories.into_iter().rev());
        }
        Ok(())
    }

    fn add(&mut self, path: &[u8], node: &Node) -> Result<(), Error> {
        if !self.seen.insert(path.to_vec()) {
            return Ok(());
        }
        if self.seen.len() as u64 > u64::from(self.limit) {
            return Err(merge_failed(MergeError::TooManyNames {
                path: path.to_vec(),
                limit: self.limit,
            }));
        }
        self.guard.enter(path, node)?;
        let Some((layer, inode)) = node.shown() else {
            return Ok(());
        };
        let path = TreePath::clean(path).map_err(Error::tar_path)?;
        if inode.nlink() > 1 && matches!(node, Node::Other(..)) {
            if let Some(target) = self.first_names.get(&(layer, inode.nid())) {
                let kind = EntryKind::HardLink {
                    target: target.clone(),
                };
                let entry = Entry {
                    path,
                    metadata: Metadata::default(),
                    kind,
                };
                return self.push(layer, &entry);
            }
            self.first_names.insert((layer, inode.nid()), path.clone());
        }
        let found = self.stack.layers[layer].overlay_entry(path, inode)?;
        self.push(layer, &found.entry)
    }

    fn push(&mut self, layer: usize, entry: &Entry) -> Result<(), Error> {
        let LayerName { index, name } = &self.stack.names[layer];
        let exceeded = |source| {
            Error::from(LayerError::Budget {
                index: *index,
                name: name.clone(),
                path: Some(entry.path.clone()),
                source,
            })
        };
        self.budgets.entry(entry).map_err(exceeded)?;
        self.entries
            .push(entry, None)
            .map_err(LayerError::TooManyNames)?;
        self.budgets
            .kept(&self.entries, &mut self.memory)
            .map_err(exceeded)
    }

    /// The tree of what was added.
    pub(super) fn finish(self) -> Result<Tree, Error> {
        let mut merge = Merge::new();
        merge.apply(self.entries).map_err(merge_failed)?;
        Ok(merge.finish())
    }
}

fn merge_failed(source: MergeError) -> Error {
    LayerError::Tree {
        name: "the part looked at".to_owned(),
        source,
    }
    .into()
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        [] => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|&b| b == b'/')
        .filter(|c| !c.is_empty() && *c != b".")
        .map(<[u8]>::to_vec)
}
