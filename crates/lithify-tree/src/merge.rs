//! Applying layers in order, by the rules of image-spec `layer.md`.
//!
//! A layer is applied in two steps. First everything it removes: whiteouts and opaque markers act on what lower
//! layers left, wherever in the tar they stand. Then everything it adds, in tar order. So a marker never removes
//! something of its own layer, which is what "hides lower layers only" means.

use std::collections::{HashMap, HashSet};

use crate::builder::{Builder, Full};
use crate::inode::{Payload, Record, Type};
use crate::layer::{Kind, Stored};
use crate::path::{components, split_last};
use crate::{
    Escaped, InodeId, LayerEntries, NodeId, PATH_MAX, SYMLINK_MAX, Timestamp, Tree, XattrSetId,
};

/// Why a layer cannot be applied. Paths are shown escaped.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// The root can only be a directory (CVE-2021-29136: a symbolic link as root).
    #[error("the root directory's own entry is a {kind}, it can only be a directory")]
    RootNotDirectory {
        /// What it is.
        kind: &'static str,
    },
    /// An entry lies below something that is not a directory.
    #[error("`/{}` lies below `{}`, which is a {kind}", Escaped(.path), Escaped(.component))]
    ParentNotDirectory {
        /// The entry.
        path: Vec<u8>,
        /// The component that is in the way.
        component: Vec<u8>,
        /// What the component is.
        kind: &'static str,
    },
    /// Resolving an entry's directory took more than [`SYMLINK_MAX`] symbolic links, or a path over [`PATH_MAX`].
    #[error("the directory of `/{}` lies behind more than {SYMLINK_MAX} symbolic links", Escaped(.path))]
    SymlinkLoop {
        /// The entry.
        path: Vec<u8>,
    },
    /// The target of a hard link exists neither in this layer nor below.
    #[error("`/{}` is a hard link to `/{}`, which does not exist in this layer or a lower one", Escaped(.path), Escaped(.target))]
    LinkTargetMissing {
        /// The link.
        path: Vec<u8>,
        /// Its target.
        target: Vec<u8>,
    },
    /// Directories cannot have a second name.
    #[error("`/{}` is a hard link to the directory `/{}`", Escaped(.path), Escaped(.target))]
    LinkTargetIsDirectory {
        /// The link.
        path: Vec<u8>,
        /// Its target.
        target: Vec<u8>,
    },
    /// More than 2³² names, or 4 GiB of name bytes.
    #[error("the image has more names than 32-bit numbers can count")]
    Full,
}

impl From<Full> for MergeError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// What applying one layer found out about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerReport {
    /// Names or directories the layer removed from those below.
    pub removed: u64,
    /// Directories created because an entry needed them and no layer describes them.
    pub implicit_directories: u64,
    /// Directories with entries of this layer in or below them that only lower layers describe.
    pub borrowed_directories: u64,
    /// Times the way to an entry's directory went through a symbolic link.
    pub followed_symlinks: u64,
    /// Hard links whose target a lower layer brought.
    pub links_to_lower: u64,
}

impl LayerReport {
    /// Whether the layer means the same whatever lies below it.
    #[must_use]
    pub fn is_self_contained(&self) -> bool {
        *self
            == Self {
                removed: self.removed,
                ..Self::default()
            }
    }
}

/// Layers being applied, bottom first.
#[derive(Debug)]
pub struct Merge {
    tree: Builder,
    implicit_mtime: Timestamp,
}

impl Default for Merge {
    fn default() -> Self {
        Self::new()
    }
}

impl Merge {
    /// An empty root directory. Directories nobody describes get the time 1970-01-01.
    #[must_use]
    pub fn new() -> Self {
        Self::with_implicit_mtime(Timestamp::default())
    }

    /// Like [`new`](Self::new), with another time for directories nobody describes.
    #[must_use]
    pub fn with_implicit_mtime(implicit_mtime: Timestamp) -> Self {
        Self {
            tree: Builder::new(implicit_mtime),
            implicit_mtime,
        }
    }

