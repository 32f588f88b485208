//! Bytes of images changed one by one: what `e2fsck` finds, `verify` finds.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};

use lithify_ext4::{BlockSize, DataOptions, Image, ImageOptions, Journal};
use lithify_fstests::pattern;
use lithify_testkit::{Mount, require, run};
use lithify_tree::{EntryKind, Metadata, TreePath};
use rustix::fs::XattrFlags;

use crate::common::Builder;
use crate::peers::{has_peers, mke2fs};
use crate::seal::Seal;

const BLOCK: usize = 1024;

/// One byte of so many is changed.
const STEP: usize = 499;

/// What others say of an image, if it is not sound.
fn e2fsck(image: &Path) -> Option<String> {
    let output = run::command("e2fsck").arg("-fn").arg(image).output();
    let output = output.unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    if said.contains("is in the future") {
        // Only whoever knows what time it is can tell.
        return None;
    }
    // It ends well after some things it would have mended.
    let is_usual = |line: &str| {
        line.is_empty()
            || line.starts_with("e2fsck 1.")
            || line.starts_with("Pass ")
            || line.contains(" files (") && line.ends_with(" blocks")
    };
    let unusual: Vec<&str> = said.lines().filter(|line| !is_usual(line)).collect();
    (!output.status.success() || !unusual.is_empty()).then(|| unusual.join(" | "))
}

fn verify(bytes: &[u8]) -> Option<String> {
    let image = match Image::open(bytes) {
        Ok(image) => image,
        Err(e) => return Some(format!("open: {e}")),
    };
    let found = image.verify().unwrap();
    found.problems.first().map(ToString::to_string)
}

/// A small tree with everything that there can be in one.
fn tree(directory: &Path) -> PathBuf {
    let root = directory.join("tree");
    fs::create_dir(&root).unwrap();
    let at = |name: &str| root.join(name);
    fs::write(at("file"), pattern(1, 2500)).unwrap();
    fs::hard_link(at("file"), at("again")).unwrap();
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(400 << 10).unwrap();
    for block in [0, 5, 13, 30, 300] {
        sparse.write_all_at(b"x", block * 1024).unwrap();
    }
    fs::create_dir_all(at("a/b")).unwrap();
    fs::create_dir(at("many")).unwrap();
    for n in 0..40 {
        fs::hard_link(at("file"), at(&format!("many/{n:0100}"))).unwrap();
    }
    symlink("short", at("short")).unwrap();
    symlink("x".repeat(200), at("long")).unwrap();
    let device = rustix::fs::makedev(300, 70_000);
    for (name, kind, device) in [
        ("device", rustix::fs::FileType::BlockDevice, device),
        ("fifo", rustix::fs::FileType::Fifo, 0),
    ] {
        let mode = rustix::fs::Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(rustix::fs::CWD, at(name), kind, mode, device).unwrap();
    }
    for (name, attribute, length) in [
        ("file", "user.a", 3),
        ("sparse", "user.b", 300),
        ("a", "user.c", 30),
    ] {
        let value = pattern(4, length);
        rustix::fs::setxattr(at(name), attribute, &value, XattrFlags::empty()).unwrap();
    }
    root
}

/// Reasons to find something wrong that `e2fsck` 1.47.0 does not look at, by what is said.
const STRICTER: [(&str, &str); 10] = [
    // It does not read the values in inodes of their own; Linux refuses them.
    ("the extended attribute `", "has a hash that is not its own"),
    // It compares those in a block.
    ("is damaged: the name `", "is in it twice"),
    // It leaves the list of orphans alone where it does not write.
    ("/: inode", "it refers to inode"),
    // It looks at the first quarter of them; `resize2fs` uses all.
    ("is in a list of reserved blocks, expected", "inode 7"),
    ("it refers to block", "inode 7"),
    ("is in it twice", "inode 7"),
    // Linux refuses such an inode.
    ("the length of fields behind the first", "inode 7"),
    // What nothing names is looked at by it only where it is sound.
    ("the extended attributes of inode", "it refers to block"),
    // No program could see such an attribute, so that no copy would have it.
    ("an extended attribute with the unknown name index", ""),
    ("is too long, or is there twice", "the extended attribute"),
];

