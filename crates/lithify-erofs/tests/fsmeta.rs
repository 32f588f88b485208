//! Merged images of layers: equal to the flat image of the same layers, for this crate's reader, for erofs-utils and
//! for the kernel, with devices, as one device, and as an overlay of the layers themselves.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;
mod layers;

use std::path::Path;

use common::{Content, acl, check_image, check_mounted, metadata, pattern, with_xattrs};
use layers::{Files, Layer, What, build};
use lithify_erofs::{FsmetaOptions, Image};
use lithify_testkit::{Allow, Field, Mount, Snapshot, require, run};
use lithify_tree::{Device, EntryKind, Metadata, Timestamp};

/// A base, something over it, and something over that: every kind of change.
fn stack() -> Vec<Layer> {
    let sparse = |seed: usize| {
        What::Data(Content {
            size: 10_000_000,
            parts: vec![
                (0, pattern(seed, 5000)),
                (1 << 20, pattern(seed + 1, 70_000)),
                (9_000_000, pattern(seed + 2, 4096)),
            ],
        })
    };
    let root = Metadata {
        uid: 5,
        mtime: Timestamp {
            seconds: -5,
            nanoseconds: 7,
        },
        ..metadata(0o711)
    };
    let base = Layer::default()
        .add("", root, What::Directory)
        .directory("bin")
        .add(
            "bin/ping",
            with_xattrs(&[("security.capability", &pattern(1, 20)), ("user.a", b"")]),
            What::Data(Content::plain(&pattern(1, 9000))),
        )
        .pattern("bin/sh", 5_000_000)
        .add("bin/bash", metadata(0o755), What::Link("bin/sh".into()))
        .directory("etc")
        .file("etc/empty", b"")
        .pattern("etc/passwd", 1)
        .pattern("etc/group", 4096)
        .add(
            "etc/link",
            metadata(0o777),
            What::Symlink(b"passwd".to_vec()),
        )
        .directory("var")
        .directory("var/cache")
        .pattern("var/cache/a", 4097)
        .pattern("var/cache/b", 12_288)
        .directory("var/sub")
        .pattern("var/sub/gone", 77)
        .directory("dev")
        .add(
            "dev/null",
            metadata(0o666),
            What::Node(EntryKind::CharDevice(Device { major: 1, minor: 3 })),
        )
        .add("dev/pipe", metadata(0o600), What::Node(EntryKind::Fifo))
        .add("holes", metadata(0o644), sparse(3))
        .add(
            "all-hole",
            metadata(0o644),
            What::Data(Content {
                size: 123_456,
                parts: Vec::new(),
            }),
        );
    let middle = Layer::default()
        .directory("etc")
        .whiteout("etc/passwd")
        .whiteout("etc/never-was")
        .pattern("etc/group", 100)
        .add(
            "var",
            with_xattrs(&[
                ("trusted.overlay.opaque", b"y"),
                ("trusted.overlay.redirect", b"/etc"),
            ]),
            What::Directory,
        )
        .directory("var/cache")
        .opaque("var/cache")
        .pattern("var/cache/c", 333)
        .whiteout("var/sub")
        .add(
            "acl",
            with_xattrs(&[(
                "system.posix_acl_access",
                &acl(&[(1, 6, !0), (2, 4, 7), (4, 4, !0), (16, 4, !0), (32, 4, !0)]),
            )]),
            What::Data(Content::plain(&pattern(9, 4095))),
        );
    let top = Layer::default()
        .whiteout("dev")
        .directory("etc")
        .pattern("etc/passwd", 50_000)
        .directory("var")
        .directory("var/sub")
        .opaque("var/sub")
        .pattern("var/sub/new", 10)
        .add("bin", metadata(0o777), What::Symlink(b"usr/bin".to_vec()))
        .directory("usr")
        .directory("usr/bin")
        .pattern("usr/bin/tool", 3 << 20);
    vec![base, middle, top]
}

fn devices_and_disk(files: &Files) {
    check_image(&files.open(), &files.expected);
    let disk = files.concatenate();
    check_image(
        &Image::open(std::fs::File::open(&disk).unwrap()).unwrap(),
        &files.expected,
    );
    if require::tool("fsck.erofs") {
        let mut command = run::command("fsck.erofs");
        for layer in &files.layers {
            let option = format!("--device={}", layer.display());
            command.arg(option);
        }
        run::ok(command.arg("--extract").arg(&files.fsmeta));
    }
    if require::kernel_erofs() {
        let mount = Mount::erofs_with_devices(&files.fsmeta, &files.devices()).unwrap();
        check_mounted(mount.path(), &files.expected);
        check_mounted(Mount::erofs(&disk).path(), &files.expected);
        let flat = Mount::erofs(&files.flat);
        Snapshot::of(flat.path()).assert_same(&Snapshot::of(mount.path()), &Allow::nothing());
    }
}

#[test]
fn a_stack_equals_its_flat_image() {
    let files = build(&stack(), &FsmetaOptions::default());
    assert_eq!(files.report.image.external_files, 8);
    devices_and_disk(&files);
}

#[test]
fn layers_stack_as_an_overlay() {
    if !require::kernel_erofs() || !require::kernel_filesystem("overlay") {
        return;
    }
    let files = build(&stack(), &FsmetaOptions::default());
    let mounts: Vec<_> = files.layers.iter().map(|l| Mount::erofs(l)).collect();
    let top_first: Vec<&Path> = mounts.iter().rev().map(Mount::path).collect();
    let overlay = Mount::overlay(&top_first).unwrap();
    let flat = Mount::erofs(&files.flat);
    // The root of an overlay is that of its top layer.
    let allow = Allow::nothing().also("a layer's image has a root of its own", |d| {
        d.path.is_empty() && d.field != Field::Presence
    });
    Snapshot::of(flat.path()).assert_same(&Snapshot::of(overlay.path()), &allow);
}

#[test]
fn thirty_layers_with_large_gaps() {
    let layers: Vec<_> = (0..30)
        .map(|i| {
            let layer = Layer::default()
                .directory("d")
                .pattern(&format!("d/{i}"), 3000 * (i + 1));
            if i % 3 == 2 {
                layer.whiteout(&format!("d/{}", i - 1))
            } else {
                layer
            }
        })
        .collect();
    let mut options = FsmetaOptions::default();
    options.alignment = 2 << 20;
    let files = build(&layers, &options);
    assert!(
        files
            .report
            .devices
            .iter()
            .all(|d| d.mapped_block.is_multiple_of(512))
    );
    devices_and_disk(&files);
}
