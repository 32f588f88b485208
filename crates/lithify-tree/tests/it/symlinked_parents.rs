//! Entries below symbolic links, missing parents, parents that are no directories.

use lithify_tree::{MergeError, SYMLINK_MAX};

/// peers.md, first product 15: `var/run -> /run` and `var/run/app.pid`, in most Debian images.
#[test]
fn an_entry_lands_where_the_link_leads() {
    let base = ["d run", "d var", "l var/run -> /run"];
    assert_tree!(
        [
            ["d run", "d var", "l var/run -> /run"],
            ["f var/run/app.pid"]
        ],
        ["d run", "f run/app.pid", "d var", "l var/run -> /run"]
    );
    for entry in ["d", "c", "p"] {
        let line = match entry {
            "c" => "c var/run/x 1:3".to_owned(),
            e => format!("{e} var/run/x"),
        };
        let expected = line.replace("var/run", "run");
        let tree = crate::common::tree(&[&base, &[&line]]);
        assert_eq!(crate::common::listing(&tree)[1], expected);
    }
}

/// peers.md, second product 15: the same within one layer. hypeman #98: merged `/usr`.
#[test]
fn a_link_of_the_same_layer_is_followed() {
    assert_tree!(
        [["d usr", "d usr/lib", "l lib -> usr/lib", "f lib/libc"]],
        ["l lib -> usr/lib", "d usr", "d usr/lib", "f usr/lib/libc"]
    );
}

#[test]
fn targets_are_followed_inside_the_root() {
    for target in [
        "/d", "d", "./d", "../../d", "/../../d", "x/../d", "/d/./", "//d", "d/e/..",
    ] {
        let link = format!("l l -> {target}");
        let tree = crate::common::tree(&[&["d d", "d d/e", "d x", &link, "f l/f"]]);
        let listing = crate::common::listing(&tree);
        assert!(
            listing.contains(&"f d/f".to_owned()),
            "{target}: {listing:?}"
        );
    }
    // To the root itself.
    assert_tree!([["l l -> /", "f l/f"]], ["f f", "l l -> /"]);
    assert_tree!(
        [["d d", "l d/l -> ..", "f d/l/f"]],
        ["d d", "l d/l -> ..", "f f"]
    );
}

#[test]
fn links_lead_to_links() {
    assert_tree!(
        [[
            "d d",
            "l a -> b",
            "l b -> c/e",
            "l c -> /d",
            "d d/e",
            "f a/f"
        ]],
        [
            "l a -> b",
            "l b -> c/e",
            "l c -> /d",
            "d d",
            "d d/e",
            "f d/e/f"
        ]
    );
}

/// As containerd (`mkparent`) and umoci (`MkdirAll`) do: what a link points to is made.
#[test]
fn a_dangling_link_gets_its_directory() {
    assert_tree!(
        [["l l -> /gone/deep", "f l/f"]],
        [
            "d gone @0",
            "d gone/deep @0",
            "f gone/deep/f",
            "l l -> /gone/deep"
        ]
    );
}

/// What does not exist is climbed out of by its letters (umoci, containerd); the kernel would find nothing there.
#[test]
fn climbing_out_of_what_does_not_exist_makes_nothing() {
    assert_tree!(
        [["d d", "l l -> gone/../d", "f l/f"]],
        ["d d", "f d/f", "l l -> gone/../d"]
    );
    assert_tree!(
        [["d d", "f f", "l l -> f/x/../../d", "f l/f"]],
        ["d d", "f d/f", "f f", "l l -> f/x/../../d"]
    );
    assert_tree!(
        [["l l -> gone/sub/../e", "f l/f"]],
        [
            "d gone @0",
            "d gone/e @0",
            "f gone/e/f",
            "l l -> gone/sub/../e"
        ]
    );
}

#[test]
fn loops_end() {
    for lines in [
        &["l l -> l", "f l/x"][..],
        &["l a -> b", "l b -> a", "f a/x"],
        &["l a -> a/a", "f a/x"],
        &["d d", "l d/l -> ../d/l/x", "f d/l/x"],
    ] {
        let error = crate::common::error(&[lines]);
        assert!(matches!(error, MergeError::SymlinkLoop { .. }), "{error:?}");
    }
    // A loop is fine as long as nobody goes through it.
    assert_tree!([["l l -> l"]], ["l l -> l"]);
}

#[test]
fn the_number_of_links_has_a_limit() {
    let chain = |length: usize| {
        let mut lines = vec!["d d".to_owned(), "l l0 -> d".to_owned()];
        lines.extend((1..length).map(|n| format!("l l{n} -> l{}", n - 1)));
        lines.push(format!("f l{}/x", length - 1));
        lines
    };
    let apply = |lines: &[String]| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        crate::common::try_merge(&[&lines]).map(|_| ())
    };
    assert_eq!(apply(&chain(SYMLINK_MAX)), Ok(()));
    let error = apply(&chain(SYMLINK_MAX + 1)).unwrap_err();
    assert!(matches!(error, MergeError::SymlinkLoop { .. }));
    assert_eq!(
        error.to_string(),
        "the directory of `/l40/x` lies behind more than 40 symbolic links or 4096 bytes of their targets"
    );
}

/// An entry's own name is never followed (CVE-2021-32760 of containerd: a directory entry over a symbolic link).
#[test]
fn a_directory_entry_replaces_a_link() {
    assert_tree!(
        [
            ["d etc 0700", "f etc/x", "l l -> etc"],
            ["d l 0777", "f l/y"]
        ],
        ["d etc 0700", "f etc/x", "d l 0777", "f l/y"]
    );
    assert_tree!(
        [["d etc 0700", "l l -> etc"], ["d l/. 0777"]],
        ["d etc 0700", "d l 0777"]
    );
    assert_tree!([["f t=1", "l l -> t"], ["f l=2"]], ["f l=2", "f t=1"]);
}