/// Changes bytes of an image, one in so many, and compares: as they are, and with all checksums right.
fn compare(what: &str, right: &[u8], step: usize) {
    let directory = lithify_testkit::temp_dir();
    let path = directory.path().join("mutated");
    fs::write(&path, right).unwrap();
    assert_eq!(e2fsck(&path), None, "{what}");
    assert_eq!(verify(right), None, "{what}");
    let seal = Seal::of(right);
    let mut again = right.to_vec();
    seal.seal(&mut again);
    let differs = again.iter().zip(right).position(|(a, b)| a != b);
    let differs = differs.map(|at| seal.name(right, at));
    assert_eq!(differs, None, "{what}: checksums that are not right");
    let file = File::options().write(true).open(&path).unwrap();
    let mut wrong = Vec::new();
    let mut counts = BTreeMap::<(bool, bool), usize>::new();
    let mut turn = 0_usize;
    for (index, block) in right.chunks(BLOCK).enumerate() {
        // Most blocks are free, and most of the journal is.
        let is_empty = block.iter().all(|&byte| byte == 0);
        let step = if is_empty { step * 512 } else { step };
        for at in index * BLOCK..(index + 1) * BLOCK {
            turn += 1;
            if !(turn * 7919).is_multiple_of(step) {
                continue;
            }
            let flip = [1, 0x80, 0xff, 0x10][turn / step % 4];
            for is_sealed in [false, true] {
                if is_sealed && !seal.has_checksums() {
                    continue;
                }
                let mut bytes = right.to_vec();
                bytes[at] ^= flip;
                if is_sealed {
                    seal.seal(&mut bytes);
                }
                write_blocks(&file, right, &bytes);
                let (ours, theirs) = (verify(&bytes), e2fsck(&path));
                write_blocks(&file, &bytes, right);
                let found = (ours.is_some(), theirs.is_some());
                *counts.entry(found).or_default() += 1;
                let is_stricter = |said: &String| {
                    let has =
                        |(one, other): &(&str, &str)| said.contains(one) && said.contains(other);
                    theirs.is_none() && STRICTER.iter().any(has)
                };
                if found.0 != found.1 && !ours.as_ref().is_some_and(is_stricter) {
                    wrong.push(format!(
                        "{what}: {} ^ {flip:#x}, sealed: {is_sealed}: verify: {ours:?}, e2fsck: {theirs:?}",
                        seal.name(right, at),
                    ));
                }
            }
        }
    }
    println!("{what}: {counts:?}");
    assert!(wrong.is_empty(), "{} {}", wrong.len(), wrong.join("\n"));
    assert!(counts[&(true, true)] > 10);
}

/// Writes the blocks of an image that are others than in a file.
fn write_blocks(file: &File, there: &[u8], bytes: &[u8]) {
    for (index, (old, new)) in there.chunks(BLOCK).zip(bytes.chunks(BLOCK)).enumerate() {
        if old != new {
            file.write_all_at(new, (index * BLOCK) as u64).unwrap();
        }
    }
}

/// Options of `mke2fs` for what is the same every time, but for times.
const SAME: [&str; 6] = [
    "-b",
    "1024",
    "-U",
    "6c697468-6966-4921-8e65-787434000001",
    "-E",
    "lazy_itable_init=1,nodiscard,hash_seed=6c697468-6966-4921-8e65-787434000002",
];

/// What `mke2fs` made, after `e2fsck` has made trees of hashes of its directories.
fn made(image: &Path, root: &Path, options: &[&str]) -> Vec<u8> {
    let root = root.to_str().unwrap();
    let all = ["-g", "1024", "-N", "64", "-I", "256", "-d", root];
    // Of options that are there twice the last counts.
    mke2fs(image, "4M", &[&SAME[..], &all, options].concat());
    let output = run::command("e2fsck").arg("-fyD").arg(image).output();
    assert!(matches!(output.unwrap().status.code(), Some(0 | 1)));
    let bytes = fs::read(image).unwrap();
    fs::remove_file(image).unwrap();
    bytes
}

