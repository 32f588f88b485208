//! Names and what they can be names of: one image per case that other writers got wrong or could, read back by this crate, checked by
//! `fsck.erofs`, mounted and compared in full.
#![cfg(target_os = "linux")]

use crate::common::{Builder, build, build_unchecked, metadata};
use lithify_erofs::DataOptions;
use lithify_testkit::{require, run};
use lithify_tree::EntryKind;

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
