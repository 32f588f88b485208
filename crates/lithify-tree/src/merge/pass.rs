//! The second step of applying a layer: what it adds.

use std::collections::HashMap;

use lithify_cancel::CancelToken;

use super::links::PendingLink;
use super::walk::{Place, Walk};
use super::{LayerReport, MergeError};
use crate::builder::{Builder, InsertError, Removed, Slot};
use crate::entry::AUFS_LINKS;
use crate::inode::{Payload, Record, Type};
use crate::layer::{Kind, Stored};
use crate::path::{components, split_last};
use crate::{
    ContentId, InodeId, LayerEntries, NAME_MAX, NodeId, PATH_MAX, Timestamp, WHITEOUT_PREFIX,
    XattrSetId,
};

/// A directory of a lower layer that this layer has an entry for.
const DESCRIBED: u8 = 1;
/// A directory of a lower layer that this layer needed before it had an entry for it.
const BORROWED: u8 = 2;

/// The application of one layer.
pub(super) struct Pass<'t, 'l> {
    pub(super) tree: &'t mut Builder,
    pub(super) layer: &'l LayerEntries,
    implicit_mtime: Timestamp,
    /// Added to the number of each content of the layer.
    pub(super) first_content: u32,
    pub(super) report: LayerReport,
    /// Inodes from this one on are of this layer: those before came from below.
    pub(super) first_inode: usize,
    /// [`DESCRIBED`] and [`BORROWED`], by node, for the nodes of lower layers.
    marks: Vec<u8>,
    /// What this layer's markers removed: a hard link may still mean it, whichever of the two the tar has first.
    pub(super) removed: Removed,
    /// Hard links whose target has not been seen; their names point to a placeholder until the layer's end.
    pub(super) pending: Vec<PendingLink>,
    /// Directory path of the last entry and where it led.
    cached: Option<NodeId>,
    cached_path: Vec<u8>,
    /// Whether an entry took the place of a directory, so that some names are no longer reachable.
    pub(super) replaced_directory: bool,
    /// Names that became directories after they had been something else of this layer; may have changed again since.
    pub(super) recreated: Vec<NodeId>,
    /// Files without names of their own, by where AUFS kept them: see [`Convention::AufsFile`](crate::Convention).
    aufs_files: HashMap<Vec<u8>, InodeId>,
    /// The tree's numbers of this layer's attribute sets.
    xattr_ids: Vec<Option<XattrSetId>>,
    cancel: &'t CancelToken,
}

pub(super) fn type_name(kind: Type) -> &'static str {
    match kind {
        Type::File => "regular file",
        Type::Directory => "directory",
        Type::Symlink => "symbolic link",
        Type::CharDevice => "character device",
        Type::BlockDevice => "block device",
        Type::Fifo => "named pipe",
        Type::Socket => "socket",
        Type::PendingLink => "hard link",
    }
}

impl<'t, 'l> Pass<'t, 'l> {
    pub(super) fn new(
        tree: &'t mut Builder,
        layer: &'l LayerEntries,
        implicit_mtime: Timestamp,
        cancel: &'t CancelToken,
    ) -> Self {
        Self {
            first_inode: tree.inode_count(),
            marks: vec![0; tree.node_count()],
            tree,
            layer,
            implicit_mtime,
            first_content: 0,
            report: LayerReport::default(),
            removed: Removed::default(),
            pending: Vec::new(),
            cached: None,
            cached_path: Vec::new(),
            replaced_directory: false,
            recreated: Vec::new(),
            aufs_files: HashMap::new(),
            xattr_ids: vec![None; layer.xattr_set_count()],
            cancel,
        }
    }

    pub(super) fn add_entries(&mut self) -> Result<(), MergeError> {
        self.tree
            .expect_names(self.layer.len() - self.layer.markers());
        if self.layer.has_aufs_files() {
            self.keep_aufs_files()?;
        }
        let mut entries = self.layer.cursor();
        while let Some(entry) = entries.next() {
            self.cancel.check()?;
            if !entry.kind.is_marker() && !is_aufs_file(entry.path) {
                self.add(&entry)?;
                self.check_memory(entry.path)?;
            }
        }
        Ok(())
    }

    fn check_memory(&self, path: &[u8]) -> Result<(), MergeError> {
        let (found, limit) = (self.tree.memory(), self.tree.memory_limit());
        match found <= limit {
            true => Ok(()),
            false => Err(MergeError::TooMuchMemory {
                path: path.to_vec(),
                found,
                limit,
            }),
        }
    }

