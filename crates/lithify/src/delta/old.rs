//! The old image, as files that new ones are compared with.

use std::io;
use std::sync::Arc;

use lithify_delta::create::{CreateOptions, OldFile, OldFiles};
use lithify_delta::diff::Effort;
use lithify_tree::{InodeKind, NodeId, TreePath};

use crate::Error;
use crate::image::Merged;
use crate::session::Session;

/// Returns the way files are compared, with the threads and limits of a session.
pub(super) fn create_options(effort: Effort, memory: u64, session: &Session) -> CreateOptions {
    CreateOptions {
        effort,
        memory,
        threads: session.threads(),
        limits: session.limits.layer.tar(),
        cancel: session.cancel.clone(),
    }
}

/// Directories whose files whoever applies a delta may not have: ostree has its objects in one, and an image in a composefs repository of
/// `cfsctl` has none in the other.
const ELSEWHERE: [&[u8]; 2] = [b"sysroot/ostree/", b"run/"];

/// The files of an old image, for who creates a delta.
pub(super) struct Old {
    merged: Arc<Merged>,
    nodes: Vec<NodeId>,
}

impl Old {
    /// Takes the files that whoever applies the delta may read: regular ones, without holes, which everybody may read. Of a file with
    /// several names it takes the first.
    pub(super) fn of(merged: &Arc<Merged>) -> Result<(Self, Vec<OldFile>), Error> {
        let tree = &merged.tree;
        let mut seen = vec![false; tree.inode_count()];
        let (mut nodes, mut files) = (Vec::new(), Vec::new());
        for node in tree.walk() {
            let id = tree.inode_id(node);
            if std::mem::replace(&mut seen[id.index()], true) {
                continue;
            }
            let inode = tree.inode(id);
            let InodeKind::File {
                size,
                content: Some(content),
            } = inode.kind
            else {
                continue;
            };
            let has_holes = merged.spooled.content(content).segments.is_some();
            if has_holes || inode.mode & READ_BY_ALL == 0 {
                continue;
            }
            let path = TreePath::clean(&tree.path(node)).map_err(Error::tar_path)?;
            if ELSEWHERE.iter().any(|d| path.as_bytes().starts_with(d)) {
                continue;
            }
            files.push(OldFile { path, size });
            nodes.push(node);
        }
        let merged = Arc::clone(merged);
        Ok((Self { merged, nodes }, files))
    }
}

/// The bit of a mode that lets everybody read.
const READ_BY_ALL: u16 = 0o004;

impl OldFiles for Old {
    fn read(&self, file: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let InodeKind::File {
            content: Some(content),
            ..
        } = self.merged.tree.node_inode(self.nodes[file]).kind
        else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let spooled = &self.merged.spooled;
        spooled.read_exact_at(spooled.content(content), buffer, offset)
    }
}
