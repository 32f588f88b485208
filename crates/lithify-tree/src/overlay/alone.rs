//! From the layer's entries alone.

use std::sync::Arc;

use lithify_cancel::CancelToken;

use super::{OPAQUE_VALUE, OPAQUE_XATTR, ORIGIN_XATTR, OverlayError, escape, mark};
use crate::builder::Builder;
use crate::inode::{Payload, Record, Type};
use crate::layer::Kind;
use crate::merge::Merge;
use crate::path::{components, split_last};
use crate::{Device, LayerEntries, NodeId, Timestamp, Tree, XattrSetId};

/// The overlay layer for a layer that means the same whatever lies below it, by its entries only: the result can stand
/// over any lower layers.
///
/// # Errors
/// [`OverlayError`]; [`OverlayError::NeedsLowerLayers`] for a layer that is not self-contained and removes something.
/// Other layers that are not self-contained give a tree that is right only over an empty directory.
pub fn alone(layer: &LayerEntries) -> Result<Tree, OverlayError> {
    alone_until(layer, &CancelToken::new())
}

/// As [`alone`], as long as the work goes on.
///
/// # Errors
/// As [`alone`]; [`MergeError::Cancelled`](crate::MergeError::Cancelled).
pub fn alone_until(layer: &LayerEntries, cancel: &CancelToken) -> Result<Tree, OverlayError> {
    let mut merge = Merge::new().until(cancel);
    let recreated = merge.apply_unmarked(layer)?;
    let mut tree = merge.into_builder();
    tree.map_xattrs(escape)?;
    if let Some(path) = tree.find_inode(is_whiteout) {
        return Err(OverlayError::WhiteoutDevice { path });
    }
    // A directory in place of something else of the same layer: whatever a lower layer has under that name is gone.
    for node in recreated {
        if tree.is_reachable(node) && tree.kind(node) == Type::Directory {
            set_mark(&mut tree, node, OPAQUE_XATTR, OPAQUE_VALUE);
        }
    }
    let mut entries = layer.cursor();
    while let Some(entry) = entries.next() {
        cancel.check().map_err(crate::MergeError::from)?;
        let (directory, name) = match (entry.kind, split_last(entry.path)) {
            (Kind::Whiteout, Some((directory, name))) => (directory, Some(name)),
            (Kind::Opaque, Some(_)) => (entry.path, None),
            (Kind::Whiteout, None) => continue,
            (Kind::Opaque, None) => {
                return Err(OverlayError::NeedsLowerLayers { path: Vec::new() });
            }
            _ => continue,
        };
        let Some(at) = find_directory(&tree, directory) else {
            return Err(OverlayError::NeedsLowerLayers {
                path: entry.path.to_vec(),
            });
        };
        match name {
            None => set_mark(&mut tree, at, OPAQUE_XATTR, OPAQUE_VALUE),
            Some(name) => {
                let slot = tree.slot(at, name);
                match slot.node {
                    Some(node) if tree.kind(node) == Type::Directory => {
                        set_mark(&mut tree, node, OPAQUE_XATTR, OPAQUE_VALUE);
                    }
                    Some(_) => {}
                    None => {
                        let inode = tree
                            .add_inode(whiteout())
                            .map_err(|_| crate::MergeError::Full)?;
                        let limit = tree.name_limit();
                        tree.insert(at, name, slot, inode).map_err(|_| {
                            crate::MergeError::TooManyNames {
                                path: entry.path.to_vec(),
                                limit,
                            }
                        })?;
                        set_mark(&mut tree, at, ORIGIN_XATTR, b"");
                    }
                }
            }
        }
    }
    Ok(tree.finish())
}

/// The inode of a removed name.
pub(super) fn whiteout() -> Record {
    Record::new(
        Payload::CharDevice(Device::default()),
        0,
        0,
        0,
        Timestamp::default(),
        XattrSetId::EMPTY,
    )
}

pub(super) fn is_whiteout(record: &Record) -> bool {
    matches!(record.payload(), Payload::CharDevice(d) if d == Device::default())
}

pub(super) fn set_mark(tree: &mut Builder, node: NodeId, name: &[u8], value: &[u8]) {
    let id = tree.record(node).xattrs;
    if tree.xattr_set(id).get(name).is_some() {
        return;
    }
    let marked = Arc::new(mark(tree.xattr_set(id), name, value));
    let id = tree.intern(&marked);
    let mut record = *tree.record(node);
    record.xattrs = id;
    tree.replace_record(node, record);
}

/// The directory at a path, through symbolic links of the layer's own if need be: never, for a layer that is
/// self-contained.
fn find_directory(tree: &Builder, path: &[u8]) -> Option<NodeId> {
    let mut at = NodeId::ROOT;
    for name in components(path) {
        at = tree.child(at, name)?;
    }
    (tree.kind(at) == Type::Directory).then_some(at)
}
