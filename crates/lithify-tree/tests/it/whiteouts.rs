//! Whiteouts and opaque markers: image-spec, `layer.md`, "Whiteouts".

use lithify_tree::MergeError;

/// The example of the specification, in both orders that it calls equivalent.
#[test]
fn the_example_of_the_specification() {
    let base = ["d a", "d a/b", "d a/b/c", "f a/b/c/bar"];
    let merged = ["d a", "d a/b", "d a/b/c", "f a/b/c/foo"];
    for upper in [
        ["d a", "f a/.wh..wh..opq", "d a/b", "d a/b/c", "f a/b/c/foo"],
        ["d a", "d a/b", "d a/b/c", "f a/b/c/foo", "f a/.wh..wh..opq"],
    ] {
        assert_eq!(
            crate::common::listing(&crate::common::tree(&[&base, &upper])),
            merged
        );
    }
}

/// The specification's equivalence of an opaque marker and a whiteout for each child.
#[test]
fn an_opaque_marker_is_a_whiteout_of_each_child() {
    let base = [
        "d bin",
        "f bin/app",
        "f bin/tools",
        "d bin/d",
        "f bin/d/one",
        "f etc",
    ];
    let opaque = crate::common::tree(&[&base, &["o bin"]]);
    let explicit = crate::common::tree(&[&base, &["w bin/app", "w bin/tools", "w bin/d"]]);
    assert_eq!(crate::common::listing(&opaque), ["d bin", "f etc"]);
    assert_eq!(crate::common::listing(&explicit), ["d bin", "f etc"]);
}

#[test]
fn a_whiteout_removes_a_subtree() {
    assert_tree!(
        [["d a", "d a/b", "f a/b/c", "f a/d"], ["w a/b"]],
        ["d a", "f a/d"]
    );
}

/// peers.md, first product 5 and second product 6: a whiteout removed the file of its own layer.
#[test]
fn a_whiteout_leaves_its_own_layer_alone() {
    for upper in [["w conf", "f conf=new"], ["f conf=new", "w conf"]] {
        let tree = crate::common::tree(&[&["f conf=old"], &upper]);
        assert_eq!(crate::common::listing(&tree), ["f conf=new"]);
        let alone = crate::common::tree(&[&upper]);
        assert_eq!(crate::common::listing(&alone), ["f conf=new"]);
    }
}

/// peers.md, first product 4: a file removed by one layer and added by the next was missing.
#[test]
fn a_path_may_come_back() {
    assert_tree!(
        [["d a", "f a/x=1"], ["w a/x"], ["f a/x=3"]],
        ["d a", "f a/x=3"]
    );
    assert_tree!(
        [["d a", "f a/x=1"], ["w a"], ["d a 0700"], ["f a/y"]],
        ["d a 0700", "f a/y"]
    );
}

/// peers.md, first product 3: an opaque marker in a directory; second product 5: before its directory's own entry.
#[test]
fn an_opaque_marker_may_stand_anywhere() {
    let base = ["d d", "f d/old", "d d/sub", "f d/sub/old"];
    let orders = [
        ["o d", "d d 0700", "f d/new"],
        ["o d", "f d/new", "d d 0700"],
        ["d d 0700", "o d", "f d/new"],
        ["d d 0700", "f d/new", "o d"],
        ["f d/new", "o d", "d d 0700"],
        ["f d/new", "d d 0700", "o d"],
    ];
    for upper in orders {
        let tree = crate::common::tree(&[&base, &upper]);
        assert_eq!(
            crate::common::listing(&tree),
            ["d d 0700", "f d/new"],
            "{upper:?}"
        );
    }
}

/// peers.md, second product 4: an opaque marker at the image root was ignored.
#[test]
fn the_root_may_be_opaque() {
    let base = ["d . 0700", "d etc", "f etc/old", "f top"];
    for upper in [["f .wh..wh..opq", "f new"], ["f new", "f ./.wh..wh..opq"]] {
        let tree = crate::common::tree(&[&base, &upper]);
        assert_eq!(crate::common::listing(&tree), ["d . 0700", "f new"]);
    }
}

#[test]
fn an_opaque_directory_keeps_its_lower_metadata() {
    assert_tree!(
        [["d d 0700 1:2 @9 user.k=v", "f d/x"], ["o d"]],
        ["d d 0700 1:2 @9 user.k=v"]
    );
}

