//! The merged filesystem, finished: what targets write.

use crate::inode::Record;
use crate::path::components;
use crate::xattr_table::XattrTable;
use crate::{
    Entry, EntryKind, Inode, InodeId, InodeKind, Metadata, PathError, Timestamp, TreePath,
    XattrSetId, Xattrs,
};

/// Index of a name (a directory entry, or the root) in its [`Tree`]; the root is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// The root directory.
    pub const ROOT: Self = Self(0);

    /// The dense index, for side tables of a target.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One name. Children of a directory are consecutive nodes, sorted by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) name: u32,
    pub(crate) parent: NodeId,
    pub(crate) inode: InodeId,
    pub(crate) first_child: u32,
    pub(crate) children: u32,
    pub(crate) name_length: u8,
}

const _: () = assert!(size_of::<Node>() == 24);

/// A complete filesystem: names, inodes and attributes, without the data of files.
///
/// Made by a [`Merge`](crate::Merge). Nodes are numbered breadth first, siblings sorted bytewise by name;
/// inodes are numbered in the order their first names have. The same image always gives the same numbers.
#[derive(Debug)]
pub struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) inodes: Vec<Record>,
    pub(crate) names: Vec<u8>,
    pub(crate) targets: Vec<u8>,
    pub(crate) xattrs: XattrTable,
}

/// Symbolic links followed in one resolution before it counts as a loop (`MAXSYMLINKS` of Linux).
pub const SYMLINK_MAX: usize = 40;

impl Tree {
    /// Number of names, the root included.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "the root always exists")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Number of inodes.
    #[must_use]
    pub fn inode_count(&self) -> usize {
        self.inodes.len()
    }

    /// Number of distinct attribute sets, the empty one included.
    #[must_use]
    pub fn xattr_set_count(&self) -> usize {
        self.xattrs.len()
    }

    /// The name of a node; empty for the root.
    #[must_use]
    pub fn name(&self, node: NodeId) -> &[u8] {
        let n = &self.nodes[node.index()];
        &self.names[n.name as usize..][..usize::from(n.name_length)]
    }

    /// The directory a node is in; the root's parent is the root.
    #[must_use]
    pub fn parent(&self, node: NodeId) -> NodeId {
        self.nodes[node.index()].parent
    }

    /// The inode a name points to.
    #[must_use]
    pub fn inode_id(&self, node: NodeId) -> InodeId {
        self.nodes[node.index()].inode
    }

