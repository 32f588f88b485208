//! Images that the kernel changed, as the kernel shows them.
#![cfg(target_os = "linux")]

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;

use lithify_ext4::{BlockSize, DataOptions, ImageOptions, Journal};
use lithify_fstests::{acl, pattern};
use lithify_testkit::{Mount, run};
use rustix::fs::{FallocateFlags, Timespec, Timestamps, XattrFlags};

use crate::common::Builder;
use crate::peers::{compare, has_peers, mke2fs};
use crate::shown;

/// Changes a filesystem in all the ways there are.
fn change(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("new/deep/er")).unwrap();
    fs::create_dir(at("many")).unwrap();
    for n in 0..2000_usize {
        let path = at(&format!("many/file number {n}"));
        fs::write(&path, pattern(n, n % 50 * 100)).unwrap();
        match n % 7 {
            0 => fs::remove_file(path).unwrap(),
            1 => fs::rename(path, at(&format!("new/renamed {n}"))).unwrap(),
            2 => fs::hard_link(path, at(&format!("new/linked {n}"))).unwrap(),
            _ => {}
        }
    }
    for n in 0..2000_usize {
        let set = |name: &str, value: &[u8]| {
            let path = at(&format!("many/file number {n}"));
            rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
        };
        match n % 70 {
            3 => set("user.short", b"x"),
            4 => set("user.long", &pattern(n, 500)),
            5 => set("trusted.same", &pattern(1, 300)),
            6 => {
                let list = acl(&[
                    (1, 7, u32::MAX),
                    (2, 5, 33),
                    (4, 5, u32::MAX),
                    (8, 4, 44),
                    (16, 5, u32::MAX),
                    (32, 1, u32::MAX),
                ]);
                set("system.posix_acl_access", &list);
            }
            _ => {}
        }
    }
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(50 << 20).unwrap();
    for n in 0..400_u64 {
        sparse.write_all_at(&pattern(7, 3000), n * 120_000).unwrap();
    }
    let large = File::create(at("large")).unwrap();
    large.write_all_at(&pattern(8, 2_000_000), 0).unwrap();
    // Files need not be able to do this where there are no extents.
    for (flags, offset) in [
        (FallocateFlags::empty(), 3_000_000),
        (FallocateFlags::KEEP_SIZE, 9_000_000),
        (
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            700_000,
        ),
        (FallocateFlags::ZERO_RANGE, 1_500_000),
    ] {
        match rustix::fs::fallocate(&large, flags, offset, 300_000) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(e) => panic!("{e}"),
        }
    }
    let cut = File::create(at("cut")).unwrap();
    cut.write_all_at(&pattern(9, 500_000), 0).unwrap();
    cut.set_len(77_777).unwrap();
    // Grows beyond what an inode holds, if it held it.
    let mut grown = OpenOptions::new()
        .append(true)
        .create(true)
        .open(at("grown"))
        .unwrap();
    for n in 0..40 {
        grown.write_all(&pattern(n, 33)).unwrap();
    }
    symlink("x".repeat(300), at("link")).unwrap();
    symlink("short", at("short link")).unwrap();
    for (name, seconds) in [("cut", 1 << 33), ("large", -1), ("grown", 5_000_000_000)] {
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: 123_456_789,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        let here = rustix::fs::CWD;
        rustix::fs::utimensat(here, at(name), &times, rustix::fs::AtFlags::empty()).unwrap();
    }
    let id = |id| rustix::fs::Uid::from_raw(id);
    let group = rustix::fs::Gid::from_raw(100_000);
    rustix::fs::chown(at("cut"), Some(id(70_000)), Some(group)).unwrap();
    for n in 0..100 {
        fs::create_dir(at(&format!("many/sub {n}"))).unwrap();
    }
    for n in 0..50 {
        fs::remove_dir(at(&format!("many/sub {n}"))).unwrap();
    }
}

/// Mounts an image, changes it, and compares.
fn change_and_compare(image: &Path) {
    let mounted = Mount::writable("ext4", image);
    change(mounted.path());
    drop(mounted);
    run::ok(run::command("e2fsck").arg("-fn").arg(image));
    let found = compare(image);
    assert!(found.nodes.len() > 2000);
}

