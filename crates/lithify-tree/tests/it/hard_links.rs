//! Hard links: image-spec, `layer.md`, "Hardlinks": to anything but directories, in this layer or a lower one.

use lithify_tree::MergeError;

#[test]
fn all_names_share_one_inode() {
    let tree = crate::common::tree(&[&["f a=1 0600 1:2 @3", "h b -> a", "d d", "h d/c -> b"]]);
    assert_eq!(
        crate::common::listing(&tree),
        ["f a=1 0600 1:2 @3", "h b -> a", "d d", "h d/c -> a"]
    );
    let a = tree.child(lithify_tree::NodeId::ROOT, b"a").unwrap();
    assert_eq!(tree.node_inode(a).nlink, 3);
    assert_eq!(tree.inode_count(), 3);
}

/// peers.md, second product 14: links to symbolic links and devices were refused (nydus #2006 too).
#[test]
fn a_link_may_be_to_anything_but_a_directory() {
    for target in ["l t -> x", "c t 1:3", "b t 8:0", "p t", "s t", "f t=x"] {
        let tree = crate::common::tree(&[&[target, "h u -> t"]]);
        assert_eq!(crate::common::listing(&tree), [target, "h u -> t"]);
    }
    assert_refused!(
        [["d t", "h u -> t"]],
        MergeError::LinkTargetIsDirectory { .. }
    );
    assert_refused!([["h u -> ."]], MergeError::LinkTargetIsDirectory { .. });
    // Also when the directory comes later.
    assert_refused!(
        [["h u -> t", "d t"]],
        MergeError::LinkTargetIsDirectory { .. }
    );
}

/// peers.md, second product 14: a link before its target.
#[test]
fn a_link_may_come_before_its_target() {
    assert_tree!([["h b -> a", "f a=1"]], ["f a=1", "h b -> a"]);
    assert_tree!([["h b -> a", "l a -> x"]], ["l a -> x", "h b -> a"]);
    // A chain of such links, in both directions.
    assert_tree!(
        [["h d -> c", "h c -> b", "h b -> a", "f a"]],
        ["f a", "h b -> a", "h c -> a", "h d -> a"]
    );
    assert_tree!(
        [["h b -> a", "h c -> b", "h d -> c", "f a"]],
        ["f a", "h b -> a", "h c -> a", "h d -> a"]
    );
}

/// peers.md, first product 13: a link to a lower layer's file was missing; crane #977 and #2002.
#[test]
fn a_link_may_be_to_a_lower_layer() {
    assert_tree!([["f a=1"], ["h b -> a"]], ["f a=1", "h b -> a"]);
    assert_tree!([["f a=1"], ["h b -> a"], ["f a=2"]], ["f a=2", "f b=1"]);
    assert_tree!([["f a=1", "h b -> a"], ["w a"]], ["f b=1"]);
    assert_tree!([["f a=1"], ["h b -> a"], ["w a"]], ["f b=1"]);
}

#[test]
fn a_link_means_what_its_target_is_at_that_point() {
    // A tar that has the target twice: the link is to the first, which then lives on under its name.
    assert_tree!([["f a=1", "h b -> a", "f a=2"]], ["f a=2", "f b=1"]);
    // The same with the first in a lower layer. (A tar is extracted in order; what else it could mean cannot be told
    // from this one.)
    assert_tree!([["f a=1"], ["h b -> a", "f a=2"]], ["f a=2", "f b=1"]);
    assert_tree!([["f a=1"], ["f a=2", "h b -> a"]], ["f a=2", "h b -> a"]);
}

/// A layer may remove a name and link to the inode it had, whichever of the two comes first.
#[test]
fn a_link_may_be_to_what_its_layer_removes() {
    for upper in [["w a", "h b -> a"], ["h b -> a", "w a"]] {
        assert_eq!(
            crate::common::listing(&crate::common::tree(&[&["f a=1"], &upper])),
            ["f b=1"]
        );
    }
    let base = ["d d", "d d/e", "f d/e/a=1", "l l -> d/e"];
    for marker in ["w d", "w d/e", "w d/e/a", "o d", "o d/e", "o ."] {
        for upper in [[marker, "h b -> d/e/a"], ["h b -> d/e/a", marker]] {
            let tree = crate::common::tree(&[&base, &upper]);
            assert_eq!(crate::common::listing(&tree)[0], "f b=1", "{upper:?}");
        }
    }
    // The removed directory is there again, with something else in it.
    assert_tree!(
        [["d d", "f d/a=1"], ["w d", "d d", "f d/x", "h b -> d/a"]],
        ["f b=1", "d d", "f d/x"]
    );
    // Through a symbolic link that is still there.
    assert_tree!(
        [["d d", "f d/a=1", "l l -> d"], ["w d/a", "h b -> l/a"]],
        ["f b=1", "d d", "l l -> d"]
    );
}

