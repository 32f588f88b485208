//! Names, and what they can be names of.

use lithify_fskit::read::Inode as _;
use lithify_tree::{Device, EntryKind};

use crate::{Builder, Built, Filesystem, build_with, metadata, pattern, with_xattrs};

/// Builds an image with the default options and has everyone check it.
pub(super) fn build<F: Filesystem>(
    describe: impl FnOnce(&mut Builder<F, std::fs::File>),
) -> Built<F> {
    build_with(F::DataOptions::default(), describe)
}

pub fn an_empty_tree<F: Filesystem>() {
    build::<F>(|_| {});
}

pub fn names_of_255_bytes<F: Filesystem>() {
    build::<F>(|b| {
        for i in 0..60 {
            b.entry(
                format!("d/{i:0>255}"),
                metadata(0o600),
                EntryKind::Fifo,
                None,
            );
        }
        b.directory(
            format!("{}/{}", "a".repeat(255), "b".repeat(255)),
            metadata(0o755),
        );
    });
}

pub fn names_of_any_bytes<F: Filesystem>() {
    build::<F>(|b| {
        for byte in 1..=255_u8 {
            if byte != b'/' && byte != b'.' {
                b.file([b"one/", &[byte][..]].concat(), metadata(0o644), &[byte]);
            }
            if byte != b'/' {
                b.file(
                    [b"two/", &[b'.', byte, b'x'][..]].concat(),
                    metadata(0o644),
                    &[byte],
                );
                b.file([b"three/x", &[byte][..]].concat(), metadata(0o644), &[byte]);
            }
        }
        b.file(b"new\nline", metadata(0o644), b"x");
        b.file(b"\xff\xfe\x80", metadata(0o644), b"x");
        b.file("...", metadata(0o644), b"x");
        b.file(b".\x01", metadata(0o644), b"x");
        b.file("!before the dots", metadata(0o644), b"x");
    });
}

pub fn symbolic_links_up_to_4095_bytes<F: Filesystem>() {
    build::<F>(|b| {
        for length in [
            1, 60, 100, 255, 256, 257, 2900, 2912, 2913, 4031, 4032, 4033, 4063, 4064, 4065, 4094,
            4095,
        ] {
            b.symlink(format!("l{length}"), &pattern(length, length));
            let target = vec![b'y'; length];
            b.entry(
                format!("x{length}"),
                with_xattrs(&[("trusted.x", b"y")]),
                EntryKind::Symlink { target },
                None,
            );
        }
        b.symlink("dangling", b"/nowhere/at\nall\xff");
        b.link("second name", "dangling");
    });
}

pub fn special_files<F: Filesystem>() {
    build::<F>(|b| {
        for (major, minor) in [
            (1, 3),
            (0, 0),
            (8, 0),
            (8, 256),
            (259, 77),
            (4095, 1_048_575),
        ] {
            let device = Device { major, minor };
            b.entry(
                format!("c{major}-{minor}"),
                metadata(0o666),
                EntryKind::CharDevice(device),
                None,
            );
            b.entry(
                format!("b{major}-{minor}"),
                metadata(0o660),
                EntryKind::BlockDevice(device),
                None,
            );
        }
        b.entry("fifo", metadata(0o600), EntryKind::Fifo, None);
        b.entry("socket", metadata(0o777), EntryKind::Socket, None);
        b.link("null", "c1-3");
    });
}

/// Of links no more than the format has.
pub fn more_than_65535_hard_links_and_subdirectories<F: Filesystem>() {
    let names = F::LINKS_MAX.min(66_001);
    let built = build::<F>(|b| {
        b.file("file", metadata(0o644), b"one file");
        for i in 1..names {
            b.link(format!("links/{i}"), "file");
        }
        for i in 0..65_540 {
            b.directory(format!("dirs/{i}"), metadata(0o755));
        }
    });
    let file = F::lookup(&built.image(), b"file").unwrap().unwrap();
    assert_eq!(file.nlink(), names);
}

/// Names of one inode whose numbers are far apart.
pub fn hard_links_far_apart<F: Filesystem>() {
    let built = build::<F>(|b| {
        b.file("a", metadata(0o644), b"first");
        b.directory("b", metadata(0o755));
        for i in 0..40_000 {
            b.file(format!("b/{i:05}"), metadata(0o644), b"");
        }
        b.directory("c", metadata(0o755));
        for i in 0..50 {
            b.file(format!("c/{i:02}n"), metadata(0o644), b"new");
            b.link(format!("c/{i:02}l"), "a");
            b.link(format!("c/{i:02}m"), format!("b/{:05}", i * 799));
        }
        b.symlink("link", b"target");
        b.link("c/link", "link");
    });
    let first = F::lookup(&built.image(), b"a").unwrap().unwrap();
    assert_eq!(first.nlink(), 51);
}
