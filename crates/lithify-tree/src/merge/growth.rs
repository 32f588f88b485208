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

/// What layers change is known without looking at what they leave alone.
#[test]
fn changes_of_small_layers_over_a_large_base() {
    let steps = |n: usize, layers: usize| {
        let mut merge = Merge::new().track_changes();
        let base = layer(files(n, |i| format!("usr/{}/{i}", i % 50)));
        merge.apply_changes(&base, 0).unwrap();
        let before = merge.tree.steps.get();
        for at in 0..layers {
            let file = EntryKind::File {
                size: 0,
                segments: None,
            };
            let target = TreePath::clean(format!("usr/1/{}", 50 * at + 1).as_bytes()).unwrap();
            let entries = [
                (format!("usr/{}/new{at}", at % 50), file),
                (format!("usr/2/link{at}"), EntryKind::HardLink { target }),
                (format!("usr/3/{}", 50 * at + 3), EntryKind::Whiteout),
            ];
            let (_, changes) = merge.apply_changes(&layer(entries.into_iter()), 0).unwrap();
            let tree = changes
                .unwrap()
                .overlay(|id, _| Ok::<_, crate::overlay::OverlayError>(id))
                .unwrap();
            // The root, `usr`, up to four directories, the file, both names of the other, the whiteout.
            assert!(tree.len() <= 10, "{}", tree.len());
        }
        merge.tree.steps.get() - before
    };
    let (few, many) = (steps(5_000, 20), steps(50_000, 20));
    assert!(few <= 20 * 200, "{few} steps");
    assert!(many <= few + 20, "{few} steps became {many}");
    let twice = steps(5_000, 40);
    assert!(twice <= 2 * few + 1_000, "{few} steps became {twice}");
}

/// One name that gets a new inode again and again takes the memory of few.
#[test]
fn what_was_replaced_is_forgotten() {
    let over = |n: usize| {
        layer((0..n).map(|i| {
            let target = format!("{i:0>4000}").into_bytes();
            ("x".to_owned(), EntryKind::Symlink { target })
        }))
    };
    let mut merge = Merge::new();
    for _ in 0..20 {
        merge.apply(over(1_000)).unwrap();
        assert!(merge.tree.memory() < 6 << 20, "{}", merge.tree.memory());
    }
    let tree = merge.finish();
    let node = tree.walk().nth(1).unwrap();
    let expected = format!("{:0>4000}", 999);
    assert!(matches!(tree.node_inode(node).kind,
        crate::InodeKind::Symlink { target } if target == expected.as_bytes()));

    let mut merge = Merge::new().limit_memory(1 << 20);
    let error = merge.apply(over(1_000)).unwrap_err();
    assert!(matches!(
        error,
        super::MergeError::TooMuchMemory { path, limit: 1_048_576, .. } if path == b"x"
    ));
}

/// Which names a file has is still known when what was replaced has been forgotten.
#[test]
fn names_of_one_file_outlast_what_is_forgotten() {
    let link = |name: &str, target: &str| {
        let target = TreePath::clean(target.as_bytes()).unwrap();
        (name.to_owned(), EntryKind::HardLink { target })
    };
    let mut merge = Merge::new().track_changes();
    let base = files(1, |_| "d/a".to_owned()).chain([link("d/b", "d/a"), link("d/gone", "d/a")]);
    merge.apply_changes(&layer(base), 0).unwrap();
    let many = files(70_000, |_| "x".to_owned());
    let gone = ("d/gone".to_owned(), EntryKind::Whiteout);
    merge.apply_changes(&layer(many.chain([gone])), 0).unwrap();
    let inodes = merge.tree.inode_count();
    let (_, changes) = merge
        .apply_changes(&layer([link("d/c", "d/a")].into_iter()), 0)
        .unwrap();
    assert!(merge.tree.inode_count() < inodes / 1000);
    let tree = changes
        .unwrap()
        .overlay(|id, _| Ok::<_, crate::overlay::OverlayError>(id))
        .unwrap();
    let names: Vec<_> = tree.walk().map(|node| tree.path(node)).collect();
    assert_eq!(names, [&b""[..], b"d", b"d/a", b"d/b", b"d/c"]);
    assert_eq!(tree.inode_count(), 3);
}

/// Layers that each remove a few names do not pass over those that others removed.
#[test]
fn layers_that_remove_names_of_one_directory() {
    let steps = |layers: usize| {
        let mut merge = Merge::new().track_changes();
        let base = layer(files(50 * layers + 1, |i| format!("d/{i}")));
        merge.apply_changes(&base, 0).unwrap();
        let before = merge.tree.steps.get();
        for at in 0..layers {
            // The newest that are left.
            let path = |i| format!("d/{}", 50 * (layers - at) - i);
            let (_, changes) = merge
                .apply_changes(&layer(all(50, EntryKind::Whiteout, path)), 0)
                .unwrap();
            assert!(changes.is_some());
        }
        merge.tree.steps.get() - before
    };
    let (few, many) = (steps(20), steps(200));
    assert!(many <= 11 * few, "{few} steps became {many}");
}
