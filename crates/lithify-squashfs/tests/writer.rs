//! Images of every kind of thing, as this crate, the kernel and other programs see them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::{
    Builder, Content, build, build_with, compressed, metadata, pattern, threads, with_xattrs,
};
use lithify_squashfs::{DataOptions, Storage};
use lithify_tree::{Device, EntryKind, Metadata};

/// `cap_net_raw=ep`, as Linux stores it: it reads no other bytes.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn everything<S: Storage>(b: &mut Builder<S>) {
    b.directory(
        "",
        Metadata {
            uid: 7,
            gid: 9,
            ..metadata(0o555)
        },
    );
    b.file("empty", metadata(0o644), b"");
    b.file("small", metadata(0o4755), b"small");
    b.file("block", metadata(0o600), &pattern(1, 128 << 10));
    b.file(
        "more",
        with_xattrs(&[("user.a", b"1"), ("security.capability", CAPABILITY)]),
        &pattern(2, 300_000),
    );
    b.directory("d", with_xattrs(&[("trusted.overlay.opaque", b"y")]));
    b.symlink("d/link", b"../small");
    b.entry("d/fifo", metadata(0o600), EntryKind::Fifo, None);
    b.entry(
        "d/socket",
        with_xattrs(&[("trusted.x", b"")]),
        EntryKind::Socket,
        None,
    );
    b.entry(
        "d/null",
        metadata(0o666),
        EntryKind::CharDevice(Device { major: 1, minor: 3 }),
        None,
    );
    b.entry(
        "d/disk",
        with_xattrs(&[("security.selinux", b"a_value_longer_than_a_reference")]),
        EntryKind::BlockDevice(Device {
            major: 4095,
            minor: 1_048_575,
        }),
        None,
    );
    b.entry(
        "d/xlink",
        with_xattrs(&[
            ("security.selinux", b"a_value_longer_than_a_reference"),
            ("security.y", b"2"),
        ]),
        EntryKind::Symlink {
            target: b"x".to_vec(),
        },
        None,
    );
    b.link("d/hard", "small");
    b.sparse(
        "holes",
        metadata(0o644),
        Content {
            size: 1_000_000,
            parts: vec![(5, b"abc".to_vec()), (500_000, pattern(3, 1000))],
        },
    );
    b.sparse(
        "hole",
        metadata(0o644),
        Content {
            size: 1_000_000,
            parts: vec![],
        },
    );
    b.directory(
        "e",
        Metadata {
            uid: u32::MAX - 1,
            gid: 70_000,
            ..metadata(0o1777)
        },
    );
}

#[test]
fn everything_at_once() {
    for options in [
        DataOptions::default(),
        threads(4),
        compressed("gzip"),
        compressed("lz4"),
        compressed("xz"),
        compressed("none"),
        compressed("zstd:9"),
    ] {
        build_with(options, everything);
    }
}

#[test]
fn nothing() {
    build(|_| {});
}