#[test]
fn whatever_e2fsck_finds_is_found() {
    if !(require::tool("mke2fs") && require::tool("e2fsck")) {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let root = tree(directory.path());
    let image = directory.path().join("image");
    let variants: &[&[&str]] = &[
        &[],
        &["-O", "orphan_file,inline_data,ea_inode,large_dir"],
        &[
            "-O",
            "^metadata_csum,uninit_bg,^64bit,meta_bg,^resize_inode",
        ],
        &["-O", "bigalloc,^resize_inode,^has_journal", "-C", "4096"],
        &["-t", "ext2"],
    ];
    for options in variants {
        let bytes = made(&image, &root, options);
        compare(&format!("{options:?}"), &bytes, STEP);
    }
}

/// The same for an image of this crate's.
#[test]
fn whatever_e2fsck_finds_in_images_of_the_writer_is_found() {
    if !require::tool("e2fsck") {
        return;
    }
    let mut data = DataOptions::default();
    data.block_size = BlockSize::Small;
    let mut b = Builder::new(data);
    b.file("file", &pattern(1, 2500));
    b.sparse(
        "sparse",
        400 << 10,
        &[0, 5 << 10, 13 << 10, 30 << 10, 300 << 10],
        b"x",
    );
    b.entry("a/b", 0o755, EntryKind::Directory, None);
    for n in 0..40 {
        let target = TreePath::clean(b"file").unwrap();
        let kind = EntryKind::HardLink { target };
        b.entry(format!("many/{n:0100}"), 0o644, kind, None);
    }
    for (name, length) in [("short", 5), ("long", 200)] {
        let target = vec![b'x'; length];
        b.entry(name, 0o777, EntryKind::Symlink { target }, None);
    }
    b.entry("fifo", 0o600, EntryKind::Fifo, None);
    for (name, length) in [
        ("in an inode", 30),
        ("in a block", 300),
        ("the same block", 300),
        ("elsewhere", 3000),
    ] {
        let mut metadata = Metadata::default();
        metadata.xattrs.set(b"user.a", &pattern(2, length)).unwrap();
        let kind = EntryKind::File {
            size: 0,
            segments: None,
        };
        b.with(name, metadata, kind, None);
    }
    let mut options = ImageOptions::default();
    options.journal = Journal::None;
    let image = b.finish(&options);
    compare("ours", &fs::read(&image.path).unwrap(), STEP);
}

/// The same for what the kernel wrote: with names and inodes that are gone, and a journal that was used.
#[test]
fn whatever_e2fsck_finds_in_images_the_kernel_changed_is_found() {
    if !has_peers() {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let image = directory.path().join("image");
    for options in [&[][..], &["-O", "^extent,^64bit"]] {
        let all = ["-g", "1024", "-N", "160"];
        mke2fs(&image, "4M", &[&SAME[..], &all, options].concat());
        let mounted = Mount::writable("ext4", &image);
        let at = |name: &str| mounted.path().join(name);
        fs::create_dir(at("many")).unwrap();
        for n in 0..60 {
            let path = at(&format!("many/{n:0100}"));
            fs::write(&path, pattern(n, n)).unwrap();
            let value = pattern(n % 2, 300);
            rustix::fs::setxattr(&path, "user.a", &value, XattrFlags::empty()).unwrap();
            if n % 3 == 0 {
                fs::remove_file(path).unwrap();
            }
        }
        let sparse = File::create(at("sparse")).unwrap();
        for block in [0, 2, 7, 20, 300, 900] {
            sparse.write_all_at(b"x", block * 1024).unwrap();
        }
        drop(sparse);
        symlink("x".repeat(200), at("link")).unwrap();
        fs::create_dir_all(at("a/b")).unwrap();
        drop(mounted);
        compare(
            &format!("changed {options:?}"),
            &fs::read(&image).unwrap(),
            STEP,
        );
        fs::remove_file(&image).unwrap();
    }
}
