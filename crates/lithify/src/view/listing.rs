//! What is in an image or artifact, without the data.

use std::collections::BTreeMap;

use lithify_tree::{Escaped, InodeKind, NodeId, Tree};
use serde::Serialize;

use crate::Error;
use crate::error::ArtifactError;
use crate::image::LayerSummary;
use crate::image::add_dropped;
use crate::name::{bytes_of, hex, spelled};

/// The names and metadata of an image or artifact.
#[derive(Debug)]
pub struct Listing {
    tree: Tree,
    left_out: BTreeMap<String, u64>,
}

/// One name as data. Names that are UTF-8 are themselves; others are spelled as [`Escaped`] does, with their bytes beside
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ListedEntry {
    /// Absolute path.
    pub path: String,
    /// Its bytes in hexadecimal digits, if they are not UTF-8: `path` is then spelled with `\xNN`, and `\\` for a backslash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<String>,
    /// `file`, `directory`, `symlink`, `char`, `block`, `fifo` or `socket`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Permissions as four octal digits.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size of a file in bytes, holes included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Seconds of the modification time.
    pub mtime: i64,
    /// Its nanoseconds.
    pub mtime_nsec: u32,
    /// Number of names.
    pub nlink: u32,
    /// Number of the inode; names with the same number are hard links of each other.
    pub inode: usize,
    /// Target of a symbolic link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its bytes, as for the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_bytes: Option<String>,
    /// Major and minor number of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<(u32, u32)>,
    /// Extended attributes: name, spelled as paths are, and value, in hexadecimal digits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<(String, String)>,
}

impl Listing {
    pub(crate) fn new(tree: Tree) -> Self {
        Self {
            tree,
            left_out: BTreeMap::new(),
        }
    }

    /// A listing of what these layers make.
    pub(crate) fn of_layers(tree: Tree, layers: &[LayerSummary]) -> Self {
        let mut left_out = BTreeMap::new();
        add_dropped(&mut left_out, layers);
        Self { tree, left_out }
    }

    /// Files with an extended attribute that no Linux filesystem holds and no tree can show, by its name, spelled as paths are.
    #[must_use]
    pub fn left_out_xattrs(&self) -> &BTreeMap<String, u64> {
        &self.left_out
    }

    /// The tree behind the listing.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The node at a path; symbolic links on the way are followed inside the image.
    ///
    /// # Errors
    /// [`ArtifactError::NotInImage`](crate::ArtifactError::NotInImage).
    pub fn find(&self, path: &[u8]) -> Result<NodeId, Error> {
        self.tree.resolve(path).ok_or_else(|| {
            Error::from(ArtifactError::NotInImage {
                path: Escaped(path).to_string(),
            })
        })
    }

    /// The node at a path, which may be a symbolic link; those on the way are followed inside the image, and the last one
    /// too when a slash stands behind it.
    ///
    /// # Errors
    /// [`ArtifactError::NotInImage`](crate::ArtifactError::NotInImage).
    pub fn find_itself(&self, path: &[u8]) -> Result<NodeId, Error> {
        let (parent, name) = match path.iter().rposition(|&b| b == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&[][..], path),
        };
        match name {
            b"" | b"." | b".." => self.find(path),
            name => {
                let found = self.tree.resolve(parent);
                let found = found.and_then(|parent| self.tree.child(parent, name));
                found.ok_or_else(|| {
                    Error::from(ArtifactError::NotInImage {
                        path: Escaped(path).to_string(),
                    })
                })
            }
        }
    }

    /// A node as data.
    #[must_use]
    pub fn entry(&self, node: NodeId) -> ListedEntry {
        let tree = &self.tree;
        let id = tree.inode_id(node);
        let inode = tree.inode(id);
        let path = [b"/", &*tree.path(node)].concat();
        let mut target_bytes = None;
        let (kind, size, target, device) = match inode.kind {
            InodeKind::File { size, .. } => ("file", Some(size), None, None),
            InodeKind::Directory => ("directory", None, None, None),
            InodeKind::Symlink { target } => {
                target_bytes = bytes_of(target);
                ("symlink", None, Some(spelled(target)), None)
            }
            InodeKind::CharDevice(d) => ("char", None, None, Some((d.major, d.minor))),
            InodeKind::BlockDevice(d) => ("block", None, None, Some((d.major, d.minor))),
            InodeKind::Fifo => ("fifo", None, None, None),
            InodeKind::Socket => ("socket", None, None, None),
            _ => ("unknown", None, None, None),
        };
        ListedEntry {
            path: spelled(&path),
            path_bytes: bytes_of(&path),
            kind,
            mode: format!("{:04o}", inode.mode),
            uid: inode.uid,
            gid: inode.gid,
            size,
            mtime: inode.mtime.seconds,
            mtime_nsec: inode.mtime.nanoseconds,
            nlink: inode.nlink,
            inode: id.index(),
            target,
            target_bytes,
            device,
            xattrs: tree
                .xattrs(inode.xattrs)
                .iter()
                .map(|(name, value)| (spelled(name), hex(value)))
                .collect(),
        }
    }
}
