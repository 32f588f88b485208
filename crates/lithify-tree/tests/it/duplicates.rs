//! Several entries for one path in one layer: the last one counts. The specification forbids them (`layer.md`,
//! "Distributable Format"), real images have them.

/// Every pair of types, in one layer and in two: the later entry is what is there.
#[test]
fn the_later_entry_of_any_two_types_counts() {
    let kinds = [
        "f n=1", "d n", "l n -> x", "c n 1:3", "b n 8:0", "p n", "s n",
    ];
    for first in kinds {
        for second in kinds {
            let later = second.replace("=1", "=2");
            let (first, later) = (format!("{first} 0700 1:1"), format!("{later} 0711 2:2"));
            let together = crate::common::tree(&[&[&first, &later]]);
            let apart = crate::common::tree(&[&[&first], &[&later]]);
            assert_eq!(
                crate::common::listing(&together),
                [later.as_str()],
                "{first}"
            );
            assert_eq!(crate::common::listing(&apart), [later.as_str()], "{first}");
        }
    }
}

/// A hard link in place of anything, and anything in place of a hard link.
#[test]
fn hard_links_replace_and_are_replaced() {
    for other in ["f n=1", "d n", "l n -> x", "c n 1:3", "p n"] {
        let tree = crate::common::tree(&[&["f a=0", other, "h n -> a"]]);
        assert_eq!(
            crate::common::listing(&tree),
            ["f a=0", "h n -> a"],
            "{other}"
        );
        let tree = crate::common::tree(&[&["f a=0", "h n -> a", other]]);
        assert_eq!(crate::common::listing(&tree), ["f a=0", other]);
    }
}

#[test]
fn a_directory_over_a_directory_merges() {
    assert_tree!(
        [[
            "d d 0700 1:2 @3 user.a=1",
            "f d/x",
            "d d 0711 4:5 @6 user.b=2",
            "f d/y"
        ]],
        ["d d 0711 4:5 @6 user.b=2", "f d/x", "f d/y"]
    );
    assert_tree!(
        [["d d 0700", "f d/x"], ["d d 0711", "f d/y"]],
        ["d d 0711", "f d/x", "f d/y"]
    );
    // Also where the first was only implied.
    assert_tree!([["f d/x", "d d 0700"]], ["d d 0700", "f d/x"]);
}

/// peers.md, first product 14 and second product 15: a type change was skipped or refused.
#[test]
fn what_replaces_a_directory_takes_all_of_it_away() {
    assert_tree!([["d d", "f d/x", "f d"]], ["f d"]);
    assert_tree!(
        [["d d", "d d/e", "f d/e/x"], ["l d -> usr"]],
        ["l d -> usr"]
    );
    assert_tree!([["d d", "f d/x", "f d", "d d"]], ["d d"]);
    assert_tree!(
        [["d d", "f d/x"], ["f d", "d d", "f d/y"]],
        ["d d", "f d/y"]
    );
}

#[test]
fn the_last_of_many_counts() {
    let mut lines = Vec::new();
    for n in 0..1000 {
        lines.push(format!("f n={n}"));
        lines.push("d n".to_owned());
        lines.push(format!("f n/x={n}"));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let tree = crate::common::tree(&[&lines]);
    assert_eq!(crate::common::listing(&tree), ["d n", "f n/x=999"]);
}

#[test]
fn names_that_clean_to_the_same_path_are_duplicates() {
    assert_tree!(
        [["f a/b=1", "f ./a//b=2", "f /a/./b=3"]],
        ["d a @0", "f a/b=3"]
    );
}

/// Names that differ in anything are not.
#[test]
fn names_are_bytes() {
    assert_tree!(
        [["f a", "f A", "f \u{e4}", "f a\u{308}"]],
        ["f A", "f a", "f a\u{308}", "f \u{e4}"]
    );
}
