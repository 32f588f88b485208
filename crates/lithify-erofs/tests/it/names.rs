//! Names and what they can be names of: one image per case that other writers got wrong or could, read back by this crate, checked by
//! `fsck.erofs`, mounted and compared in full.
#![cfg(target_os = "linux")]

use crate::common::{Builder, build, build_unchecked, metadata, pattern};
use lithify_erofs::DataOptions;
use lithify_testkit::{require, run};
use lithify_tree::{Device, EntryKind};

#[test]
fn an_empty_tree_is_one_block() {
    let built = build(|_| {});
    assert_eq!(built.report.size, 4096);
}

#[test]
fn directory_of_100_000_entries() {
    let built = build(|b| {
        for i in 0..100_000 {
            b.entry(
                format!("big/{i:x}-{}", "n".repeat(i % 40)),
                metadata(0o600),
                EntryKind::Fifo,
                None,
            );
        }
    });
    let big = built.image().lookup(b"big").unwrap().unwrap();
    assert!(big.size() > 3 << 20);
}

#[test]
fn directory_sizes_around_block_boundaries() {
    build(|b| {
        // 12 + 1 and 12 + 2 for the dots; names of 100 bytes take 112.
        for count in 33..40 {
            for last in 1..=120 {
                let directory = format!("{count}-{last}");
                for i in 0..count {
                    b.entry(
                        format!("{directory}/{i:0>100}"),
                        metadata(0o600),
                        EntryKind::Fifo,
                        None,
                    );
                }
                b.entry(
                    format!("{directory}/{}", "z".repeat(last)),
                    metadata(0o600),
                    EntryKind::Fifo,
                    None,
                );
            }
        }
    });
}

#[test]
fn names_of_255_bytes() {
    build(|b| {
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

#[test]
fn names_of_any_bytes() {
    build(|b| {
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

#[test]
fn symlinks_up_to_4095_bytes() {
    build(|b| {
        for length in [
            1, 60, 100, 2900, 2912, 2913, 4031, 4032, 4033, 4063, 4064, 4065, 4094, 4095,
        ] {
            b.symlink(format!("l{length}"), &pattern(length, length));
        }
        b.symlink("dangling", b"/nowhere/at\nall\xff");
        b.link("second name", "dangling");
    });
}

#[test]
fn special_files() {
    build(|b| {
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

#[test]
fn more_than_65535_hard_links_and_subdirectories() {
    let built = build(|b| {
        b.file("file", metadata(0o644), b"one file");
        for i in 0..66_000 {
            b.link(format!("links/{i}"), "file");
        }
        for i in 0..65_540 {
            b.directory(format!("dirs/{i}"), metadata(0o755));
        }
    });
    assert_eq!(
        built.image().lookup(b"file").unwrap().unwrap().nlink(),
        66_001
    );
}

#[test]
fn deep_directories() {
    let deep = |b: &mut Builder<std::fs::File>, depth| {
        let path = (0..depth)
            .map(|i| format!("d{}", i % 10))
            .collect::<Vec<_>>()
            .join("/");
        b.file(format!("{path}/f"), metadata(0o644), b"deep");
    };
    build(|b| deep(b, 200));
    // fsck.erofs recurses and overflows its stack here.
    build_unchecked(DataOptions::default(), |b| deep(b, 1300)).check_without_fsck();
}

#[test]
fn an_inode_in_the_last_slot_has_something_behind_it() {
    // fsck.erofs 1.5 reads twelve bytes behind every inode.
    for count in 80..350 {
        let built = build_unchecked(DataOptions::default(), |b| {
            (0..count)
                .for_each(|i| b.entry(format!("{i}"), metadata(0o600), EntryKind::Fifo, None));
        });
        crate::common::fsck(&built.path);
    }
}

#[test]
fn dump_erofs_shows_a_plausible_superblock() {
    let built = build(|b| {
        b.file("etc/motd", metadata(0o644), b"hello");
    });
    if !require::tool("dump.erofs") {
        return;
    }
    let text = run::text(run::command("dump.erofs").arg("-s").arg(&built.path));
    for line in [
        "sb_csum mtime",
        "root nid:                          36",
        "inode count:                       3",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