/// GHSA-3wgq-wrwc-vqmv (astral-tokio-tar): a prefix that was looked up before it changed.
#[test]
fn a_remembered_directory_is_forgotten_when_the_way_changes() {
    // A directory becomes a link.
    assert_tree!(
        [["d a", "f a/x", "d b", "l a -> b", "f a/y"]],
        ["l a -> b", "d b", "f b/y"]
    );
    // Further up.
    assert_tree!(
        [[
            "d a", "d a/b", "f a/b/x", "d c", "d c/b", "l a -> c", "f a/b/y"
        ]],
        ["l a -> c", "d c", "d c/b", "f c/b/y"]
    );
    // A link becomes another link, then a directory.
    assert_tree!(
        [[
            "d b", "d c", "l a -> b", "f a/x", "l a -> c", "f a/y", "d a", "f a/z"
        ]],
        ["d a", "f a/z", "d b", "f b/x", "d c", "f c/y"]
    );
    // A directory becomes a file and a directory again.
    assert_tree!([["d a", "f a/x", "f a", "d a", "f a/y"]], ["d a", "f a/y"]);
    // A hard link to a symbolic link takes its place.
    assert_tree!(
        [["d b", "l l -> b", "d a", "f a/x", "h a -> l", "f a/y"]],
        ["l a -> b", "d b", "f b/y", "h l -> a"]
    );
    // A link further along the way changes.
    assert_tree!(
        [[
            "d x", "d y", "l m -> x", "l a -> m", "f a/1", "l m -> y", "f a/2"
        ]],
        ["l a -> m", "l m -> y", "d x", "f x/1", "d y", "f y/2"]
    );
    // What a target climbed out of comes to exist, as a link elsewhere.
    assert_tree!(
        [[
            "d d",
            "l l -> gone/../d",
            "f l/1",
            "d e",
            "d e/d",
            "d e/f",
            "l gone -> e/f",
            "f l/2"
        ]],
        [
            "d d",
            "f d/1",
            "d e",
            "d e/d",
            "f e/d/2",
            "d e/f",
            "l gone -> e/f",
            "l l -> gone/../d"
        ]
    );
}

#[test]
fn nothing_lies_below_what_is_no_directory() {
    for (parent, kind) in [
        ("f p", "regular file"),
        ("c p 1:3", "character device"),
        ("b p 8:0", "block device"),
        ("p p", "named pipe"),
        ("s p", "socket"),
    ] {
        for layers in [&[&[parent, "f p/q/x"][..]][..], &[&[parent], &["d p/q/x"]]] {
            let expected = MergeError::ParentNotDirectory {
                path: b"p/q/x".to_vec(),
                component: b"p".to_vec(),
                kind,
            };
            assert_eq!(crate::common::error(layers), expected);
        }
    }
    // Behind a link.
    let error = crate::common::error(&[&["f p", "l l -> p", "f l/x"]]);
    assert_eq!(
        error.to_string(),
        "`/l/x` lies below `p`, which is a regular file"
    );
    // A whiteout clears the way.
    assert_tree!([["f p"], ["w p", "f p/x"]], ["d p @0", "f p/x"]);
}

/// peers.md, first product 16: an implied directory shadowed a lower one's metadata.
#[test]
fn a_parent_that_exists_keeps_its_metadata() {
    assert_tree!(
        [["d d 0700 7:7 @9 user.k=v", "d d/e 01777"], ["f d/e/x"]],
        ["d d 0700 7:7 @9 user.k=v", "d d/e 1777", "f d/e/x"]
    );
}

#[test]
fn missing_parents_are_made_with_a_fixed_time() {
    assert_tree!(
        [["f a/b/c/x"]],
        ["d a @0", "d a/b @0", "d a/b/c @0", "f a/b/c/x"]
    );
    let mut merge = lithify_tree::Merge::with_implicit_mtime(lithify_tree::Timestamp {
        seconds: 77,
        nanoseconds: 5,
    });
    merge
        .apply(crate::common::try_layer(&["f a/x"]).unwrap())
        .unwrap();
    assert_eq!(
        crate::common::listing(&merge.finish()),
        ["d . @77.000000005", "d a @77.000000005", "f a/x"]
    );
}

#[test]
fn no_combination_of_links_makes_a_path_too_long() {
    // `l` leads to a directory at a path of 4000 bytes.
    let deep = vec!["x".repeat(99); 40].join("/");
    let name = "y".repeat(100);
    let error = crate::common::error(&[&[
        &format!("d {deep}"),
        &format!("l l -> /{deep}"),
        &format!("f l/{}", vec!["z"; 40].join("/")),
        &format!("f l/{name}"),
    ]]);
    let expected = MergeError::PathTooLong {
        path: format!("l/{name}").into_bytes(),
        length: 4100,
    };
    assert_eq!(error, expected);
}

#[test]
fn a_directory_that_cannot_exist_is_not_made() {
    let long = "x".repeat(256);
    let error = crate::common::error(&[&[&format!("l l -> {long}"), "f l/x"]]);
    let expected = MergeError::ImpossibleDirectory {
        path: b"l/x".to_vec(),
        component: long.into_bytes(),
    };
    assert_eq!(error, expected);
}

#[test]
fn long_targets_end_the_walk() {
    let target = vec!["."; 2000].join("/");
    let lines = [
        format!("l a -> {target}/b"),
        format!("l b -> {target}"),
        "f a/x".into(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let error = crate::common::error(&[&lines]);
    assert!(matches!(error, MergeError::SymlinkLoop { .. }), "{error:?}");
}