#[test]
fn a_removed_target_that_comes_back_is_the_new_one() {
    for upper in [
        ["w a", "h b -> a", "f a=2"],
        ["w a", "f a=2", "h b -> a"],
        ["h b -> a", "f a=2", "w a"],
    ] {
        let tree = crate::common::tree(&[&["f a=1"], &upper]);
        assert_eq!(
            crate::common::listing(&tree),
            ["f a=2", "h b -> a"],
            "{upper:?}"
        );
    }
}

#[test]
fn a_removed_directory_cannot_be_linked_to() {
    assert_refused!(
        [["d d"], ["w d", "h b -> d"]],
        MergeError::LinkTargetIsDirectory { .. }
    );
}

#[test]
fn a_target_that_exists_nowhere_is_an_error() {
    let error = crate::common::error(&[&["f x"], &["d d", "h d/b -> gone/a", "f y"]]);
    let missing = MergeError::LinkTargetMissing {
        path: b"d/b".to_vec(),
        target: b"gone/a".to_vec(),
    };
    assert_eq!(error, missing);
    assert_eq!(
        error.to_string(),
        "`/d/b` is a hard link to `/gone/a`, which does not exist in this layer or a lower one"
    );
    // Removed by an earlier layer.
    assert_refused!(
        [["f a"], ["w a"], ["h b -> a"]],
        MergeError::LinkTargetMissing { .. }
    );
    // Below a file, behind a loop.
    assert_refused!(
        [["f a", "h b -> a/x"]],
        MergeError::LinkTargetMissing { .. }
    );
    assert_refused!(
        [["l a -> a", "h b -> a/x"]],
        MergeError::LinkTargetMissing { .. }
    );
}

#[test]
fn links_that_only_name_each_other_name_nothing() {
    assert_refused!([["h a -> a"]], MergeError::LinkTargetMissing { .. });
    assert_refused!(
        [["h a -> b", "h b -> a"]],
        MergeError::LinkTargetMissing { .. }
    );
    assert_refused!(
        [["h a -> b", "h b -> c", "h c -> b"]],
        MergeError::LinkTargetMissing { .. }
    );
    assert_refused!(
        [["h a -> b", "h c -> a", "h b -> c"]],
        MergeError::LinkTargetMissing { .. }
    );
}

#[test]
fn a_link_to_itself_changes_nothing_where_there_is_something() {
    assert_tree!([["f a=1", "h a -> a"]], ["f a=1"]);
    assert_tree!([["f a=1"], ["h a -> a"]], ["f a=1"]);
    assert_tree!(
        [["f a=1", "l l -> ."], ["h a -> l/a", "h l/a -> a"]],
        ["f a=1", "l l -> ."]
    );
    assert_refused!(
        [["d a", "h a -> a"]],
        MergeError::LinkTargetIsDirectory { .. }
    );
}

/// peers.md, first product 13: a link over an existing path was skipped, the old content stayed.
#[test]
fn a_link_replaces_what_has_its_name() {
    assert_tree!(
        [["f a=old", "f t=new"], ["h a -> t"]],
        ["f a=new", "h t -> a"]
    );
    assert_tree!([["d a", "f a/x", "f t"], ["h a -> t"]], ["f a", "h t -> a"]);
    assert_tree!([["l a -> x", "f t"], ["h a -> t"]], ["f a", "h t -> a"]);
    // A directory that holds the target itself.
    assert_tree!([["d d", "f d/f=1"], ["h d -> d/f"]], ["f d=1"]);
}

