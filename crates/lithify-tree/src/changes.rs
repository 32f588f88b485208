//! The layer that makes one tree of another.

use crate::{
    ContentId, Entry, EntryKind, InodeId, InodeKind, Metadata, NodeId, PathError, Tree, TreePath,
};

/// A step from one tree to another, as a layer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A name of the old tree is gone, with everything below it.
    Removed(NodeId),
    /// A name of the new tree is there, or is something else than before.
    Present {
        /// The name.
        node: NodeId,
        /// The name of the same inode that came before, if one did.
        first: Option<NodeId>,
    },
}

/// Finds the changes from `old` to `new`, in the order of their paths: a directory, what is removed from it, what is in it.
/// A directory also comes when only something below it changed. Of a file with several names all come if one has to.
///
/// `same` tells whether a content of the old tree and one of the new tree are the same bytes. It is asked for files of equal
/// size only.
#[must_use]
pub fn changes(
    old: &Tree,
    new: &Tree,
    mut same: impl FnMut(ContentId, ContentId) -> bool,
) -> Vec<Change> {
    let before = namesakes(old, new);
    let changed = changed_inodes(old, new, &before, &mut same);
    let mut found = Found {
        new,
        changes: Vec::new(),
        is_listed: vec![false; new.len()],
    };
    let mut first_names: Vec<Option<NodeId>> = vec![None; new.inode_count()];
    for node in new.walk() {
        let id = new.inode_id(node);
        if !is_directory(new, node) {
            if changed[id.index()] {
                found.list_parents(node);
                let first = first_names[id.index()];
                found.changes.push(Change::Present { node, first });
                first_names[id.index()].get_or_insert(node);
            }
            continue;
        }
        let namesake = before[node.index()].filter(|was| is_directory(old, *was));
        match namesake {
            Some(was) if has_same_metadata(old, old.inode_id(was), new, id) => {}
            _ => found.list(node),
        }
        let Some(was) = namesake else { continue };
        for gone in old.children(was) {
            if new.child(node, old.name(gone)).is_none() {
                if node != NodeId::ROOT {
                    found.list(node);
                }
                found.changes.push(Change::Removed(gone));
            }
        }
    }
    found.changes
}

impl Change {
    /// Returns the change as an entry of a layer. Where the holes of a file are, it does not know.
    ///
    /// # Errors
    /// [`PathError`] for a path that layers cannot have.
    pub fn entry(&self, old: &Tree, new: &Tree) -> Result<Entry, PathError> {
        match *self {
            Self::Removed(node) => Ok(Entry {
                path: TreePath::clean(&old.path(node))?,
                metadata: Metadata::default(),
                kind: EntryKind::Whiteout,
            }),
            Self::Present { node, first } => new.entry(node, first),
        }
    }
}

struct Found<'a> {
    new: &'a Tree,
    changes: Vec<Change>,
    /// Directories that are in the list.
    is_listed: Vec<bool>,
}

impl Found<'_> {
    /// Adds a directory, behind those it is in.
    fn list(&mut self, directory: NodeId) {
        if self.is_listed[directory.index()] {
            return;
        }
        self.list_parents(directory);
        self.is_listed[directory.index()] = true;
        self.changes.push(Change::Present {
            node: directory,
            first: None,
        });
    }

    /// Adds the directories that something is in. The root is there anyway.
    fn list_parents(&mut self, node: NodeId) {
        let mut missing = Vec::new();
        let mut at = self.new.parent(node);
        while at != NodeId::ROOT && !self.is_listed[at.index()] {
            missing.push(at);
            at = self.new.parent(at);
        }
        for directory in missing.into_iter().rev() {
            self.is_listed[directory.index()] = true;
            self.changes.push(Change::Present {
                node: directory,
                first: None,
            });
        }
    }
}

fn is_directory(tree: &Tree, node: NodeId) -> bool {
    matches!(tree.node_inode(node).kind, InodeKind::Directory)
}

/// Finds the name of the old tree for each name of the new tree.
fn namesakes(old: &Tree, new: &Tree) -> Vec<Option<NodeId>> {
    let mut found = vec![None; new.len()];
    for node in new.walk() {
        found[node.index()] = match node {
            NodeId::ROOT => Some(NodeId::ROOT),
            node => found[new.parent(node).index()]
                .filter(|was| is_directory(old, *was))
                .and_then(|was| old.child(was, new.name(node))),
        };
    }
    found
}

/// Finds the inodes that are no directories and have to come. One that was there has the same names or fewer, all of one
/// inode, and no other inode has one of those.
fn changed_inodes(
    old: &Tree,
    new: &Tree,
    before: &[Option<NodeId>],
    same: &mut impl FnMut(ContentId, ContentId) -> bool,
) -> Vec<bool> {
    let mut changed = vec![false; new.inode_count()];
    let mut was: Vec<Option<InodeId>> = vec![None; new.inode_count()];
    let mut became: Vec<Option<InodeId>> = vec![None; old.inode_count()];
    for node in new.walk().filter(|node| !is_directory(new, *node)) {
        let id = new.inode_id(node);
        let Some(namesake) = before[node.index()].map(|node| old.inode_id(node)) else {
            changed[id.index()] = true;
            continue;
        };
        match became[namesake.index()] {
            Some(other) if other != id => {
                changed[other.index()] = true;
                changed[id.index()] = true;
            }
            _ => became[namesake.index()] = Some(id),
        }
        match was[id.index()] {
            Some(other) if other != namesake => changed[id.index()] = true,
            Some(_) => {}
            None => {
                was[id.index()] = Some(namesake);
                if !is_same(old, namesake, new, id, same) {
                    changed[id.index()] = true;
                }
            }
        }
    }
    changed
}

fn has_same_metadata(old: &Tree, was: InodeId, new: &Tree, is: InodeId) -> bool {
    let (was, is) = (old.inode(was), new.inode(is));
    (was.mode, was.uid, was.gid, was.mtime) == (is.mode, is.uid, is.gid, is.mtime)
        && old.xattrs(was.xattrs) == new.xattrs(is.xattrs)
}

fn is_same(
    old: &Tree,
    was: InodeId,
    new: &Tree,
    is: InodeId,
    same: &mut impl FnMut(ContentId, ContentId) -> bool,
) -> bool {
    has_same_metadata(old, was, new, is)
        && match (old.inode(was).kind, new.inode(is).kind) {
            (
                InodeKind::File { size, content },
                InodeKind::File {
                    size: new_size,
                    content: new_content,
                },
            ) => {
                size == new_size
                    && match (content, new_content) {
                        (Some(content), Some(new_content)) => same(content, new_content),
                        _ => size == 0,
                    }
            }
            (was, is) => was == is,
        }
}