    /// A view of an inode.
    #[must_use]
    pub fn inode(&self, id: InodeId) -> Inode<'_> {
        self.inodes[id.index()].view(&self.targets)
    }

    /// A view of the inode a name points to.
    #[must_use]
    pub fn node_inode(&self, node: NodeId) -> Inode<'_> {
        self.inode(self.inode_id(node))
    }

    /// Returns the metadata of the inode a name points to.
    #[must_use]
    pub fn metadata(&self, node: NodeId) -> Metadata {
        let inode = self.node_inode(node);
        Metadata {
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            xattrs: self.xattrs(inode.xattrs).clone(),
        }
    }

    /// Returns a name as the entry of a layer: a hard link to the first name of the same inode, if that is another one. Where
    /// the holes of a file are, it does not know.
    ///
    /// # Errors
    /// [`PathError`] for a path that layers cannot have.
    pub fn entry(&self, node: NodeId, first: Option<NodeId>) -> Result<Entry, PathError> {
        let path = |node| TreePath::clean(&self.path(node));
        let kind = match (first, self.node_inode(node).kind) {
            (Some(first), _) => EntryKind::HardLink {
                target: path(first)?,
            },
            (None, InodeKind::File { size, .. }) => EntryKind::File {
                size,
                segments: None,
            },
            (None, InodeKind::Directory) => EntryKind::Directory,
            (None, InodeKind::Symlink { target }) => EntryKind::Symlink {
                target: target.to_vec(),
            },
            (None, InodeKind::CharDevice(device)) => EntryKind::CharDevice(device),
            (None, InodeKind::BlockDevice(device)) => EntryKind::BlockDevice(device),
            (None, InodeKind::Fifo) => EntryKind::Fifo,
            (None, InodeKind::Socket) => EntryKind::Socket,
        };
        Ok(Entry {
            path: path(node)?,
            metadata: self.metadata(node),
            kind,
        })
    }

    /// Returns the inode of a dense index.
    #[must_use]
    pub fn inode_at(&self, index: usize) -> Option<InodeId> {
        let id = u32::try_from(index).ok()?;
        (index < self.inode_count()).then_some(InodeId(id))
    }

    /// All inode numbers.
    pub fn inode_ids(&self) -> impl ExactSizeIterator<Item = InodeId> + use<> {
        (0..self.inodes.len() as u32).map(InodeId)
    }

    /// A set of extended attributes.
    #[must_use]
    pub fn xattrs(&self, id: XattrSetId) -> &Xattrs {
        self.xattrs.get(id)
    }

    /// Replaces the sets of extended attributes that `map` has something else for: each is asked for once, whatever number of
    /// inodes has it.
    pub fn map_xattrs(&mut self, mut map: impl FnMut(XattrSetId, &Xattrs) -> Option<Xattrs>) {
        let mapped = self
            .xattrs
            .mapped::<std::convert::Infallible>(|id, set| Ok(map(id, set)));
        if let Ok(Some((mapped, places))) = mapped {
            for inode in &mut self.inodes {
                inode.xattrs = places[inode.xattrs.index()];
            }
            self.xattrs = mapped;
        }
    }

    /// Replaces all modification times, such as by those a filesystem can hold.
    pub fn map_times(&mut self, map: impl Fn(Timestamp) -> Timestamp) {
        for inode in &mut self.inodes {
            let time = map(inode.mtime());
            (inode.seconds, inode.nanoseconds) = (time.seconds, time.nanoseconds);
        }
    }

    /// The entries of a directory, sorted bytewise by name; none for anything else.
    pub fn children(
        &self,
        node: NodeId,
    ) -> impl ExactSizeIterator<Item = NodeId> + DoubleEndedIterator + use<> {
        let n = &self.nodes[node.index()];
        (n.first_child..n.first_child + n.children).map(NodeId)
    }

    /// The entry of that name in a directory.
    #[must_use]
    pub fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        let n = &self.nodes[directory.index()];
        let range = &self.nodes[n.first_child as usize..][..n.children as usize];
        let at = range
            .binary_search_by(|c| {
                self.names[c.name as usize..][..usize::from(c.name_length)].cmp(name)
            })
            .ok()?;
        Some(NodeId(n.first_child + at as u32))
    }

    /// All nodes depth first, every directory before what is in it, siblings sorted by name.
    pub fn walk(&self) -> impl Iterator<Item = NodeId> {
        self.walk_from(NodeId::ROOT)
    }

    /// Like [`walk`](Self::walk) for the subtree of `top`.
    pub fn walk_from(&self, top: NodeId) -> impl Iterator<Item = NodeId> {
        let mut stack = vec![top];
        std::iter::from_fn(move || {
            let node = stack.pop()?;
            stack.extend(self.children(node).rev());
            Some(node)
        })
    }

    /// The path of a node: components joined by slashes, empty for the root.
    #[must_use]
    pub fn path(&self, node: NodeId) -> Vec<u8> {
        let mut chain = Vec::new();
        let mut at = node;
        while at != NodeId::ROOT {
            chain.push(self.name(at));
            at = self.parent(at);
        }
        chain.reverse();
        chain.join(&b'/')
    }

    /// The node at a path, symbolic links not followed.
    #[must_use]
    pub fn lookup(&self, path: &TreePath) -> Option<NodeId> {
        path.components()
            .try_fold(NodeId::ROOT, |at, name| self.child(at, name))
    }

    /// The node a path leads to when symbolic links (the last component's too) are followed inside the root.
    /// `None` when something is missing or the links loop.
    #[must_use]
    pub fn resolve(&self, path: &[u8]) -> Option<NodeId> {
        let mut todo: Vec<&[u8]> = components(path).collect();
        todo.reverse();
        let mut at = NodeId::ROOT;
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match name {
                b"." => continue,
                b".." => {
                    at = self.parent(at);
                    continue;
                }
                _ => {}
            }
            let child = self.child(at, name)?;
            let InodeKind::Symlink { target } = self.node_inode(child).kind else {
                at = child;
                continue;
            };
            links += 1;
            if links > SYMLINK_MAX {
                return None;
            }
            if target.starts_with(b"/") {
                at = NodeId::ROOT;
            }
            let from = todo.len();
            todo.extend(components(target));
            todo[from..].reverse();
        }
        Some(at)
    }
}
