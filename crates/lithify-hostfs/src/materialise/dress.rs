//! Metadata of files just made, and the record of what could not be set.

use std::io;

use lithify_cancel::{CancelToken, Checked};
use lithify_tree::{Escaped, Inode, InodeKind, NodeId, Tree};
use rustix::fd::BorrowedFd;

use super::attributes::{Failure, Host, Made, Refusal};
use super::place::Creation;

use super::{MaterialiseError, MaterialiseOptions, NotSet};
use crate::sidecar::{Found, Line, SidecarWriter, sha256};

/// Sets the metadata of one file after the other.
pub(super) struct Dresser<'a> {
    tree: &'a Tree,
    pub(super) host: Host,
    pub(super) strict: bool,
    /// Where the sidecar is written.
    work: BorrowedFd<'a>,
    pub(super) sidecar: SidecarWriter,
    pub(super) not_set: NotSet,
    cancel: &'a CancelToken,
}

impl<'a> Dresser<'a> {
    pub(super) fn new(
        tree: &'a Tree,
        host: Host,
        options: &'a MaterialiseOptions,
        work: BorrowedFd<'a>,
    ) -> Self {
        Self {
            tree,
            host,
            strict: options.strict,
            work,
            sidecar: SidecarWriter::default(),
            not_set: NotSet::default(),
            cancel: &options.cancel,
        }
    }

    /// Owner, attributes, mode and times of a file; whether something had to be written about it instead.
    pub(super) fn dress(
        &mut self,
        node: NodeId,
        inode: &Inode<'_>,
        made: Made<'_>,
        creation: Creation,
    ) -> Result<bool, MaterialiseError> {
        let mut line = Line {
            node: creation.stands_for,
            ..Line::default()
        };
        self.not_set.devices += u64::from(creation.stands_for.is_some());
        // Opened while it can be. What it holds is written down only if it lends somebody's rights, which few files do.
        let xattrs = self.tree.xattrs(inode.xattrs);
        let lends = inode.mode & 0o6000 != 0 || !xattrs.is_empty();
        let content = match lends && matches!(inode.kind, InodeKind::File { .. }) {
            true => Some(
                made.open()
                    .map_err(|e| self.failed("open", node, e.into()))?,
            ),
            false => None,
        };
        let mut refused = |refusal: Refusal<'_>, source| {
            if self.strict {
                let what = refusal.to_string();
                return Err(Failure::Refused { what, source });
            }
            count(&mut self.not_set, refusal);
            match refusal {
                Refusal::Owner => line.owner = Some((inode.uid, inode.gid)),
                Refusal::Mode => line.mode = Some(creation.instead_of.unwrap_or(inode.mode)),
                Refusal::Time => line.mtime = Some(inode.mtime),
                Refusal::Xattr { name, value } => line.xattrs.push((name.into(), value.into())),
            }
            Ok(())
        };
        let xattrs = self.tree.xattrs(inode.xattrs);
        let host = self.host;
        let noted = match creation.instead_of {
            Some(_) => refused(Refusal::Mode, None),
            None => Ok(()),
        };
        let dressed = noted.and_then(|()| host.dress(made, creation, inode, xattrs, &mut refused));
        match dressed {
            Ok(()) if line.is_empty() => Ok(false),
            Ok(()) => {
                let sha256 = |file| sha256(&Checked::new(file, self.cancel));
                let found = || -> io::Result<Found> {
                    Ok(Found {
                        stat: made.stat()?,
                        sha256: content.as_ref().map(sha256).transpose()?,
                    })
                };
                found()
                    .and_then(|found| {
                        let path = self.tree.path(node);
                        self.sidecar.add(self.work, &path, &line, &found)
                    })
                    .map(|()| true)
                    .map_err(|e| self.failed("record the metadata of", node, e))
            }
            Err(Failure::Refused { what, source }) => Err(MaterialiseError::NotSettable {
                what,
                path: self.tree.path(node),
                source,
            }),
            Err(Failure::Io { operation, source }) => Err(self.failed(operation, node, source)),
        }
    }

    /// Writes down a further name of a file about which something was written under its first.
    pub(super) fn name(&mut self, node: NodeId, first: NodeId) -> Result<(), MaterialiseError> {
        self.sidecar
            .add_name(&self.tree.path(node), &self.tree.path(first))
            .map_err(|e| self.failed("record the name", node, e))
    }

    /// The root as far as it can be while it must still be renamed, which takes write permission on it; returns the
    /// mode it is to have in the end.
    pub(super) fn dress_root(&mut self, root: BorrowedFd<'_>) -> Result<u16, MaterialiseError> {
        let mut inode = self.tree.node_inode(NodeId::ROOT);
        let mode = self.host.readable(&inode, false);
        let creation = Creation {
            instead_of: (mode != inode.mode).then_some(inode.mode),
            ..Creation::with_mode(0o700)
        };
        inode.mode = mode | 0o700;
        self.dress(NodeId::ROOT, &inode, Made::Directory(root), creation)?;
        Ok(mode)
    }

    fn failed(&self, operation: &'static str, node: NodeId, source: io::Error) -> MaterialiseError {
        if let Err(cancelled) = self.cancel.check() {
            return cancelled.into();
        }
        MaterialiseError::Entry {
            operation,
            path: self.tree.path(node),
            source,
        }
    }
}

fn count(not_set: &mut NotSet, refusal: Refusal<'_>) {
    let counter = match refusal {
        Refusal::Owner => &mut not_set.owners,
        Refusal::Mode => &mut not_set.modes,
        Refusal::Time => &mut not_set.times,
        Refusal::Xattr { name, .. } if name == b"security.capability" => &mut not_set.capabilities,
        Refusal::Xattr { name, .. } if name.starts_with(b"trusted.") => &mut not_set.trusted_xattrs,
        Refusal::Xattr { .. } => &mut not_set.other_xattrs,
    };
    *counter += 1;
}

impl std::fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Owner => f.write_str("the owner"),
            Self::Mode => f.write_str("the mode"),
            Self::Time => f.write_str("the modification time"),
            Self::Xattr { name, .. } => write!(f, "extended attribute `{}`", Escaped(name)),
        }
    }
}