    /// Applies the next layer.
    ///
    /// # Errors
    /// [`MergeError`]; the merge must not be used further then.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a layer is applied once; its memory goes with it"
    )]
    pub fn apply(&mut self, layer: LayerEntries) -> Result<LayerReport, MergeError> {
        let mut pass = Pass {
            first_inode: self.tree.inode_count(),
            first_node: self.tree.node_count(),
            described: HashSet::new(),
            borrowed: HashSet::new(),
            tree: &mut self.tree,
            implicit_mtime: self.implicit_mtime,
            report: LayerReport::default(),
            hidden: HashMap::new(),
            pending: Vec::new(),
            cached: None,
        };
        for entry in layer.iter() {
            pass.remove(&entry)?;
        }
        for entry in layer.iter() {
            pass.add(entry)?;
        }
        pass.link_pending()?;
        pass.report.borrowed_directories = pass.borrowed.difference(&pass.described).count() as u64;
        Ok(pass.report)
    }

    /// The filesystem the layers make.
    #[must_use]
    pub fn finish(self) -> Tree {
        self.tree.finish()
    }
}

/// The application of one layer.
struct Pass<'t, 'l> {
    tree: &'t mut Builder,
    implicit_mtime: Timestamp,
    report: LayerReport,
    /// First inode and node of this layer: smaller numbers came from below.
    first_inode: usize,
    first_node: usize,
    /// Directories of lower layers this layer describes again, and those its entries lie in.
    described: HashSet<NodeId>,
    borrowed: HashSet<NodeId>,
    /// What this layer removed, by (parent, name): a hard link may still mean it, whichever of the two the tar has first.
    hidden: HashMap<(NodeId, Box<[u8]>), NodeId>,
    /// Hard links whose target has not been seen; their names point to a placeholder until the layer's end.
    pending: Vec<PendingLink<'l>>,
    /// Directory path of the last entry and where it led; dropped whenever anything on such a way may change.
    cached: Option<(&'l [u8], NodeId)>,
}

struct PendingLink<'l> {
    path: &'l [u8],
    target: &'l [u8],
    node: NodeId,
    placeholder: InodeId,
    /// Being resolved right now: meeting it again is a cycle.
    visiting: bool,
}

/// What to do about a missing directory while walking a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Stop: the path leads nowhere.
    Stop,
    /// Create it.
    Create,
    /// Look among what this layer removed too.
    SearchHidden,
}

fn type_name(kind: Type) -> &'static str {
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