    /// Makes inodes of the files that only hard links name, wherever the layer has them; the last of one name counts.
    fn keep_aufs_files(&mut self) -> Result<(), MergeError> {
        let mut entries = self.layer.cursor();
        while let Some(entry) = entries.next() {
            if entry.kind != Kind::File || !is_aufs_file(entry.path) {
                continue;
            }
            let payload = self.file(&entry)?;
            let record = self.record(payload, &entry);
            let inode = self.tree.add_inode(record).map_err(self.full(entry.path))?;
            self.aufs_files.insert(entry.path.to_vec(), inode);
        }
        Ok(())
    }

    fn file(&self, entry: &Stored<'_>) -> Result<Payload, MergeError> {
        let content = entry.content.map(|id| self.content(id)).transpose()?;
        let size = entry.size;
        Ok(Payload::File { size, content })
    }

    /// The file without a name of its own that a hard link leads to.
    pub(super) fn aufs_file(&self, target: &[u8]) -> Option<InodeId> {
        self.aufs_files.get(target).copied()
    }

    fn add(&mut self, entry: &Stored<'_>) -> Result<(), MergeError> {
        let Some((directory, name)) = split_last(entry.path) else {
            return self.describe_root(entry);
        };
        if name.starts_with(WHITEOUT_PREFIX) {
            let path = entry.path.to_vec();
            return Err(MergeError::ReservedName { path });
        }
        let parent = self.directory(directory, entry.path)?;
        let slot = self.tree.slot(parent, name);
        let payload = match entry.kind {
            Kind::File => self.file(entry)?,
            Kind::Directory => Payload::Directory,
            Kind::Symlink => self.symlink(entry)?,
            Kind::CharDevice => Payload::CharDevice(entry.device),
            Kind::BlockDevice => Payload::BlockDevice(entry.device),
            Kind::Fifo => Payload::Fifo,
            Kind::Socket => Payload::Socket,
            Kind::HardLink => return self.link(parent, name, slot, entry),
            Kind::Whiteout | Kind::Opaque => return Ok(()),
        };
        let record = self.record(payload, entry);
        match slot.node {
            // Directory over directory merges; the later description counts.
            Some(node)
                if entry.kind == Kind::Directory && self.tree.kind(node) == Type::Directory =>
            {
                self.describe(node);
                self.tree.replace_record(node, record);
            }
            _ => {
                let was = slot.node.map(|n| self.tree.inode_id(n).index());
                let inode = self.tree.add_inode(record).map_err(self.full(entry.path))?;
                let node = self.place(parent, name, slot, inode, entry.path)?;
                if entry.kind == Kind::Directory && was.is_some_and(|i| i >= self.first_inode) {
                    self.recreated.push(node);
                }
            }
        }
        Ok(())
    }

    fn content(&self, id: ContentId) -> Result<ContentId, MergeError> {
        let number = id.0.checked_add(self.first_content);
        // The highest number stands for none.
        number
            .filter(|&n| n != u32::MAX)
            .map(ContentId)
            .ok_or(MergeError::Full)
    }

    fn describe_root(&mut self, entry: &Stored<'_>) -> Result<(), MergeError> {
        let kind = match entry.kind {
            Kind::Directory => {
                let record = self.record(Payload::Directory, entry);
                self.tree.replace_record(NodeId::ROOT, record);
                self.report.describes_root = true;
                return Ok(());
            }
            Kind::File => "regular file",
            Kind::Symlink => "symbolic link",
            Kind::HardLink => "hard link",
            Kind::CharDevice | Kind::BlockDevice => "device",
            Kind::Fifo => "named pipe",
            Kind::Socket => "socket",
            Kind::Whiteout | Kind::Opaque => return Ok(()),
        };
        Err(MergeError::RootNotDirectory { kind })
    }

    fn symlink(&mut self, entry: &Stored<'_>) -> Result<Payload, MergeError> {
        let target = entry.target;
        if target.is_empty() || target.len() >= PATH_MAX || target.contains(&0) {
            return Err(MergeError::SymlinkTarget {
                path: entry.path.to_vec(),
                length: target.len(),
            });
        }
        self.tree.add_target(target).map_err(self.full(entry.path))
    }

    fn record(&mut self, payload: Payload, entry: &Stored<'_>) -> Record {
        let (tree, layer) = (&mut *self.tree, self.layer);
        let xattrs = *self.xattr_ids[entry.xattrs.index()]
            .get_or_insert_with(|| tree.intern(layer.xattrs(entry.xattrs)));
        Record::new(
            payload,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime,
            xattrs,
        )
    }

