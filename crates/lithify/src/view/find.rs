//! Regular files by path.

use lithify_tree::{ContentId, Escaped, InodeKind, NodeId, Tree};

use crate::Error;
use crate::error::ArtifactError;

/// The regular file at a path.
pub(crate) fn find_file(tree: &Tree, path: &[u8]) -> Result<(NodeId, Option<ContentId>), Error> {
    let shown = || Escaped(path).to_string();
    let node = tree
        .resolve(path)
        .ok_or_else(|| Error::from(ArtifactError::NotInImage { path: shown() }))?;
    match tree.node_inode(node).kind {
        InodeKind::File { content, .. } => Ok((node, content)),
        _ => Err(Error::from(ArtifactError::NotAFile { path: shown() })),
    }
}