#[test]
fn later_entries_replace_a_link() {
    assert_tree!([["f a=1", "h b -> a", "f b=2"]], ["f a=1", "f b=2"]);
    assert_tree!([["f a=1", "h b -> a"], ["f b=2"]], ["f a=1", "f b=2"]);
    assert_tree!([["f a=1", "h b -> a", "d b"]], ["f a=1", "d b"]);
    // One that still waits, even for something that never comes: there is no such link any more.
    assert_tree!([["h b -> a", "f b=2", "f a=1"]], ["f a=1", "f b=2"]);
    assert_tree!([["h b -> gone", "f b=2"]], ["f b=2"]);
    assert_tree!([["d d", "h d/b -> gone", "f d"]], ["f d"]);
    assert_tree!([["d d", "d d/e", "h d/e/b -> gone", "f d", "d d"]], ["d d"]);
}

#[test]
fn a_link_to_a_waiting_link_waits_for_the_same() {
    // The link in the middle is something else in the end.
    assert_tree!(
        [["h b -> a", "h c -> b", "f b=2", "f a=1"]],
        ["f a=1", "f b=2", "h c -> a"]
    );
    assert_refused!(
        [["h b -> a", "h c -> b", "f b=2"]],
        MergeError::LinkTargetMissing { .. }
    );
}

/// The error names the link as the layer has it, not what it turned out to wait for.
#[test]
fn the_error_of_a_chain_names_the_entry() {
    let error = crate::common::error(&[&["h b -> a", "h c -> b", "f b=2"]]);
    let expected = MergeError::LinkTargetMissing {
        path: b"c".to_vec(),
        target: b"b".to_vec(),
    };
    assert_eq!(error, expected);
}

/// CVE class of containerd's Hardlink* breakouts: the way to a target stays inside the root.
#[test]
fn the_way_to_a_target_may_lead_through_symlinks() {
    assert_tree!(
        [["d usr", "f usr/a=1", "l lib -> ../../usr", "h b -> lib/a"]],
        ["f b=1", "l lib -> ../../usr", "d usr", "h usr/a -> b"]
    );
    // Also for one that comes later, and through a link that comes later.
    assert_tree!(
        [["h b -> lib/a", "d usr", "l lib -> /usr", "f lib/a=1"]],
        ["f b=1", "l lib -> /usr", "d usr", "h usr/a -> b"]
    );
}

#[test]
fn the_last_component_of_a_target_is_not_followed() {
    assert_tree!(
        [["f t", "l s -> t", "h u -> s"]],
        ["l s -> t", "f t", "h u -> s"]
    );
}

#[test]
fn a_linked_symlink_leads_where_it_did() {
    assert_tree!(
        [["d d", "l s -> d", "h t -> s", "f t/x"], ["f s/y"]],
        ["d d", "f d/x", "f d/y", "l s -> d", "h t -> s"]
    );
    // Replacing one of its names leaves the other.
    assert_tree!(
        [["d d", "l s -> d", "h t -> s"], ["d s", "f s/x", "f t/y"]],
        ["d d", "f d/y", "d s", "f s/x", "l t -> d"]
    );
}

#[test]
fn nothing_lies_below_a_waiting_link() {
    let error = crate::common::error(&[&["h p -> s", "f p/x", "l s -> d", "d d"]]);
    let expected = MergeError::ParentNotDirectory {
        path: b"p/x".to_vec(),
        component: b"p".to_vec(),
        kind: "hard link",
    };
    assert_eq!(error, expected);
}

/// GHSA of "nlink > 65k": the count is 32 bits wide here.
#[test]
fn an_inode_may_have_many_names() {
    let mut lines = vec!["f a".to_owned()];
    lines.extend((0..70_000).map(|n| format!("h b{n} -> a")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let tree = crate::common::tree(&[&lines]);
    let a = tree.child(lithify_tree::NodeId::ROOT, b"a").unwrap();
    assert_eq!(tree.node_inode(a).nlink, 70_001);
    assert_eq!(tree.inode_count(), 2);
}

#[test]
fn metadata_of_a_link_entry_does_not_count() {
    assert_tree!(
        [["f a 0600 1:2 @3", "h b -> a 0777 7:8 @9"]],
        ["f a 0600 1:2 @3", "h b -> a"]
    );
}
