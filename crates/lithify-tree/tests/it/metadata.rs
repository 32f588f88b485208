//! What is kept of a file besides its name: all of it.

use lithify_tree::{
    Device, Entry, EntryKind, InodeKind, LayerEntries, Merge, Metadata, NodeId, Timestamp,
    TreePath, XATTR_VALUE_MAX, XattrError, Xattrs,
};

/// peers.md, first product 9 to 12 and 17: setuid, owners, device nodes, attributes and times were lost.
#[test]
fn every_kind_keeps_all_of_its_metadata() {
    let lines = [
        "b b 259:1048575 0660 0:6",
        "c c 5:1 0600 0:5",
        "d d 3777 1000:1000 @-5.000000001 user.empty=",
        "f f=x 6755 4294967295:4294967294 @1700000000.999999999 security.capability=x user.k=v",
        "l l -> f 0777 7:8 @9 security.selinux=y",
        "p p 0 1:1 @0.000000001",
        "s s 0777 2:2 @-9223372036854775808",
    ];
    assert_eq!(
        crate::common::listing(&crate::common::tree(&[&lines])),
        lines.map(|l| l.replace(" 0 1:1", " 0000 1:1"))
    );
}

/// peers.md, first product 18 and second product 3: the root's own entry was lost.
#[test]
fn the_root_has_metadata() {
    assert_tree!(
        [["d . 0555 1:2 @3 user.k=v", "f x"]],
        ["d . 0555 1:2 @3 user.k=v", "f x"]
    );
    assert_tree!([["d ./ 0555"], ["d / 0700"]], ["d . 0700"]);
    assert_tree!([["d . 0555"], ["f x"]], ["d . 0555", "f x"]);
    let tree = crate::common::tree(&[&["f x"]]);
    let root = tree.node_inode(NodeId::ROOT);
    assert_eq!(
        (root.mode, root.uid, root.gid, root.mtime),
        (0o755, 0, 0, Timestamp::default())
    );
}

#[test]
fn a_later_directory_entry_replaces_the_attributes_too() {
    assert_tree!(
        [["d d user.a=1 user.b=2"], ["d d user.b=3"]],
        ["d d user.b=3"]
    );
    assert_tree!([["d d user.a=1"], ["d d"]], ["d d"]);
}

#[test]
fn link_counts() {
    let tree =
        crate::common::tree(&[&["d a", "d a/b", "d a/c", "f a/f", "h g -> a/f", "l l -> a"]]);
    let links = |path: &[u8]| {
        let node = tree.lookup(&TreePath::clean(path).unwrap()).unwrap();
        tree.node_inode(node).nlink
    };
    assert_eq!(
        [
            links(b""),
            links(b"a"),
            links(b"a/b"),
            links(b"a/f"),
            links(b"g"),
            links(b"l")
        ],
        [3, 4, 2, 2, 2, 1]
    );
}

/// The numbers of nodes, inodes and attribute sets depend on the result alone, not on the way to it.
#[test]
fn numbers_depend_on_the_result_alone() {
    let one =
        crate::common::tree(&[&["d a user.x=1", "f a/f user.y=2", "f b user.x=1", "h c -> b"]]);
    let other = crate::common::tree(&[
        &["f gone user.z=3", "l c -> gone", "f a user.q=7"],
        &["f b user.x=1", "h c -> b", "w gone", "d a user.x=9"],
        &["d a user.x=1", "f a/f user.y=2"],
    ]);
    let numbers = |tree: &lithify_tree::Tree| {
        let nodes: Vec<_> = tree
            .walk()
            .map(|n| {
                let inode = tree.node_inode(n);
                let numbers = (n.index(), tree.inode_id(n).index(), inode.xattrs.index());
                (tree.path(n), numbers, inode.nlink)
            })
            .collect();
        (
            nodes,
            tree.len(),
            tree.inode_count(),
            tree.xattr_set_count(),
        )
    };
    assert_eq!(numbers(&one), numbers(&other));
    assert_eq!(one.xattr_set_count(), 3);
    assert_eq!(one.inode_count(), 4);
}

#[test]
fn sizes_and_contents_are_passed_on() {
    let mut layer = LayerEntries::new();
    let entry = Entry {
        path: TreePath::clean(b"f").unwrap(),
        metadata: Metadata::default(),
        kind: EntryKind::File {
            size: u64::MAX,
            segments: None,
        },
    };
    layer
        .push(&entry, Some(lithify_tree::ContentId(7)))
        .unwrap();
    let mut merge = Merge::new();
    merge.apply(layer).unwrap();
    let tree = merge.finish();
    let f = tree.child(NodeId::ROOT, b"f").unwrap();
    let expected = InodeKind::File {
        size: u64::MAX,
        content: Some(lithify_tree::ContentId(7)),
    };
    assert_eq!(tree.node_inode(f).kind, expected);
}

/// peers.md, second product 11: a real character device 0:0 was taken for a whiteout.
#[test]
fn device_zero_is_a_device() {
    assert_tree!([["f x"], ["c x 0:0"]], ["c x 0:0"]);
    let tree = crate::common::tree(&[&["c x 4294967295:4294967295"]]);
    let x = tree.child(NodeId::ROOT, b"x").unwrap();
    let device = Device {
        major: u32::MAX,
        minor: u32::MAX,
    };
    assert_eq!(tree.node_inode(x).kind, InodeKind::CharDevice(device));
}

#[test]
fn attributes_are_a_sorted_set() {
    let mut xattrs = Xattrs::new();
    xattrs.set(b"user.b", b"1").unwrap();
    xattrs.set(b"user.a", b"").unwrap();
    xattrs.set(b"user.b", b"2").unwrap();
    let all: Vec<_> = xattrs.iter().collect();
    assert_eq!(all, [(&b"user.a"[..], &b""[..]), (b"user.b", b"2")]);
    assert_eq!(xattrs.get(b"user.a"), Some(&b""[..]));
    assert!(xattrs.remove(b"user.a") && !xattrs.remove(b"user.a"));
    assert_eq!(xattrs.len(), 1);
    for name in [&b""[..], b"user.\0", &[b'n'; 256]] {
        let error = xattrs.set(name, b"").unwrap_err();
        assert!(matches!(error, XattrError::Name { .. }));
    }
    assert!(xattrs.set(b"user.c", &vec![0; XATTR_VALUE_MAX]).is_ok());
    let length = XATTR_VALUE_MAX + 1;
    let name = b"user.c".to_vec();
    assert_eq!(
        xattrs.set(b"user.c", &vec![0; length]),
        Err(XattrError::ValueTooLong { name, length })
    );
}
