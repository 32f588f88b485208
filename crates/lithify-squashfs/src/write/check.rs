//! Refusing a tree squashfs cannot hold, before anything is done with it.

use lithify_tree::{Device, InodeId, InodeKind, Tree, XattrSetId};

use super::contents::Contents;
use super::repack::ContentSet;
use crate::WriteError;
use crate::format::inode::{MAJOR_MAX, MINOR_MAX, TARGET_MAX};

/// Checks inodes; gives the contents they refer to.
pub(crate) fn check(tree: &Tree, contents: &Contents) -> Result<ContentSet, WriteError> {
    let mut live = ContentSet::default();
    for id in tree.inode_ids() {
        match tree.inode(id).kind {
            InodeKind::File { size, content } => {
                let known = content.and_then(|c| contents.get(c).map(|known| (c, known)));
                match known {
                    Some((c, known)) if known.size == size => live.insert(c),
                    Some((_, known)) => {
                        return Err(WriteError::ContentSize {
                            path: path_of(tree, id),
                            expected: size,
                            found: known.size,
                        });
                    }
                    None if size == 0 && content.is_none() => {}
                    None => {
                        return Err(WriteError::UnknownContent {
                            path: path_of(tree, id),
                            content,
                        });
                    }
                }
            }
            InodeKind::Symlink { target } if target.len() > TARGET_MAX => {
                return Err(WriteError::SymlinkTarget {
                    path: path_of(tree, id),
                    length: target.len(),
                });
            }
            InodeKind::CharDevice(d) | InodeKind::BlockDevice(d) => {
                let Device { major, minor } = d;
                if major > MAJOR_MAX || minor > MINOR_MAX {
                    return Err(WriteError::Device {
                        path: path_of(tree, id),
                        major,
                        minor,
                    });
                }
            }
            _ => {}
        }
    }
    Ok(live)
}

/// The first name of an inode.
fn path_of(tree: &Tree, inode: InodeId) -> Vec<u8> {
    tree.walk()
        .find(|&node| tree.inode_id(node) == inode)
        .map_or_else(Vec::new, |node| tree.path(node))
}

/// The first name of an inode with these attributes.
pub(crate) fn path_of_set(tree: &Tree, set: XattrSetId) -> Vec<u8> {
    tree.walk()
        .find(|&node| tree.node_inode(node).xattrs == set)
        .map_or_else(Vec::new, |node| tree.path(node))
}