#[test]
fn markers_for_what_is_not_there_do_nothing() {
    // No directory is made for a marker either.
    assert_tree!([["w a", "w b/c", "o d", "o e/f"]], []);
    // Below a file, a dangling symbolic link or a loop there is nothing to remove.
    assert_tree!(
        [
            ["f f", "l dangling -> gone", "l loop -> loop"],
            [
                "w f/x",
                "o f",
                "w dangling/x",
                "o dangling",
                "w loop/x",
                "o loop"
            ]
        ],
        ["l dangling -> gone", "f f", "l loop -> loop"]
    );
}

#[test]
fn a_whiteout_inside_an_opaque_directory_adds_nothing() {
    for upper in [["o d", "w d/x"], ["w d/x", "o d"]] {
        let tree = crate::common::tree(&[&["d d", "f d/x", "f d/y"], &upper]);
        assert_eq!(crate::common::listing(&tree), ["d d"]);
        assert_eq!(
            crate::common::report(&[&["d d", "f d/x", "f d/y"], &upper]).removed,
            2
        );
    }
}

#[test]
fn nested_markers_mean_the_same_in_every_order() {
    let base = ["d a", "d a/b", "f a/b/x", "f a/y"];
    for upper in [
        ["w a", "w a/b", "o a"],
        ["o a", "w a/b", "w a"],
        ["w a/b", "o a", "w a"],
    ] {
        let (tree, reports) = crate::common::try_merge(&[&base, &upper]).unwrap();
        assert_eq!(crate::common::listing(&tree), [""; 0]);
        assert_eq!(
            reports[1].removed, 3,
            "a, a/b and a/y are named by a marker"
        );
    }
}

/// A directory that comes back only by what is in it is a new one: nothing of the removed one's metadata is left.
/// (umoci takes the metadata of the removed one when the whiteout comes after the child.)
#[test]
fn a_removed_directory_that_comes_back_without_an_entry_is_new() {
    for upper in [["w d", "f d/new"], ["f d/new", "w d"]] {
        let tree = crate::common::tree(&[&["d d 0700 1:2 @9", "f d/old"], &upper]);
        assert_eq!(crate::common::listing(&tree), ["d d @0", "f d/new"]);
    }
}

#[test]
fn a_removed_directory_may_come_back_as_anything() {
    let base = ["d d", "f d/x"];
    for (upper, merged) in [
        (["w d", "f d=file"], "f d=file"),
        (["f d=file", "w d"], "f d=file"),
        (["w d", "l d -> e"], "l d -> e"),
        (["c d 1:3", "w d"], "c d 1:3"),
    ] {
        assert_eq!(
            crate::common::listing(&crate::common::tree(&[&base, &upper])),
            [merged],
            "{upper:?}"
        );
    }
}

/// A whiteout of a symbolic link removes the link, not what it points to (containerd: WhiteoutSymlink).
#[test]
fn a_whiteout_does_not_follow_the_name_it_removes() {
    assert_tree!(
        [["d etc", "f etc/x", "l e -> etc"], ["w e"]],
        ["d etc", "f etc/x"]
    );
}

/// containerd: WhiteoutSymlinkPath.
#[test]
fn a_marker_follows_symbolic_links_to_its_directory() {
    let base = ["d etc", "f etc/x", "f etc/y", "l e -> /etc", "l f -> e"];
    assert_tree!(
        [["d etc", "f etc/x", "l e -> /etc"], ["w e/x"]],
        ["l e -> /etc", "d etc"]
    );
    for upper in [["o e"], ["o f"]] {
        let tree = crate::common::tree(&[&base, &upper]);
        assert_eq!(
            crate::common::listing(&tree),
            ["l e -> /etc", "d etc", "l f -> e"]
        );
    }
}

/// overlayfs marks a directory that took a symbolic link's place opaque, and container engines write that marker into
/// the layer. The directory the link led to is not meant.
#[test]
fn a_marker_in_a_directory_that_replaces_a_symlink_is_about_the_directory() {
    let base = ["d usr", "d usr/lib", "f usr/lib/libc", "l lib -> usr/lib"];
    for upper in [
        ["d lib", "o lib", "f lib/x"],
        ["o lib", "d lib", "f lib/x"],
        ["d lib", "f lib/x", "o lib"],
        ["d lib", "w lib/libc", "f lib/x"],
        ["w lib/libc", "d lib", "f lib/x"],
        ["d lib/", "w ./lib/libc", "f lib/x"],
    ] {
        let tree = crate::common::tree(&[&base, &upper]);
        assert_eq!(
            crate::common::listing(&tree),
            ["d lib", "f lib/x", "d usr", "d usr/lib", "f usr/lib/libc"],
            "{upper:?}"
        );
    }
}

