//! From the filesystems without and with the layer.

use std::sync::Arc;

use super::alone::{set_mark, whiteout};
use super::{OPAQUE_VALUE, OPAQUE_XATTR, ORIGIN_XATTR, OverlayError, escape};
use crate::builder::Builder;
use crate::inode::{Payload, Record};
use crate::{
    ContentId, DEFAULT_NAME_LIMIT, InodeId, InodeKind, MergeError, NodeId, Timestamp, Tree,
    XattrSetId,
};

/// Nothing of this layer.
const SAME: u8 = 0;
/// On the way to something of this layer.
const WAY: u8 = 1;
/// Of this layer.
const CHANGED: u8 = 2;

/// The overlay layer that turns the filesystem `before` into `after`: what is new or different in `after`, with the
/// directories on the way to it, and a whiteout for each name that is gone. All names of a file with several come
/// along when one of them does, so that they stay one file.
///
/// `content` says what the target calls the data of a file, whose size it gets too. Two files count as the same only if
/// they have the same [`ContentId`] in both trees.
///
/// # Errors
/// [`OverlayError`], and what `content` fails with.
pub fn difference<E: From<OverlayError>>(
    before: &Tree,
    after: &Tree,
    mut content: impl FnMut(ContentId, u64) -> Result<ContentId, E>,
) -> Result<Tree, E> {
    let old = counterparts(before, after);
    let state = judge(before, after, &old);
    let mut build = Build {
        after,
        tree: Builder::new(Timestamp::default(), DEFAULT_NAME_LIMIT),
        inodes: vec![None; after.inode_count()],
        xattrs: vec![None; after.xattr_set_count()],
    };
    let mut places: Vec<Option<NodeId>> = vec![None; after.len()];
    for node in after.walk() {
        if state[node.index()] == SAME && node != NodeId::ROOT {
            continue;
        }
        let place = if node == NodeId::ROOT {
            let record = build.record(node, &mut content)?;
            build.tree.replace_record(NodeId::ROOT, record);
            NodeId::ROOT
        } else {
            let Some(parent) = places[after.parent(node).index()] else {
                continue;
            };
            build.add(parent, node, &mut content)?
        };
        places[node.index()] = Some(place);
        if let Some(below) = old[node.index()] {
            build.remove(before, below, node, place)?;
        }
    }
    Ok(build.tree.finish())
}

/// For each directory of `after` that is one in `before` too, that one; for other names, what had the name.
fn counterparts(before: &Tree, after: &Tree) -> Vec<Option<NodeId>> {
    let mut old = vec![None; after.len()];
    old[NodeId::ROOT.index()] = Some(NodeId::ROOT);
    for node in after.walk() {
        let Some(below) = old[node.index()] else {
            continue;
        };
        if !is_directory(after, node) || !is_directory(before, below) {
            continue;
        }
        // Both are sorted by name.
        let mut candidates = before.children(below).peekable();
        for child in after.children(node) {
            let name = after.name(child);
            while candidates.next_if(|&c| before.name(c) < name).is_some() {}
            old[child.index()] = candidates.next_if(|&c| before.name(c) == name);
        }
    }
    old
}

fn is_directory(tree: &Tree, node: NodeId) -> bool {
    matches!(tree.node_inode(node).kind, InodeKind::Directory)
}

/// What each name of `after` is to the layer.
fn judge(before: &Tree, after: &Tree, old: &[Option<NodeId>]) -> Vec<u8> {
    // Names of one file must have been names of one file, and of no other.
    let mut inode_before: Vec<Option<InodeId>> = vec![None; after.inode_count()];
    let mut inode_after: Vec<Option<InodeId>> = vec![None; before.inode_count()];
    let mut inode_changed = vec![false; after.inode_count()];
    for node in after.walk() {
        let id = after.inode_id(node);
        let same = old[node.index()].is_some_and(|below| {
            let was = before.inode_id(below);
            is_same(before, below, after, node)
                && *inode_before[id.index()].get_or_insert(was) == was
                && *inode_after[was.index()].get_or_insert(id) == id
        });
        inode_changed[id.index()] |= !same;
    }
    let mut state = vec![SAME; after.len()];
    // Deepest first: nodes are numbered breadth first.
    let nodes: Vec<NodeId> = after.walk().collect();
    let mut by_depth = nodes;
    by_depth.sort_unstable_by(|a, b| b.cmp(a));
    for node in by_depth {
        if inode_changed[after.inode_id(node).index()] {
            state[node.index()] = CHANGED;
        } else if state[node.index()] == SAME
            && let Some(below) = old[node.index()]
            && is_directory(after, node)
            && before.children(below).len() > kept(old, after, node)
        {
            state[node.index()] = WAY;
        }
        let parent = after.parent(node);
        if state[node.index()] != SAME && state[parent.index()] == SAME {
            state[parent.index()] = WAY;
        }
    }
    state
}