    /// Gives a name an inode, in place of whatever the name meant before.
    pub(super) fn place(
        &mut self,
        parent: NodeId,
        name: &[u8],
        slot: Slot,
        inode: InodeId,
        path: &[u8],
    ) -> Result<NodeId, MergeError> {
        if let Some(node) = slot.node {
            let was = self.tree.kind(node);
            if matches!(was, Type::Directory | Type::Symlink) {
                self.cached = None;
            }
            if was != Type::Directory {
                self.tree.set_inode(node, inode);
                return Ok(node);
            }
            self.tree.detach(node);
            self.replaced_directory = true;
        }
        let full = self.full(path);
        self.tree.insert(parent, name, slot, inode).map_err(full)
    }

    /// Turns a refusal of the tree into the entry's error.
    pub(super) fn full<'p>(
        &self,
        path: &'p [u8],
    ) -> impl FnOnce(InsertError) -> MergeError + use<'p> {
        let (names, limit) = (self.tree.node_count(), self.tree.name_limit());
        move |error| match error {
            InsertError::TooLong(length) => MergeError::PathTooLong {
                path: path.to_vec(),
                length,
            },
            InsertError::Full if names > limit as usize => MergeError::TooManyNames {
                path: path.to_vec(),
                limit,
            },
            InsertError::Full => MergeError::Full,
        }
    }

    /// The directory an entry goes into, created where it is missing.
    fn directory(&mut self, directory: &[u8], path: &[u8]) -> Result<NodeId, MergeError> {
        if let Some(node) = self.cached
            && self.cached_path == directory
        {
            return Ok(node);
        }
        let mut borrowed = 0;
        let mut walk = Walk::new(self.tree, self.first_inode);
        let place = walk.find_directory(directory, |node| {
            let marks = &mut self.marks;
            borrowed += u64::from(borrow(self.tree, marks, self.first_inode, node));
        });
        let Walk {
            foreign_links,
            climbs,
            ..
        } = walk;
        self.report.borrowed_directories += borrowed;
        self.report.followed_symlinks += foreign_links + climbs;
        let node = match place {
            Place::Directory(node) => node,
            Place::Missing { above, names } => {
                let mut at = above;
                for name in components(&names) {
                    at = self.create_implicit(at, name, path)?;
                }
                at
            }
            Place::Blocked { component, kind } => {
                return Err(MergeError::ParentNotDirectory {
                    path: path.to_vec(),
                    component,
                    kind: type_name(kind),
                });
            }
            Place::Loop => {
                return Err(MergeError::SymlinkLoop {
                    path: path.to_vec(),
                });
            }
        };
        // Where the way leads changes when a directory or a symbolic link on it is replaced, see `place`; and, if it
        // climbed out of something that does not exist, when that comes to exist (GHSA-3wgq-wrwc-vqmv: memoised
        // prefixes that have changed since).
        self.cached = (climbs == 0).then_some(node);
        self.cached_path.clear();
        self.cached_path.extend_from_slice(directory);
        Ok(node)
    }

    fn create_implicit(
        &mut self,
        parent: NodeId,
        name: &[u8],
        path: &[u8],
    ) -> Result<NodeId, MergeError> {
        if name.len() > NAME_MAX || name.starts_with(WHITEOUT_PREFIX) {
            return Err(MergeError::ImpossibleDirectory {
                path: path.to_vec(),
                component: name.to_vec(),
            });
        }
        let record = Record::new(
            Payload::Directory,
            0o755,
            0,
            0,
            self.implicit_mtime,
            XattrSetId::EMPTY,
        );
        let inode = self.tree.add_inode(record).map_err(self.full(path))?;
        self.report.implicit_directories += 1;
        let slot = self.tree.slot(parent, name);
        let full = self.full(path);
        self.tree.insert(parent, name, slot, inode).map_err(full)
    }

    /// Notes that this layer has an entry for a directory.
    fn describe(&mut self, node: NodeId) {
        if let Some(mark) = self.marks.get_mut(node.index()) {
            *mark |= DESCRIBED;
        }
    }

    /// Notes that this layer needs a directory, for a marker.
    pub(super) fn borrow(&mut self, node: NodeId) {
        let borrowed = borrow(self.tree, &mut self.marks, self.first_inode, node);
        self.report.borrowed_directories += u64::from(borrowed);
    }
}

/// Whether a path is where AUFS kept files that have several names.
fn is_aufs_file(path: &[u8]) -> bool {
    path.strip_prefix(AUFS_LINKS)
        .is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Marks a directory as needed; says whether it is of a lower layer, not described by this one, and not marked yet.
fn borrow(tree: &Builder, marks: &mut [u8], first_inode: usize, node: NodeId) -> bool {
    if node == NodeId::ROOT || tree.inode_id(node).index() >= first_inode {
        return false;
    }
    let Some(mark) = marks.get_mut(node.index()) else {
        return false;
    };
    let is_news = *mark & (DESCRIBED | BORROWED) == 0;
    *mark |= BORROWED;
    is_news
}
