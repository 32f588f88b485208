//! Second stage: every name to its place.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use lithify_cancel::{CancelToken, Cancelled, Stopped};
use lithify_tree::{ContentId, Inode, InodeId, InodeKind, NodeId, Tree};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Mode, OFlags, fsync, linkat, mkdirat, openat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::attributes::{Host, Made};
use super::dress::Dresser;
use super::remove::remove_tree;
use super::sink::{STAGED_MODE, staged_path};
use super::work::{LINKS, STAGING, Workspace};
use super::{MaterialiseError, MaterialiseOptions, MaterialiseReport};
use crate::dirs::{DIRECTORY, DirStack, PopError};
use crate::sidecar::Special;
use crate::sys::{self, Node};

/// Fills the root of the work directory with the tree and makes it the target.
pub(super) fn place(
    work: &Workspace,
    host: Host,
    options: &MaterialiseOptions,
    tree: &Tree,
    copies: HashMap<InodeId, ContentId>,
) -> Result<MaterialiseReport, MaterialiseError> {
    let root = sys::duplicate(work.root.as_fd()).map_err(|e| work.error("open", e))?;
    let links = openat(&work.staging, LINKS, DIRECTORY, Mode::empty())
        .map_err(|e| work.error("open the work directory of", e.into()))?;
    let mut placer = Placer {
        tree,
        staging: work.staging.as_fd(),
        links,
        dirs: DirStack::new(root),
        copies,
        linked: HashMap::new(),
        dresser: Dresser::new(tree, host, options, work.work.as_fd()),
    };
    placer.fill(&options.cancel)?;
    let mut dresser = placer.dresser;
    let root_mode = dresser.dress_root(work.root.as_fd())?;
    let mut report = MaterialiseReport {
        names: tree.len() as u64,
        inodes: tree.inode_count() as u64,
        not_set: dresser.not_set,
        sidecar: None,
    };

    remove_tree(work.work.as_fd(), STAGING.as_bytes(), &options.cancel)
        .map_err(|e| work.error("remove unused file data in the work directory of", e))?;
    options.cancel.check()?;
    report.sidecar = dresser
        .sidecar
        .publish(work.work.as_fd(), work.parent.as_fd(), &work.target)
        .map_err(|e| work.error("write the metadata file of", e))?;
    let published = sync(work, options).and_then(|()| work.publish());
    if let Err(e) = published {
        // It speaks of a directory that is not there.
        if let Some(name) = report.sidecar.as_deref().and_then(Path::file_name) {
            unlinkat(&work.parent, name, AtFlags::empty()).ok();
        }
        return Err(e);
    }
    if root_mode & 0o700 != 0o700 {
        Made::Directory(work.root.as_fd())
            .chmod(root_mode)
            .map_err(|e| work.error("set the mode of", e.into()))?;
    }
    if options.sync {
        rustix::io::retry_on_intr(|| fsync(&work.parent))
            .map_err(|e| work.error("sync the parent of", e.into()))?;
    }
    Ok(report)
}

/// Waits until the tree is on the disk, if that is wanted. Nobody can interrupt that: who stops the work is not kept waiting.
fn sync(work: &Workspace, options: &MaterialiseOptions) -> Result<(), MaterialiseError> {
    options.cancel.check()?;
    if !options.sync {
        return Ok(());
    }
    let failed = |e| work.error("sync", e);
    let root = sys::duplicate(work.root.as_fd()).map_err(failed)?;
    let sync = move || sys::sync_filesystem(root.as_fd());
    let synced = options.cancel.detached("lithify-sync", None, sync);
    match synced.map_err(failed)? {
        Ok(synced) => synced.map_err(failed),
        Err(Stopped::Cancelled) => Err(Cancelled.into()),
        Err(_) => Err(failed(io::Error::other("the syncing thread panicked"))),
    }
}

