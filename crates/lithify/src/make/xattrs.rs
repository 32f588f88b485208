//! Attributes a filesystem cannot hold, left out on request.

use std::collections::BTreeMap;

use lithify_tree::{Escaped, Tree, Xattrs};

use super::filesystem::Kind;
use crate::ReadOptions;
use crate::decode::LayerSummary;

/// Names that are counted one by one; an image could have any number of them.
const NAMES_MAX: usize = 64;
/// What the others are counted as.
const OTHERS: &str = "(other names)";

/// Files that lost an attribute, by its name, escaped.
pub(crate) type Dropped = BTreeMap<String, u64>;

/// Takes the attributes out of a tree that the filesystem cannot hold.
pub(crate) fn drop_unsupported(tree: &mut Tree, kind: Kind) -> Dropped {
    let mut uses = vec![0_u64; tree.xattr_set_count()];
    for id in tree.inode_ids() {
        uses[tree.inode(id).xattrs.index()] += 1;
    }
    let mut dropped = Dropped::new();
    tree.map_xattrs(|id, set| {
        let names = unsupported(set, kind);
        if names.is_empty() || uses[id.index()] == 0 {
            return None;
        }
        let mut kept = set.clone();
        for name in names {
            kept.remove(name);
            count(&mut dropped, Escaped(name).to_string(), uses[id.index()]);
        }
        Some(kept)
    });
    dropped
}

/// The same options, with attributes left out that Linux cannot hold, if that is asked for.
pub(crate) fn reading(read: &ReadOptions, drop_xattrs: bool) -> ReadOptions {
    let mut read = read.clone();
    read.limits.layer.drop_xattrs |= drop_xattrs;
    read
}

/// Adds what was left out while layers were read.
pub(crate) fn add(dropped: &mut Dropped, summaries: &[LayerSummary]) {
    for (name, files) in summaries.iter().flat_map(|summary| &summary.dropped) {
        count(dropped, name.clone(), *files);
    }
}

fn unsupported(set: &Xattrs, kind: Kind) -> Vec<&[u8]> {
    match kind {
        Kind::Erofs => lithify_erofs::unsupported_xattrs(set),
        Kind::Squashfs => lithify_squashfs::unsupported_xattrs(set),
    }
}

fn count(dropped: &mut Dropped, name: String, files: u64) {
    let name = match dropped.len() < NAMES_MAX || dropped.contains_key(&name) {
        true => name,
        false => OTHERS.to_owned(),
    };
    *dropped.entry(name).or_default() += files;
}
