//! What is found out about a layer: each counter, and what makes a layer self-contained.

use crate::common::report;
use lithify_tree::LayerReport;

/// A base with a bit of everything.
const BASE: &[&str] = &[
    "d d",
    "d d/e",
    "f d/f",
    "d usr",
    "d usr/lib",
    "l lib -> usr/lib",
    "f t",
];

/// Those counters that are not zero.
fn counters(r: LayerReport) -> Vec<(&'static str, u64)> {
    [
        ("removed", r.removed),
        ("implicit", r.implicit_directories),
        ("borrowed", r.borrowed_directories),
        ("followed", r.followed_symlinks),
        ("lower", r.links_to_lower),
        ("forward", r.forward_links),
        ("stray", r.stray_markers),
        ("empties root", u64::from(r.empties_root)),
        ("root", u64::from(r.describes_root)),
    ]
    .into_iter()
    .filter(|(_, n)| *n != 0)
    .collect()
}

#[track_caller]
fn check(layer: &[&str], expected: &[(&str, u64)], self_contained: bool) {
    let report = report(&[BASE, layer]);
    assert_eq!(counters(report), expected, "{layer:?}");
    assert_eq!(report.is_self_contained(), self_contained, "{layer:?}");
}

#[test]
fn a_layer_that_describes_all_it_needs_is_self_contained() {
    check(&[], &[], true);
    check(&["d d", "f d/x"], &[], true);
    check(&["d .", "d d", "d d/e", "f d/e/x"], &[("root", 1)], true);
    check(&["f x", "h y -> x"], &[], true);
    // In place of something else, the way is this layer's own.
    check(&["d lib", "f lib/x"], &[], true);
    check(&["d t", "f t/x"], &[], true);
    check(&["f d", "d d", "f d/x"], &[], true);
    // A symbolic link of its own, to a directory of its own.
    check(&["d new", "l l -> new", "f l/x"], &[], true);
}

#[test]
fn removed_counts_what_markers_name() {
    check(&["w t"], &[("removed", 1)], true);
    check(&["w d"], &[("removed", 1)], true);
    check(&["d d", "o d"], &[("removed", 2)], true);
    check(&["d d", "o d", "w d/f"], &[("removed", 2)], true);
    check(&["w gone"], &[], true);
    // An overlay cannot empty its root: each name takes a whiteout.
    check(&["o ."], &[("removed", 4), ("empties root", 1)], false);
}

#[test]
fn directories_nobody_describes_are_counted() {
    check(&["f new/deep/x"], &[("implicit", 2)], false);
    check(&["f new/x", "f new/y", "d new"], &[("implicit", 1)], false);
}

#[test]
fn directories_that_only_lower_layers_describe_are_counted() {
    check(&["f d/x"], &[("borrowed", 1)], false);
    check(&["f d/e/x", "f d/y"], &[("borrowed", 2)], false);
    check(&["d d", "f d/e/x"], &[("borrowed", 1)], false);
    // Described too late: had it been a symbolic link, the entry would be elsewhere.
    check(&["f d/x", "d d"], &[("borrowed", 1)], false);
    // The root is always there.
    check(&["f x"], &[], true);
}

#[test]
fn symlinks_of_lower_layers_are_counted() {
    check(&["f lib/x"], &[("borrowed", 2), ("followed", 1)], false);
    check(
        &["d usr", "d usr/lib", "f usr/lib/x", "h y -> lib/x"],
        &[("followed", 1)],
        false,
    );
    check(
        &["d new", "l l -> gone/../new", "f l/x"],
        &[("followed", 1)],
        false,
    );
}

#[test]
fn links_to_lower_layers_are_counted() {
    check(&["h x -> t"], &[("lower", 1)], false);
    check(
        &["w t", "h x -> t"],
        &[("removed", 1), ("lower", 1), ("forward", 1)],
        false,
    );
    check(&["h t -> t"], &[("lower", 1)], false);
}

#[test]
fn links_to_what_comes_later_are_counted() {
    check(&["h x -> y", "f y"], &[("forward", 1)], false);
    check(&["h x -> y", "h z -> x", "f y"], &[("forward", 2)], false);
    // Even one that is replaced: on another base it might have been an error.
    check(&["h x -> y", "f x"], &[("forward", 1)], false);
}

#[test]
fn markers_need_their_directory() {
    // The layer alone cannot hold the marker without knowing the directory.
    check(&["w d/f"], &[("removed", 1), ("borrowed", 1)], false);
    check(&["o d"], &[("removed", 2), ("borrowed", 1)], false);
    check(&["d d", "w d/f"], &[("removed", 1)], true);
    check(&["w d/f", "d d"], &[("removed", 1)], true);
    check(&["w new/x"], &[("stray", 1)], false);
    check(&["w new/x", "w new/y", "o new"], &[("stray", 3)], false);
    check(&["d new", "w new/x"], &[], true);
    check(&["w t/x"], &[("stray", 1)], false);
    check(&["w lib/x"], &[("borrowed", 2), ("followed", 1)], false);
    check(&["d lib", "o lib"], &[], true);
    check(&["w lib", "d lib", "o lib"], &[("removed", 1)], true);
    // A marker cannot stand below its own layer's symbolic link.
    check(&["d n", "l l -> n", "w l/x"], &[("followed", 1)], false);
}
