//! Images of every kind of thing, as this crate, the kernel and other programs see them.
#![cfg(target_os = "linux")]

use crate::common::{
    Builder, Content, build, build_with, check_with_reader, compressed, metadata, pattern, threads,
    with_xattrs,
};
use lithify_squashfs::{
    DataOptions, FileType, Image, ImageOptions, Storage, UnsupportedXattrs, WriteError,
};
use lithify_testkit::{Mount, require};
use lithify_tree::{Device, EntryKind, Metadata, Timestamp};

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

/// What writers of per-layer images have been seen to lose: set-user-ID bits, owners, devices (they became empty files),
/// attributes, hard links, times (they became that of the build), and everything about the root directory.
#[test]
fn nothing_is_lost() {
    let image = build(everything).image();
    let at = |path: &str| image.lookup(path.as_bytes()).unwrap().unwrap();
    let root = image.root().unwrap();
    assert_eq!((root.mode(), root.uid(), root.gid()), (0o555, 7, 9));
    assert_eq!(root.mtime().seconds, 1_700_000_000);
    assert_eq!(at("small").mode(), 0o4755);
    assert_eq!(
        (at("e").uid(), at("e").gid(), at("e").mode()),
        (u32::MAX - 1, 70_000, 0o1777)
    );
    assert_eq!(at("d/null").file_type(), FileType::CharDevice);
    assert_eq!(
        at("d/disk").device(),
        Device {
            major: 4095,
            minor: 1_048_575
        }
    );
    assert_eq!(at("d/fifo").file_type(), FileType::Fifo);
    let xattrs = image.xattrs(&at("more")).unwrap();
    assert_eq!(xattrs.get(b"security.capability"), Some(CAPABILITY));
    assert_eq!(
        (at("small").nlink(), at("d/hard").number()),
        (2, at("small").number())
    );
    assert_eq!(image.superblock().build_time, 1_700_000_000);
}

#[test]
fn nothing() {
    build(|_| {});
}

/// Directories of all sizes around the limits of runs, blocks and the basic inode, found by name through the index.
#[test]
fn directories_of_any_size() {
    build(|b| {
        for count in [0, 1, 2, 255, 256, 257, 700, 5000] {
            b.directory(format!("d{count}"), metadata(0o755));
            for i in 0..count {
                b.file(format!("d{count}/{i:05}"), metadata(0o644), b"");
            }
        }
        b.directory("long", metadata(0o755));
        for i in 0..500 {
            let name = format!("{i:0255}");
            b.file(format!("long/{name}"), metadata(0o644), b"x");
        }
        // Of the extended form for its attributes, with an index too.
        b.directory("attributes", with_xattrs(&[("user.x", b"y")]));
        for i in 0..2000 {
            b.directory(format!("attributes/{i}"), metadata(0o700));
        }
    });
}

#[test]
fn deep_directories() {
    build(|b| {
        let mut path = String::from("d");
        for _ in 0..1000 {
            b.directory(&path, metadata(0o755));
            path.push_str("/d");
        }
        b.file(&path, metadata(0o644), b"bottom");
    });
}

/// Another writer panicked from 256 bytes on.
#[test]
fn symbolic_links() {
    build(|b| {
        for length in [1, 255, 256, 257, 4094, 4095] {
            b.symlink(format!("l{length}"), &vec![b'x'; length]);
            let target = vec![b'y'; length];
            let kind = EntryKind::Symlink { target };
            b.entry(
                format!("x{length}"),
                with_xattrs(&[("trusted.x", b"y")]),
                kind,
                None,
            );
        }
    });
}

#[test]
fn times_are_clamped_and_counted() {
    let at = |seconds, nanoseconds| Metadata {
        mtime: Timestamp {
            seconds,
            nanoseconds,
        },
        ..metadata(0o644)
    };
    let built = build(|b| {
        b.directory("", at(0, 0));
        b.file("before", at(-1, 999_999_999), b"");
        b.file("long-before", at(i64::MIN, 0), b"");
        b.file("last", at(i64::from(u32::MAX), 0), b"");
        b.file("after", at(1 << 32, 1), b"");
        b.file("long-after", at(i64::MAX, 0), b"");
        b.file("nanoseconds", at(5, 1), b"");
    });
    assert_eq!(
        (built.report.clamped_times, built.report.truncated_times),
        (4, 1)
    );
    assert_eq!(built.report.build_time, u32::MAX);
}

#[test]
fn the_time_of_the_image_is_what_it_was_told() {
    let superblock = |options: ImageOptions| {
        let mut b = Builder::new(Vec::new());
        b.options = options;
        b.file("a", metadata(0o644), b"");
        *Image::open(b.finish().0).unwrap().superblock()
    };
    let mut options = ImageOptions::default();
    assert_eq!(superblock(options.clone()).build_time, 1_700_000_000);
    options.build_time = Some(Timestamp {
        seconds: 77,
        nanoseconds: 5,
    });
    assert_eq!(superblock(options).build_time, 77);
}