/// How many names of a directory were there before.
fn kept(old: &[Option<NodeId>], after: &Tree, directory: NodeId) -> usize {
    after
        .children(directory)
        .filter(|c| old[c.index()].is_some())
        .count()
}

/// Whether two names mean inodes nobody could tell apart.
fn is_same(before: &Tree, below: NodeId, after: &Tree, node: NodeId) -> bool {
    let (was, is) = (before.node_inode(below), after.node_inode(node));
    let links = matches!(is.kind, InodeKind::Directory) || is.nlink <= was.nlink;
    links
        && (was.mode, was.uid, was.gid, was.mtime) == (is.mode, is.uid, is.gid, is.mtime)
        && was.kind == is.kind
        && before.xattrs(was.xattrs) == after.xattrs(is.xattrs)
}

/// The layer being made.
struct Build<'a> {
    after: &'a Tree,
    tree: Builder,
    /// The layer's numbers of the inodes of `after` it has.
    inodes: Vec<Option<InodeId>>,
    /// The layer's numbers of attribute sets.
    xattrs: Vec<Option<XattrSetId>>,
}

impl Build<'_> {
    fn add<E: From<OverlayError>>(
        &mut self,
        parent: NodeId,
        node: NodeId,
        content: &mut impl FnMut(ContentId, u64) -> Result<ContentId, E>,
    ) -> Result<NodeId, E> {
        let id = self.after.inode_id(node);
        let inode = match self.inodes[id.index()] {
            Some(inode) => inode,
            None => {
                let record = self.record(node, content)?;
                let inode = self.tree.add_inode(record).map_err(|_| full())?;
                self.inodes[id.index()] = Some(inode);
                inode
            }
        };
        Ok(self.insert(parent, self.after.name(node), inode)?)
    }

    fn insert(
        &mut self,
        parent: NodeId,
        name: &[u8],
        inode: InodeId,
    ) -> Result<NodeId, OverlayError> {
        let slot = self.tree.slot(parent, name);
        self.tree
            .insert(parent, name, slot, inode)
            .map_err(|_| full())
    }

    fn record<E: From<OverlayError>>(
        &mut self,
        node: NodeId,
        content: &mut impl FnMut(ContentId, u64) -> Result<ContentId, E>,
    ) -> Result<Record, E> {
        let inode = self.after.node_inode(node);
        let payload = match inode.kind {
            InodeKind::File { size, content: id } => Payload::File {
                size,
                content: id.map(|id| content(id, size)).transpose()?,
            },
            InodeKind::Directory => Payload::Directory,
            InodeKind::Symlink { target } => self.tree.add_target(target).map_err(|_| full())?,
            InodeKind::CharDevice(device) => {
                if device == crate::Device::default() {
                    let path = self.after.path(node);
                    return Err(OverlayError::WhiteoutDevice { path }.into());
                }
                Payload::CharDevice(device)
            }
            InodeKind::BlockDevice(device) => Payload::BlockDevice(device),
            InodeKind::Fifo => Payload::Fifo,
            InodeKind::Socket => Payload::Socket,
        };
        let xattrs = match self.xattrs[inode.xattrs.index()] {
            Some(id) => id,
            None => {
                let set = self.after.xattrs(inode.xattrs);
                let set = Arc::new(escape(set)?.unwrap_or_else(|| set.clone()));
                let id = self.tree.intern(&set);
                self.xattrs[inode.xattrs.index()] = Some(id);
                id
            }
        };
        Ok(Record::new(
            payload,
            inode.mode,
            inode.uid,
            inode.gid,
            inode.mtime,
            xattrs,
        ))
    }

    /// Whiteouts for what a directory no longer has.
    fn remove(
        &mut self,
        before: &Tree,
        below: NodeId,
        node: NodeId,
        place: NodeId,
    ) -> Result<(), OverlayError> {
        if !is_directory(self.after, node) || !is_directory(before, below) {
            return Ok(());
        }
        let gone: Vec<NodeId> = before
            .children(below)
            .filter(|&c| self.after.child(node, before.name(c)).is_none())
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        // Nothing of it is left. (The root cannot be opaque: overlayfs looks names up in the roots of all layers.)
        if gone.len() == before.children(below).len() && node != NodeId::ROOT {
            set_mark(&mut self.tree, place, OPAQUE_XATTR, OPAQUE_VALUE);
            return Ok(());
        }
        for name in gone {
            let inode = self.tree.add_inode(whiteout()).map_err(|_| full())?;
            self.insert(place, before.name(name), inode)?;
        }
        set_mark(&mut self.tree, place, ORIGIN_XATTR, b"");
        Ok(())
    }
}

fn full() -> OverlayError {
    MergeError::Full.into()
}
