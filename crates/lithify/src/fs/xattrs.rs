//! Attributes a filesystem cannot hold, left out on request.

use lithify_tree::{Escaped, Tree, Xattrs};

use super::kind::Kind;
use crate::image::Dropped;
use crate::image::count_dropped;

/// Takes the attributes out of a tree that the filesystem cannot hold.
pub(super) fn drop_unsupported(tree: &mut Tree, kind: Kind) -> Dropped {
    drop_xattrs(tree, |set| unsupported(set, kind))
}

/// Takes attributes out of a tree: of each set those with the names that `unsupported` gives.
pub(crate) fn drop_xattrs(tree: &mut Tree, unsupported: impl Fn(&Xattrs) -> Vec<&[u8]>) -> Dropped {
    let mut uses = vec![0_u64; tree.xattr_set_count()];
    for id in tree.inode_ids() {
        uses[tree.inode(id).xattrs.index()] += 1;
    }
    let mut dropped = Dropped::new();
    tree.map_xattrs(|id, set| {
        let names = unsupported(set);
        if names.is_empty() || uses[id.index()] == 0 {
            return None;
        }
        let mut kept = set.clone();
        for name in names {
            kept.remove(name);
            count_dropped(&mut dropped, Escaped(name).to_string(), uses[id.index()]);
        }
        Some(kept)
    });
    dropped
}

fn unsupported(set: &Xattrs, kind: Kind) -> Vec<&[u8]> {
    // Of what was built without, no image is written.
    kind.format()
        .map(|format| format.unsupported_xattrs(set))
        .unwrap_or_default()
}
