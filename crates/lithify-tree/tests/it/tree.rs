//! The finished tree: its numbers, its order, its lookups.

use lithify_tree::{InodeKind, NodeId, Tree, TreePath};

fn sample() -> Tree {
    crate::common::tree(&[&[
        "f b/z=1",
        "f b/y=2",
        "h a -> b/z",
        "d b/x",
        "f b/x/w=3",
        "l c -> /b/x",
        "l d -> ../../c/../y",
        "l loop -> loop",
        "l gone -> no/../a",
        "l top -> /",
    ]])
}

fn at(tree: &Tree, path: &str) -> NodeId {
    tree.lookup(&TreePath::clean(path.as_bytes()).unwrap())
        .unwrap()
}

#[test]
fn nodes_are_numbered_breadth_first_and_siblings_sorted() {
    let tree = sample();
    let mut all: Vec<_> = tree.walk().collect();
    all.sort();
    let paths: Vec<_> = all
        .iter()
        .map(|&n| String::from_utf8(tree.path(n)).unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "", "a", "b", "c", "d", "gone", "loop", "top", "b/x", "b/y", "b/z", "b/x/w"
        ]
    );
    let numbers: Vec<_> = all.iter().map(|n| n.index()).collect();
    assert_eq!(numbers, (0..tree.len()).collect::<Vec<_>>());
}

#[test]
fn inodes_are_numbered_by_their_first_names() {
    let tree = sample();
    let ids: Vec<_> = tree.inode_ids().map(|id| id.index()).collect();
    assert_eq!(ids, (0..tree.inode_count()).collect::<Vec<_>>());
    assert_eq!(tree.inode_id(NodeId::ROOT).index(), 0);
    assert_eq!(tree.inode_id(at(&tree, "a")).index(), 1);
    assert_eq!(
        tree.inode_id(at(&tree, "b/z")),
        tree.inode_id(at(&tree, "a"))
    );
}

#[test]
fn a_walk_is_depth_first() {
    let tree = sample();
    let paths = |top| -> Vec<_> {
        let nodes = tree.walk_from(top);
        nodes
            .map(|n| String::from_utf8(tree.path(n)).unwrap())
            .collect()
    };
    assert_eq!(
        paths(NodeId::ROOT),
        [
            "", "a", "b", "b/x", "b/x/w", "b/y", "b/z", "c", "d", "gone", "loop", "top"
        ]
    );
    assert_eq!(paths(at(&tree, "b")), ["b", "b/x", "b/x/w", "b/y", "b/z"]);
    assert_eq!(paths(at(&tree, "a")), ["a"]);
}

#[test]
fn children_and_parents() {
    let tree = sample();
    let b = at(&tree, "b");
    let names: Vec<_> = tree.children(b).map(|n| tree.name(n)).collect();
    assert_eq!(names, [b"x", b"y", b"z"]);
    assert!(tree.children(b).all(|n| tree.parent(n) == b));
    assert_eq!(tree.parent(NodeId::ROOT), NodeId::ROOT);
    assert_eq!(tree.name(NodeId::ROOT), b"");
    assert_eq!(tree.children(at(&tree, "a")).len(), 0);
    assert_eq!(tree.child(b, b"y"), Some(at(&tree, "b/y")));
    for none in [&b""[..], b"w", b"yy", b"b/y", b"."] {
        assert_eq!(tree.child(b, none), None);
    }
    assert_eq!(tree.child(at(&tree, "a"), b"x"), None);
}

#[test]
fn lookup_follows_nothing() {
    let tree = sample();
    let lookup = |path: &[u8]| tree.lookup(&TreePath::clean(path).unwrap());
    assert_eq!(lookup(b""), Some(NodeId::ROOT));
    let c = lookup(b"c").unwrap();
    assert!(matches!(tree.node_inode(c).kind, InodeKind::Symlink { .. }));
    assert_eq!(lookup(b"c/w"), None);
    assert_eq!(lookup(b"a/x"), None);
}

#[test]
fn resolve_follows_inside_the_root() {
    let tree = sample();
    let resolve = |path: &str| {
        let node = tree.resolve(path.as_bytes())?;
        Some(String::from_utf8(tree.path(node)).unwrap())
    };
    let leads_to = |path: &str, to: &str| assert_eq!(resolve(path).as_deref(), Some(to), "{path}");
    leads_to("", "");
    leads_to("/", "");
    leads_to("../../..", "");
    leads_to("c", "b/x");
    leads_to("/c/w", "b/x/w");
    leads_to("c/../y", "b/y");
    leads_to("d", "b/y");
    leads_to("top/top/./c//w", "b/x/w");
    for nowhere in ["loop", "loop/x", "gone", "no", "a/x", "c/no"] {
        assert_eq!(resolve(nowhere), None, "{nowhere}");
    }
}

/// Depth is no recursion.
#[test]
fn a_tree_may_be_as_deep_as_a_path() {
    let deep = vec!["d"; 2048].join("/");
    let tree = crate::common::tree(&[&[&format!("f {deep}=x")]]);
    assert_eq!(tree.len(), 2049);
    let last = tree.walk().last().unwrap();
    assert_eq!(tree.path(last), deep.as_bytes());
    assert_eq!(tree.resolve(deep.as_bytes()), Some(last));
}

#[test]
fn a_refused_layer_leaves_nothing() {
    let mut merge = lithify_tree::Merge::new();
    merge
        .apply(crate::common::try_layer(&["f a"]).unwrap())
        .unwrap();
    let refused = merge.apply(crate::common::try_layer(&["h b -> c", "h x -> y"]).unwrap());
    assert!(refused.is_err());
    assert_eq!(merge.finish().len(), 1);
}