#[test]
fn images_of_mke2fs_that_the_kernel_changed() {
    if !has_peers() {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let image = directory.path().join("image");
    let variants: &[&[&str]] = &[
        &[],
        &["-b", "1024"],
        &["-O", "^metadata_csum,uninit_bg", "-b", "1024"],
        &["-O", "^extent,^64bit"],
        &["-O", "^extent,^64bit", "-b", "1024"],
        &["-O", "inline_data"],
        &["-O", "inline_data", "-b", "1024", "-I", "512"],
        &["-O", "ea_inode"],
        &["-O", "meta_bg,^resize_inode", "-b", "1024"],
        &["-O", "bigalloc"],
        &["-O", "bigalloc", "-b", "1024", "-C", "16384"],
        &["-O", "^has_journal"],
        &["-O", "fast_commit"],
        &["-O", "orphan_file"],
        &["-O", "^dir_index"],
        &["-O", "large_dir", "-b", "1024"],
        &["-t", "ext2"],
        &["-t", "ext3", "-b", "1024"],
    ];
    for options in variants {
        println!("{options:?}");
        // Of options that are there twice the last counts.
        mke2fs(&image, "300M", &[&["-b", "4096"], *options].concat());
        change_and_compare(&image);
        fs::remove_file(&image).unwrap();
    }
}

#[test]
fn images_of_the_writer_that_the_kernel_changed() {
    if !has_peers() {
        return;
    }
    for block_size in [BlockSize::Large, BlockSize::Medium, BlockSize::Small] {
        for journal in [Journal::Default, Journal::None] {
            let mut options = DataOptions::default();
            options.block_size = block_size;
            options.size = Some(200 << 20);
            let mut b = Builder::new(options);
            b.file("etc/motd", b"hello");
            for n in 0..3000 {
                b.file(&format!("before/{n:05}"), &pattern(n, n % 100));
            }
            let mut options = ImageOptions::default();
            options.journal = journal;
            let image = b.finish(&options);
            change_and_compare(&image.path);
        }
    }
}

/// Values over a block are in inodes of their own, one for all that have the same.
#[test]
fn attributes_in_inodes_of_their_own() {
    if !has_peers() {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let image = directory.path().join("image");
    for features in [
        "ea_inode",
        "ea_inode,^metadata_csum",
        "ea_inode,inline_data",
    ] {
        mke2fs(&image, "64M", &["-O", features]);
        let mounted = Mount::writable("ext4", &image);
        for n in 0..30 {
            let path = mounted.path().join(format!("{n}"));
            fs::write(&path, "x").unwrap();
            for (name, size) in [
                ("user.a", 60_000),
                ("user.b", 20_000 + n % 3),
                ("user.c", 9),
            ] {
                let value = pattern(n % 5, size);
                rustix::fs::setxattr(&path, name, &value, XattrFlags::empty()).unwrap();
            }
        }
        for n in (0..30).step_by(4) {
            fs::remove_file(mounted.path().join(format!("{n}"))).unwrap();
        }
        drop(mounted);
        run::ok(run::command("e2fsck").arg("-fn").arg(&image));
        let found = compare(&image);
        assert_eq!(found.at("1").xattrs[b"user.a".as_slice()].len(), 60_000);
        fs::remove_file(&image).unwrap();
    }
}

/// Trees of hashes of one, two and three levels, with names removed again.
#[test]
fn directories_of_very_many_names() {
    if !has_peers() {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let image = directory.path().join("image");
    mke2fs(&image, "300M", &["-b", "1024", "-O", "large_dir"]);
    let mounted = Mount::writable("ext4", &image);
    for (name, count) in [("one", 300), ("two", 9000), ("three", 60_000)] {
        let root = mounted.path().join(name);
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), "x").unwrap();
        let path = |n: usize| root.join(format!("{n:0240}"));
        for n in 0..count {
            fs::hard_link(root.join("file"), path(n)).unwrap();
        }
        for n in (0..count).step_by(5) {
            fs::remove_file(path(n)).unwrap();
        }
    }
    drop(mounted);
    run::ok(run::command("e2fsck").arg("-fn").arg(&image));
    compare(&image);
    let opened = shown::open(&image);
    for (name, names) in [("one", 241), ("two", 7201), ("three", 48_001)] {
        let inode = opened.lookup(name.as_bytes()).unwrap().unwrap();
        assert!(inode.flags() & 0x1000 != 0);
        assert_eq!(opened.read_dir(&inode).unwrap().count(), names);
    }
    let said = run::text(
        run::command("debugfs")
            .args(["-R", "htree_dump /three"])
            .arg(&image),
    );
    assert!(
        said.contains("Indirect levels: 2"),
        "{}",
        &said[..500.min(said.len())]
    );
}
