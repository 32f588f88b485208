//! Nothing outside the target is ever touched, whatever the image says.

use std::fs;
use std::os::unix::fs as unix;
use std::path::Path;

use crate::common::*;
use lithify_hostfs::{DirTarget, MaterialiseOptions, snapshot};
use lithify_tree::{EntryKind, LayerEntries, Merge, Tree};

/// A directory with things an escape would reach: `host/` next to the target, and links to it in the image's layers.
struct Host {
    work: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        let host = work.path().join("host");
        fs::create_dir_all(host.join("dir")).unwrap();
        fs::write(host.join("canary"), "alive").unwrap();
        fs::write(host.join("dir/canary"), "alive").unwrap();
        fs::hard_link(host.join("canary"), host.join("canary2")).unwrap();
        unix::symlink("canary", host.join("link")).unwrap();
        Self { work }
    }

    fn path(&self) -> &Path {
        self.work.path()
    }

    fn canary(&self) -> Vec<lithify_hostfs::Line> {
        snapshot(self.path().join("host")).unwrap()
    }
}

/// Applies layers, leaving out what cannot be applied, as the strictest reader would.
fn merge(target: &DirTarget, layers: &[Vec<Item>]) -> Tree {
    let mut sink = target.sink();
    let mut merge = Merge::new();
    for items in layers {
        let mut layer = LayerEntries::new();
        for (entry, data) in items {
            let content = store(&mut sink, entry, data);
            layer.push(entry, content).unwrap();
        }
        merge.apply(layer).unwrap();
    }
    merge.finish()
}

fn run(layers: impl Fn(&str) -> Vec<Vec<Item>>, check: impl Fn(&Path)) {
    let host = Host::new();
    let outside = host.path().join("host");
    let layers = layers(outside.to_str().unwrap());
    let before = host.canary();
    let out = host.path().join("out");
    let target = DirTarget::create(&out, MaterialiseOptions::default()).unwrap();
    let tree = merge(&target, &layers);
    target.finish(&tree).unwrap();
    assert_eq!(host.canary(), before);
    let mut left = names(host.path());
    left.retain(|n| !n.ends_with(".jsonl"));
    assert_eq!(left, ["host", "out"]);
    check(&out);
}

/// containerd's TestBreakouts and CVE-2021-29136: a symbolic link out, and entries below it.
#[test]
fn entries_below_symbolic_links_stay_inside() {
    for target in ["", "../", "../../../../../../../../../../.."] {
        run(
            |host| {
                let to = if target.is_empty() {
                    host.to_owned()
                } else {
                    format!("{target}{host}")
                };
                vec![
                    vec![
                        symlink("esc", &to),
                        symlink("a", "esc"),
                        symlink("up", ".."),
                    ],
                    vec![
                        file("esc/new", meta(0o644), b"evil"),
                        file("a/canary", meta(0o644), b"evil"),
                        file("up/up/host/canary", meta(0o644), b"evil"),
                        dir("esc/dir", 0o777),
                    ],
                ]
            },
            |out| {
                // They went where the links lead inside the image.
                assert_eq!(fs::read(out.join("host/canary")).unwrap(), b"evil");
                assert!(out.join("esc").is_symlink());
            },
        );
    }
}

/// CVE-2021-32760, CVE-2026-33056: metadata of a directory or hard link applied through a symbolic link.
#[test]
fn metadata_is_never_applied_through_symbolic_links() {
    run(
        |host| {
            let mut loud = symlink("dir", &format!("{host}/dir"));
            loud.0.metadata.mode = 0o777;
            loud.0.metadata.mtime = time(1, 1);
            if is_root() {
                loud.0.metadata.uid = 12345;
                loud.0.metadata.xattrs = xattrs(&[("trusted.evil", b"1")]);
            }
            vec![
                vec![loud, symlink("file", &format!("{host}/canary"))],
                vec![hard_link("file2", "file"), hard_link("dir2", "dir")],
            ]
        },
        |out| assert!(out.join("dir2").is_symlink() && out.join("file2").is_symlink()),
    );
}

/// A link replaced by a directory and back, in every order the layers can say it.
#[test]
fn type_changes_leave_no_way_out() {
    run(
        |host| {
            vec![
                vec![
                    symlink("x", host),
                    dir("y", 0o755),
                    file("y/f", meta(0o644), b"1"),
                ],
                vec![
                    dir("x", 0o700),
                    file("x/canary", meta(0o600), b"evil"),
                    symlink("y", host),
                ],
                vec![
                    file("y/canary", meta(0o600), b"evil"),
                    hard_link("z", "y/canary"),
                ],
            ]
        },
        |out| assert!(out.join("y").is_symlink()),
    );
}

/// Whiteouts remove names of the image, never of the host.
#[test]
fn whiteouts_delete_nothing_outside() {
    run(
        |host| {
            let whiteout = |name: &str| item(name, meta(0), EntryKind::Whiteout);
            vec![
                vec![
                    symlink("esc", host),
                    symlink("root", "/"),
                    dir("host", 0o755),
                ],
                vec![
                    whiteout("esc/canary"),
                    whiteout("root/host"),
                    item("esc", meta(0), EntryKind::Opaque),
                ],
            ]
        },
        |out| assert!(!out.join("host").exists()),
    );
}

/// Names that are special somewhere, but not as one component of a path.
#[test]
fn odd_names_are_just_names() {
    let odd = [
        "...",
        "..a",
        "-rf",
        "~",
        "*",
        "C:",
        "a\\b",
        "%2e%2e",
        "\u{2025}",
        " ",
        "\n",
        "staging",
        "root",
        "metadata",
        "links",
        "00000",
        ".out.lithify-0",
        "proc",
        "self",
    ];
    run(
        |_| {
            vec![
                odd.iter()
                    .flat_map(|n| {
                        [
                            dir(n, 0o755),
                            file(&format!("{n}/{n}"), meta(0o644), n.as_bytes()),
                        ]
                    })
                    .collect(),
            ]
        },
        |out| {
            for name in odd {
                assert_eq!(
                    fs::read(out.join(name).join(name)).unwrap(),
                    name.as_bytes()
                );
            }
        },
    );
}

/// Someone swaps the target's name for a symbolic link to a directory of theirs while the image is built.
#[test]
fn a_planted_link_is_not_written_through() {
    let host = Host::new();
    let before = host.canary();
    let out = host.path().join("out");
    let target = DirTarget::create(&out, MaterialiseOptions::default()).unwrap();
    let tree = merge(&target, &[vec![file("canary", meta(0o644), b"evil")]]);
    unix::symlink(host.path().join("host"), &out).unwrap();
    // And renames the work directory, leaving a link to theirs in its place.
    let work_name = names(host.path())
        .into_iter()
        .find(|n| n.starts_with(".out."))
        .unwrap();
    let work = host.path().join(work_name);
    fs::rename(&work, host.path().join("moved")).unwrap();
    unix::symlink(host.path().join("host"), &work).unwrap();
    let error = target.finish(&tree).unwrap_err();
    assert!(error.to_string().contains("is not a directory"), "{error}");
    assert_eq!(host.canary(), before);
}