#[test]
fn attributes() {
    let long = pattern(3, 65_536);
    let some = pattern(4, 5000);
    build(|b| {
        b.file(
            "empty",
            with_xattrs(&[("user.empty", b""), ("trusted.t", b"v")]),
            b"x",
        );
        b.file("long", with_xattrs(&[("user.long", &long)]), b"x");
        // The same value under other names and in other sets: out of line.
        b.file(
            "same",
            with_xattrs(&[("user.long", &long), ("user.other", &long)]),
            b"x",
        );
        b.directory(
            "d",
            with_xattrs(&[("trusted.some", &some), ("security.s", &some)]),
        );
        b.symlink("l", b"x");
        for i in 0..3000_usize {
            let value = pattern(i, 20);
            let name = format!("user.{}", "n".repeat(1 + i % 250));
            b.file(
                format!("f{i}"),
                with_xattrs(&[(&name, &value), ("user.all", &some)]),
                b"",
            );
        }
        let many: Vec<(String, Vec<u8>)> = (0..200)
            .map(|i| (format!("user.{i}"), pattern(i, 100)))
            .collect();
        let many: Vec<(&str, &[u8])> = many
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_slice()))
            .collect();
        b.file("many", with_xattrs(&many), b"");
    });
}

/// squashfs has numbers for three prefixes and none for ACLs.
#[test]
fn other_attributes_are_refused_or_dropped() {
    let acl = crate::common::acl(&[(1, 6, u32::MAX), (4, 4, u32::MAX), (0x20, 4, u32::MAX)]);
    let describe = |b: &mut Builder<Vec<u8>>| {
        b.file(
            "d/a",
            with_xattrs(&[("system.posix_acl_access", &acl), ("user.k", b"v")]),
            b"x",
        );
        b.file(
            "d/b",
            with_xattrs(&[("system.posix_acl_access", &acl), ("lustre.l", b"v")]),
            b"y",
        );
    };
    let error = try_build(describe).unwrap_err();
    assert!(
        matches!(&error, WriteError::XattrName { path, name } if path == b"d/a" && name == b"system.posix_acl_access")
    );
    for name in ["user.", "nothing", "trustedx.y"] {
        let error = try_build(|b| {
            b.file("a", with_xattrs(&[(name, b"v")]), b"");
        });
        assert!(matches!(error, Err(WriteError::XattrName { .. })), "{name}");
    }
    let mut b = Builder::new(Vec::new());
    b.options.unsupported_xattrs = UnsupportedXattrs::Drop;
    describe(&mut b);
    let (bytes, report, expected) = b.finish();
    assert_eq!(report.dropped_xattrs, 3);
    check_with_reader(bytes, &expected);
}

#[test]
fn owners() {
    let many = |count: u32| {
        move |b: &mut Builder<Vec<u8>>| {
            for i in 0..count {
                b.file(
                    format!("{i}"),
                    Metadata {
                        uid: i * 65_537,
                        gid: i * 65_537,
                        ..metadata(0o600)
                    },
                    b"",
                );
            }
        }
    };
    // Root is one.
    let bytes = try_build(many(65_535)).unwrap();
    let image = Image::open(bytes).unwrap();
    let last = image.lookup(b"65534").unwrap().unwrap();
    assert_eq!(last.uid(), 65_534_u32.wrapping_mul(65_537));
    assert!(matches!(
        try_build(many(65_536)).unwrap_err(),
        WriteError::TooManyIds
    ));
}

#[test]
fn device_numbers_have_limits() {
    for (major, minor, good) in [
        (4095, 1_048_575, true),
        (4096, 0, false),
        (0, 1_048_576, false),
    ] {
        let result = try_build(|b| {
            let kind = EntryKind::CharDevice(Device { major, minor });
            b.entry("d", metadata(0o600), kind, None);
        });
        assert_eq!(result.is_ok(), good, "{major}:{minor}");
    }
}

/// A tree of a million names: inode table, directories and export table of many blocks.
#[test]
fn a_million_entries() {
    let mut b = Builder::with(Vec::new(), threads(2));
    let file = b.file("first", metadata(0o644), b"data");
    for i in 0..1_000_000_u32 {
        let kind = EntryKind::File {
            size: 4,
            segments: None,
        };
        // Most in one directory, the others in many.
        let path = if i % 4 == 0 {
            format!("d{:04}/{i:07}", i / 400)
        } else {
            format!("all/{i:07}")
        };
        b.entry(path, metadata(0o644), kind, Some(file));
    }
    let (bytes, report, _) = b.finish();
    assert_eq!(report.inodes, 1_000_000 + 2500 + 3);
    let image = Image::open(bytes.as_slice()).unwrap();
    for path in ["all/0000001", "all/0500001", "all/0999999", "d1250/0500000"] {
        let inode = image.lookup(path.as_bytes()).unwrap().unwrap();
        assert_eq!(image.read_to_vec(&inode, 4).unwrap(), b"data");
    }
    assert!(image.lookup(b"all/0500000").unwrap().is_none());
    assert_eq!(image.entries().map(Result::unwrap).count(), 1_002_503);
    if require::kernel_filesystem("squashfs") {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.squashfs");
        std::fs::write(&path, &bytes).unwrap();
        let mount = Mount::squashfs(&path);
        assert_eq!(
            std::fs::read_dir(mount.path().join("all")).unwrap().count(),
            750_000
        );
        for name in ["all/0000001", "all/0500001", "all/0999999", "d1250/0500000"] {
            assert_eq!(std::fs::read(mount.path().join(name)).unwrap(), b"data");
        }
    }
}

fn try_build(describe: impl FnOnce(&mut Builder<Vec<u8>>)) -> Result<Vec<u8>, WriteError> {
    let mut b = Builder::new(Vec::new());
    describe(&mut b);
    let tree = b.tree();
    b.writer
        .finish_image(&tree, &b.options)
        .map(|(bytes, _)| bytes)
}