struct Placer<'a> {
    tree: &'a Tree,
    staging: BorrowedFd<'a>,
    /// Part of the staging directory: files without data that have several names.
    links: OwnedFd,
    dirs: DirStack,
    /// Copies of data that another inode has too.
    copies: HashMap<InodeId, ContentId>,
    /// Inodes with several names whose first has been made, with that name if something had to be written about it.
    linked: HashMap<InodeId, Option<NodeId>>,
    dresser: Dresser<'a>,
}

/// How a file came into being.
#[derive(Clone, Copy)]
pub(super) struct Creation {
    /// The mode it was made with.
    pub(super) mode: u16,
    /// What it stands for if it is only a placeholder.
    pub(super) stands_for: Option<Special>,
    /// The mode it has in the image, if the one it is to have was decided before.
    pub(super) instead_of: Option<u16>,
}

impl Creation {
    pub(super) fn with_mode(mode: u16) -> Self {
        Self {
            mode,
            stands_for: None,
            instead_of: None,
        }
    }
}

impl Placer<'_> {
    /// Everything below the root.
    fn fill(&mut self, cancel: &CancelToken) -> Result<(), MaterialiseError> {
        // The way from the root to the current directory, with the mode each was made with.
        let mut way: Vec<(NodeId, u16)> = Vec::new();
        for node in self.tree.walk().skip(1) {
            cancel.check()?;
            let parent = self.tree.parent(node);
            while way.last().map_or(NodeId::ROOT, |&(at, _)| at) != parent {
                self.leave(&mut way)?;
            }
            let inode = self.tree.node_inode(node);
            if inode.kind.is_directory() {
                way.push((node, self.enter(node, &inode)?));
            } else {
                self.file(node, &inode)?;
            }
        }
        while !way.is_empty() {
            self.leave(&mut way)?;
        }
        Ok(())
    }

    /// Makes a directory, open to its owner until it is full, and goes into it.
    fn enter(&mut self, node: NodeId, inode: &Inode<'_>) -> Result<u16, MaterialiseError> {
        let mode = inode.mode & 0o777 | 0o700;
        let name = self.tree.name(node);
        let parent = self.dirs.top();
        let fd = mkdirat(parent, name, Mode::from_raw_mode(mode.into()))
            .and_then(|()| openat(parent, name, DIRECTORY, Mode::empty()))
            .map_err(|e| self.failed("create directory", node, e))?;
        self.dirs.push(fd).map_err(|source| {
            let path = self.tree.path(node);
            MaterialiseError::Entry {
                operation: "enter directory",
                path,
                source,
            }
        })?;
        Ok(self.dresser.host.created(mode))
    }

    /// Leaves a directory that is full.
    fn leave(&mut self, way: &mut Vec<(NodeId, u16)>) -> Result<(), MaterialiseError> {
        let Some((node, mode)) = way.pop() else {
            return Ok(());
        };
        let fd = self.dirs.pop().map_err(|e| MaterialiseError::Entry {
            operation: "go back up from",
            path: self.tree.path(node),
            source: match e {
                PopError::Moved => Errno::STALE.into(),
                PopError::Io(source) => source,
            },
        })?;
        let inode = self.tree.node_inode(node);
        let made = Made::Directory(fd.as_fd());
        self.dresser
            .dress(node, &inode, made, Creation::with_mode(mode))
            .map(drop)
    }

    /// Anything but a directory.
    fn file(&mut self, node: NodeId, inode: &Inode<'_>) -> Result<(), MaterialiseError> {
        let name = self.tree.name(node);
        let id = self.tree.inode_id(node);
        let content = match inode.kind {
            InodeKind::File { content, .. } => self.copies.get(&id).copied().or(content),
            _ => None,
        };
        let staged = Creation::with_mode(self.dresser.host.created(STAGED_MODE));
        let creation = if inode.nlink > 1 {
            self.link(node, inode, content.map(|c| (c, staged)))?
        } else if let Some(content) = content {
            renameat(self.staging, staged_path(content), self.dirs.top(), name)
                .map_err(|e| self.failed("put in place", node, e))?;
            Some(staged)
        } else {
            Some(self.make(self.dirs.top(), name, node, inode)?)
        };
        if let Some(creation) = creation {
            let made = Made::Name(self.dirs.top(), name);
            let recorded = self.dresser.dress(node, inode, made, creation)?;
            if inode.nlink > 1 {
                self.linked.insert(id, recorded.then_some(node));
            }
        } else if let Some(Some(first)) = self.linked.get(&id) {
            self.dresser.name(node, *first)?;
        }
        Ok(())
    }

    /// One of several names. The staging directory keeps a further one until the end, so that the way to link from is
    /// always short. `None` if the file was there already.
    fn link(
        &self,
        node: NodeId,
        inode: &Inode<'_>,
        content: Option<(ContentId, Creation)>,
    ) -> Result<Option<Creation>, MaterialiseError> {
        let id = self.tree.inode_id(node);
        let first = !self.linked.contains_key(&id);
        let (from, creation) = match content {
            Some((content, staged)) => (staged_path(content), Some(staged)),
            None => {
                let name = id.index().to_string();
                let creation = if first {
                    Some(self.make(self.links.as_fd(), name.as_bytes(), node, inode)?)
                } else {
                    None
                };
                (format!("{LINKS}/{name}"), creation)
            }
        };
        let name = self.tree.name(node);
        linkat(self.staging, from, self.dirs.top(), name, AtFlags::empty())
            .map_err(|e| self.failed("link", node, e))?;
        Ok(creation.filter(|_| first))
    }

    /// Makes a file without data.
    fn make(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        node: NodeId,
        inode: &Inode<'_>,
    ) -> Result<Creation, MaterialiseError> {
        let mode = Mode::from_raw_mode((inode.mode & 0o777).into());
        let creation = Creation::with_mode(self.dresser.host.created(inode.mode));
        // Open to its owner until it is dressed.
        let empty = inode.mode & 0o777 | 0o600;
        let create_empty = || {
            create_empty(directory, name, Mode::from_raw_mode(empty.into()))
                .map(|()| Creation::with_mode(self.dresser.host.created(empty)))
                .map_err(|e| self.failed("create", node, e))
        };
        let (special, made) = match inode.kind {
            InodeKind::File { size: 0, .. } => return create_empty(),
            InodeKind::File { size, .. } => {
                let path = self.tree.path(node);
                return Err(MaterialiseError::ContentMissing { path, size });
            }
            InodeKind::Symlink { target } => {
                symlinkat(target, directory, name)
                    .map_err(|e| self.failed("create symbolic link", node, e))?;
                return Ok(creation);
            }
            InodeKind::CharDevice(d) => (Special::CharDevice(d), Node::CharDevice(d)),
            InodeKind::BlockDevice(d) => (Special::BlockDevice(d), Node::BlockDevice(d)),
            InodeKind::Fifo => (Special::Fifo, Node::Fifo),
            InodeKind::Socket => (Special::Socket, Node::Socket),
            _ => unreachable!("directories are made elsewhere, and there are no other kinds"),
        };
        let refused = match sys::make_node(directory, name, made, mode) {
            Ok(()) => return Ok(creation),
            Err(
                e @ (Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS),
            ) => e,
            Err(e) => return Err(self.failed("create device", node, e)),
        };
        if self.dresser.strict {
            return Err(MaterialiseError::NotSettable {
                what: "the device".to_owned(),
                path: self.tree.path(node),
                source: Some(refused.into()),
            });
        }
        Ok(Creation {
            stands_for: Some(special),
            ..create_empty()?
        })
    }

    fn failed(&self, operation: &'static str, node: NodeId, e: Errno) -> MaterialiseError {
        MaterialiseError::Entry {
            operation,
            path: self.tree.path(node),
            source: e.into(),
        }
    }
}

fn create_empty(directory: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, mode).map(drop)
}