/// The same when the layer removes the link by a whiteout: its directory is a new one, even without an entry.
#[test]
fn a_marker_does_not_follow_a_link_that_its_layer_removes() {
    let base = ["d usr", "f usr/x", "l lib -> usr"];
    for upper in [
        ["w lib", "w lib/x", "f lib/y"],
        ["w lib/x", "f lib/y", "w lib"],
        ["o lib", "f lib/y", "w lib"],
        ["w lib", "o lib", "f lib/y"],
    ] {
        let tree = crate::common::tree(&[&base, &upper]);
        let merged = ["d lib @0", "f lib/y", "d usr", "f usr/x"];
        assert_eq!(crate::common::listing(&tree), merged, "{upper:?}");
    }
    // An opaque directory hides the links in it.
    let base = ["d d", "l d/l -> /usr", "d usr", "f usr/x"];
    for upper in [["o d", "w d/l/x"], ["w d/l/x", "o d"]] {
        let tree = crate::common::tree(&[&base, &upper]);
        assert_eq!(crate::common::listing(&tree), ["d d", "d usr", "f usr/x"]);
    }
}

/// A marker speaks of the lower layers: a symbolic link of its own layer does not lead it elsewhere.
#[test]
fn a_marker_does_not_follow_links_of_its_own_layer() {
    let base = ["d a", "f a/x", "d b", "f b/x"];
    for upper in [["l l -> a", "w l/x"], ["w l/x", "l l -> a"]] {
        let tree = crate::common::tree(&[&base, &upper]);
        assert_eq!(
            crate::common::listing(&tree),
            ["d a", "f a/x", "d b", "f b/x", "l l -> a"]
        );
    }
    // A link that the layer points elsewhere leads where it led below.
    let base = ["d a", "f a/x", "d b", "f b/x", "l l -> a"];
    for upper in [["l l -> b", "w l/x"], ["w l/x", "l l -> b"]] {
        let tree = crate::common::tree(&[&base, &upper]);
        assert_eq!(
            crate::common::listing(&tree),
            ["d a", "d b", "f b/x", "l l -> b"]
        );
    }
}

#[test]
fn a_marker_goes_through_what_does_not_exist_by_its_letters() {
    // See `symlinked_parents.rs`: what umoci and containerd make of such a target.
    assert_tree!(
        [["d a", "f a/x", "l l -> gone/../a"], ["w l/x"]],
        ["d a", "l l -> gone/../a"]
    );
}

/// A whiteout of a directory and an entry deep below it.
#[test]
fn whiteout_and_re_add_with_children() {
    assert_tree!(
        [
            ["d a", "d a/b", "d a/b/c", "f a/b/c/old", "f a/b/old"],
            ["w a/b", "d a/b 0711", "d a/b/c 0700", "f a/b/c/new"]
        ],
        ["d a", "d a/b 0711", "d a/b/c 0700", "f a/b/c/new"]
    );
}

#[test]
fn a_marker_for_the_root_itself_does_not_exist() {
    // A source that makes entries without the naming convention could still hand one in.
    assert_tree!([["f x"], ["w ."]], ["f x"]);
}

/// peers.md, second product 7: a whiteout in a new directory became a device in the image.
#[test]
fn no_marker_is_left_in_the_tree() {
    assert_tree!([["d n", "f n/.wh.gone", "f n/.wh..wh..opq"]], ["d n"]);
}

#[test]
fn reserved_names_are_refused_whoever_brings_them() {
    use lithify_tree::{Entry, EntryKind, LayerEntries, Merge, Metadata, TreePath};
    for path in ["etc/.wh.x", ".wh.", ".wh..wh..opq", ".wh.d/x"] {
        let mut layer = LayerEntries::new();
        let entry = Entry {
            path: TreePath::clean(path.as_bytes()).unwrap(),
            metadata: Metadata::default(),
            kind: EntryKind::Fifo,
        };
        layer.push(&entry, None).unwrap();
        let error = Merge::new().apply(layer).unwrap_err();
        assert!(
            matches!(
                error,
                MergeError::ReservedName { .. } | MergeError::ImpossibleDirectory { .. }
            ),
            "{error:?}"
        );
    }
    assert_refused!(
        [["l l -> .wh.d", "f l/x"]],
        MergeError::ImpossibleDirectory { .. }
    );
}
