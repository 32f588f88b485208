//! Work grows no faster than the input (GHSA-rp3h-jf77-q9p4: containerd's did). Counted in lookups, insertions and
//! removals, not in time.

use super::Merge;
use crate::{Entry, EntryKind, LayerEntries, Metadata, TreePath};

fn layer(entries: impl Iterator<Item = (String, EntryKind)>) -> LayerEntries {
    let mut layer = LayerEntries::new();
    for (path, kind) in entries {
        let entry = Entry {
            path: TreePath::clean(path.as_bytes()).unwrap(),
            metadata: Metadata::default(),
            kind,
        };
        layer.push(&entry, None).unwrap();
    }
    layer
}

fn files(
    count: usize,
    path: impl Fn(usize) -> String,
) -> impl Iterator<Item = (String, EntryKind)> {
    let file = EntryKind::File {
        size: 0,
        segments: None,
    };
    (0..count).map(move |n| (path(n), file.clone()))
}

fn all(
    count: usize,
    kind: EntryKind,
    path: impl Fn(usize) -> String,
) -> impl Iterator<Item = (String, EntryKind)> {
    (0..count).map(move |n| (path(n), kind.clone()))
}

fn steps(layers: impl IntoIterator<Item = LayerEntries>) -> u64 {
    let mut merge = Merge::new();
    for layer in layers {
        merge.apply(layer).unwrap();
    }
    merge.tree.steps.get()
}

/// Twice the input, at most twice the work, and not much work at all.
#[track_caller]
fn check(per_entry: u64, make: impl Fn(usize) -> Vec<LayerEntries>) {
    const N: usize = 2_000;
    let entries = |layers: &[LayerEntries]| layers.iter().map(|l| l.len() as u64).sum::<u64>();
    let (once, twice) = (make(N), make(2 * N));
    let bound = per_entry * entries(&once) + 1_000;
    let (once, twice) = (steps(once), steps(twice));
    assert!(once <= bound, "{once} steps, expected at most {bound}");
    assert!(twice <= 2 * once + 1_000, "{once} steps became {twice}");
}

#[test]
fn one_wide_directory() {
    check(2, |n| vec![layer(files(n, |i| format!("d/{i}")))]);
}

#[test]
fn whiteouts_of_a_wide_directory() {
    check(4, |n| {
        let base = layer(files(n, |i| format!("d/{i}")));
        vec![
            base,
            layer(all(n, EntryKind::Whiteout, |i| format!("d/{i}"))),
        ]
    });
}

#[test]
fn whiteouts_of_nothing() {
    check(4, |n| {
        vec![layer(all(n, EntryKind::Whiteout, |i| format!("{i}/x")))]
    });
}

#[test]
fn opaque_markers_over_a_wide_directory() {
    check(5, |n| {
        let base = layer(files(n, |i| format!("p/d/{i}")));
        let path = |i| if i % 2 == 0 { "p/d" } else { "p" }.to_owned();
        vec![base, layer(all(n, EntryKind::Opaque, path))]
    });
}

#[test]
fn many_layers_over_one_directory() {
    check(6, |n| {
        let opaque = |_| all(1, EntryKind::Opaque, |_| "d".into());
        let full = |l| layer(files(20, |i| format!("d/{i}")).chain(opaque(l)));
        (0..n / 20).map(full).collect()
    });
}

#[test]
fn new_directories_over_a_large_base() {
    check(4, |n| {
        let base = layer(files(n, |i| format!("usr/{}/{i}", i % 50)));
        vec![
            base,
            layer(all(n, EntryKind::Directory, |i| format!("new{i}"))),
        ]
    });
}

#[test]
fn a_directory_replaced_again_and_again() {
    check(5, |n| {
        let kind = |i| match i % 3 {
            0 => ("d/x".to_owned(), EntryKind::Fifo),
            1 => ("d".to_owned(), EntryKind::Fifo),
            _ => ("d".to_owned(), EntryKind::Directory),
        };
        vec![layer((0..n).map(kind))]
    });
}

#[test]
fn chains_of_forward_links() {
    let links = |n: usize, to: fn(usize) -> usize| {
        let link = move |i: usize| {
            let target = TreePath::clean(format!("l{}", to(i)).as_bytes()).unwrap();
            (format!("l{i}"), EntryKind::HardLink { target })
        };
        (1..=n).map(link)
    };
    check(6, move |n| {
        let last = (format!("l{}", n + 1), EntryKind::Fifo);
        vec![layer(links(n, |i| i + 1).chain([last]))]
    });
    check(6, move |n| {
        vec![layer(
            links(n, |i| i - 1).chain([("l0".into(), EntryKind::Fifo)]),
        )]
    });
}

/// The worst an entry can cost: 40 links, 4096 bytes of targets.
#[test]
fn symlink_expansion_has_a_bound_for_each_entry() {
    const BOUND: u64 = 4096 / 2 + 4096 / 2 + 40;
    check(BOUND, |n| {
        let deep = ["a", "b"].map(|way| vec![way; 2_000].join("/"));
        let mut entries = Vec::new();
        for (way, deep) in ["a", "b"].into_iter().zip(&deep) {
            let target = deep.clone().into_bytes();
            entries.push((deep.clone(), EntryKind::Directory));
            entries.push((format!("l{way}"), EntryKind::Symlink { target }));
        }
        let ways = move |i| format!("l{}/{i}", if i % 2 == 0 { "a" } else { "b" });
        vec![layer(entries.into_iter().chain(all(
            n / 20,
            EntryKind::Fifo,
            ways,
        )))]
    });
}