impl<'l> Pass<'_, 'l> {
    /// First step: whiteouts and opaque markers.
    fn remove(&mut self, entry: &Stored<'l>) -> Result<(), MergeError> {
        match entry.kind {
            Kind::Whiteout => {
                let Some((directory, name)) = split_last(entry.path) else {
                    return Ok(());
                };
                let Some(parent) = self.walk(directory, entry.path, Missing::Stop)? else {
                    return Ok(());
                };
                if let Some(node) = self.tree.child(parent, name) {
                    self.tree.detach(node);
                    self.hidden.insert((parent, name.into()), node);
                    self.report.removed += 1;
                }
            }
            Kind::Opaque => {
                let Some(directory) = self.walk(entry.path, entry.path, Missing::Stop)? else {
                    return Ok(());
                };
                for node in self.tree.detach_children(directory) {
                    let name = self.tree.name_of(node);
                    self.hidden.insert((directory, name), node);
                    self.report.removed += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Second step: everything else, in tar order.
    fn add(&mut self, entry: Stored<'l>) -> Result<(), MergeError> {
        if matches!(entry.kind, Kind::Whiteout | Kind::Opaque) {
            return Ok(());
        }
        let Some((directory, name)) = split_last(entry.path) else {
            return self.describe_root(&entry);
        };
        let parent = self.directory(directory, entry.path)?;
        if entry.kind == Kind::HardLink {
            return self.link(parent, name, &entry);
        }
        let existing = self.tree.child(parent, name);
        let payload = match entry.kind {
            Kind::File => Payload::File {
                size: entry.size,
                content: entry.content,
            },
            Kind::Directory => Payload::Directory,
            Kind::Symlink => self.tree.add_target(entry.target)?,
            Kind::CharDevice => Payload::CharDevice(entry.device),
            Kind::BlockDevice => Payload::BlockDevice(entry.device),
            Kind::Fifo => Payload::Fifo,
            Kind::Socket => Payload::Socket,
            Kind::HardLink | Kind::Whiteout | Kind::Opaque => return Ok(()),
        };
        let xattrs = self.tree.intern(entry.xattrs);
        let record = Record::new(
            payload,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime,
            xattrs,
        );
        match existing {
            // Directory over directory merges; the later description counts.
            Some(node)
                if entry.kind == Kind::Directory && self.tree.kind(node) == Type::Directory =>
            {
                if node.index() < self.first_node {
                    self.described.insert(node);
                }
                self.tree.replace_record(node, record);
            }
            _ => {
                let inode = self.tree.add_inode(record)?;
                self.place(parent, name, existing, inode)?;
            }
        }
        Ok(())
    }

    /// Gives a name an inode, in place of whatever the name meant before.
    fn place(
        &mut self,
        parent: NodeId,
        name: &[u8],
        existing: Option<NodeId>,
        inode: InodeId,
    ) -> Result<NodeId, MergeError> {
        if let Some(node) = existing {
            let was = self.tree.kind(node);
            if matches!(was, Type::Directory | Type::Symlink) {
                self.cached = None;
            }
            if was != Type::Directory {
                self.tree.set_inode(node, inode);
                return Ok(node);
            }
            self.tree.detach(node);
        }
        Ok(self.tree.insert(parent, name, inode)?)
    }

    fn describe_root(&mut self, entry: &Stored<'_>) -> Result<(), MergeError> {
        let kind = match entry.kind {
            Kind::Directory => {
                let xattrs = self.tree.intern(entry.xattrs);
                let record = Record::new(
                    Payload::Directory,
                    entry.mode,
                    entry.uid,
                    entry.gid,
                    entry.mtime,
                    xattrs,
                );
                self.tree.replace_record(NodeId::ROOT, record);
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

    fn link(&mut self, parent: NodeId, name: &[u8], entry: &Stored<'l>) -> Result<(), MergeError> {
        let existing = self.tree.child(parent, name);
        let found = self.link_target(entry.target, entry.path, Missing::Stop)?;
        if let Some(target) = found.filter(|&t| self.tree.kind(t) != Type::PendingLink) {
            let inode = self.linkable(target, entry.path, entry.target)?;
            if existing != Some(target) {
                self.place(parent, name, existing, inode)?;
            }
            return Ok(());
        }
        let index = u32::try_from(self.pending.len()).map_err(|_| MergeError::Full)?;
        let record = Record::new(
            Payload::PendingLink { index },
            0,
            0,
            0,
            Timestamp::default(),
            XattrSetId::EMPTY,
        );
        let placeholder = self.tree.add_inode(record)?;
        let node = self.place(parent, name, existing, placeholder)?;
        self.pending.push(PendingLink {
            path: entry.path,
            target: entry.target,
            node,
            placeholder,
            visiting: false,
        });
        Ok(())
    }

    /// The inode a hard link shares, if its target can be shared.
    fn linkable(
        &mut self,
        target: NodeId,
        path: &[u8],
        named: &[u8],
    ) -> Result<InodeId, MergeError> {
        if self.tree.kind(target) == Type::Directory {
            return Err(MergeError::LinkTargetIsDirectory {
                path: path.to_vec(),
                target: named.to_vec(),
            });
        }
        let inode = self.tree.inode_id(target);
        if inode.index() < self.first_inode {
            self.report.links_to_lower += 1;
        }
        Ok(inode)
    }

    /// The node a hard link's target names; its last component is not followed.
    fn link_target(
        &mut self,
        target: &[u8],
        path: &[u8],
        missing: Missing,
    ) -> Result<Option<NodeId>, MergeError> {
        let Some((directory, name)) = split_last(target) else {
            return Ok(Some(NodeId::ROOT));
        };
        let Some(parent) = self.walk(directory, path, missing)? else {
            return Ok(None);
        };
        Ok(self.step(parent, name, missing))
    }

    fn step(&self, parent: NodeId, name: &[u8], missing: Missing) -> Option<NodeId> {
        let child = self.tree.child(parent, name);
        if child.is_none() && missing == Missing::SearchHidden && !self.hidden.is_empty() {
            return self.hidden.get(&(parent, Box::from(name))).copied();
        }
        child
    }

    /// Resolves the links that pointed forward, following chains of them.
    fn link_pending(&mut self) -> Result<(), MergeError> {
        for start in 0..self.pending.len() {
            let mut chain = vec![start];
            while let Some(&at) = chain.last() {
                let PendingLink {
                    path,
                    target,
                    node,
                    placeholder,
                    ..
                } = self.pending[at];
                // Replaced by a later entry, or resolved as part of another chain.
                if self.tree.is_detached(node) || self.tree.inode_id(node) != placeholder {
                    chain.pop();
                    continue;
                }
                let missing = || MergeError::LinkTargetMissing {
                    path: path.to_vec(),
                    target: target.to_vec(),
                };
                let mut found = self.link_target(target, path, Missing::Stop)?;
                if found.is_none() || found == Some(node) {
                    found = self
                        .link_target(target, path, Missing::SearchHidden)?
                        .filter(|&t| t != node);
                }
                let found = found.ok_or_else(missing)?;
                if let Payload::PendingLink { index } = self.tree.record(found).payload() {
                    let next = index as usize;
                    self.pending[at].visiting = true;
                    if self.pending[next].visiting {
                        return Err(missing());
                    }
                    chain.push(next);
                    continue;
                }
                let inode = self.linkable(found, path, target)?;
                self.tree.set_inode(node, inode);
                self.pending[at].visiting = false;
                chain.pop();
            }
        }
        Ok(())
    }

    /// The directory an entry goes into, created where it is missing.
    fn directory(&mut self, directory: &'l [u8], path: &[u8]) -> Result<NodeId, MergeError> {
        if let Some((cached, node)) = self.cached
            && cached == directory
        {
            return Ok(node);
        }
        let Some(node) = self.walk(directory, path, Missing::Create)? else {
            return Err(MergeError::SymlinkLoop {
                path: path.to_vec(),
            });
        };
        self.cached = Some((directory, node));
        Ok(node)
    }

    /// Walks to a directory inside the root, following symbolic links. `None` when it leads nowhere.
    fn walk(
        &mut self,
        directory: &[u8],
        path: &[u8],
        missing: Missing,
    ) -> Result<Option<NodeId>, MergeError> {
        let mut at = NodeId::ROOT;
        let mut links = 0;
        // Components still to walk, last first. Names are copied only once a symbolic link is met.
        let mut rest: Vec<Vec<u8>> = Vec::new();
        let mut plain = components(directory);
        let looping = |missing| match missing {
            Missing::Create => Err(MergeError::SymlinkLoop {
                path: path.to_vec(),
            }),
            Missing::Stop | Missing::SearchHidden => Ok(None),
        };
        let mut walked = 0;
        loop {
            let owned;
            let name: &[u8] = if let Some(next) = rest.pop() {
                owned = next;
                &owned
            } else if let Some(next) = plain.next() {
                next
            } else {
                return Ok(Some(at));
            };
            walked += name.len() + 1;
            match name {
                b"." => continue,
                b".." => {
                    at = self.tree.parent(at);
                    continue;
                }
                _ => {}
            }
            let Some(child) = self.step(at, name, missing) else {
                if missing != Missing::Create {
                    return Ok(None);
                }
                if name.len() > crate::NAME_MAX || name.contains(&0) {
                    return looping(missing);
                }
                at = self.create_implicit(at, name)?;
                continue;
            };
            match self.tree.kind(child) {
                Type::Directory => {
                    if missing == Missing::Create && child.index() < self.first_node {
                        self.borrowed.insert(child);
                    }
                    at = child;
                }
                Type::Symlink => {
                    links += 1;
                    self.report.followed_symlinks += u64::from(missing == Missing::Create);
                    if links > SYMLINK_MAX || walked > 2 * PATH_MAX {
                        return looping(missing);
                    }
                    let target = self.tree.target(child);
                    if target.starts_with(b"/") {
                        at = NodeId::ROOT;
                    }
                    let from = rest.len();
                    rest.extend(components(target).map(<[u8]>::to_vec));
                    rest[from..].reverse();
                }
                kind => {
                    if missing != Missing::Create {
                        return Ok(None);
                    }
                    return Err(MergeError::ParentNotDirectory {
                        path: path.to_vec(),
                        component: name.to_vec(),
                        kind: type_name(kind),
                    });
                }
            }
        }
    }

    fn create_implicit(&mut self, parent: NodeId, name: &[u8]) -> Result<NodeId, MergeError> {
        let record = Record::new(
            Payload::Directory,
            0o755,
            0,
            0,
            self.implicit_mtime,
            XattrSetId::EMPTY,
        );
        let inode = self.tree.add_inode(record)?;
        self.report.implicit_directories += 1;
        Ok(self.tree.insert(parent, name, inode)?)
    }
}
