//! Images that `mke2fs` made, as the kernel shows them.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use lithify_ext4::{Image, ReadError};
use lithify_fstests::{acl, pattern};
use lithify_testkit::{Mount, Snapshot, require, run};
use rustix::fs::XattrFlags;
use tempfile::TempDir;

use crate::shown;

/// Tells whether this machine has what these tests need.
pub(crate) fn has_peers() -> bool {
    require::kernel_filesystem("ext4") && require::tool("mke2fs") && require::tool("e2fsck")
}

/// A tree with everything that there can be in one.
fn tree(directory: &Path) -> PathBuf {
    let root = directory.join("tree");
    fs::create_dir(&root).unwrap();
    let at = |name: &str| root.join(name);
    fs::write(at("file"), pattern(1, 100_000)).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("tiny"), "tiny").unwrap();
    fs::write(at("sixty"), pattern(2, 60)).unwrap();
    fs::write(at("hundred"), pattern(3, 100)).unwrap();
    fs::hard_link(at("file"), at("another name")).unwrap();
    symlink("file", at("short")).unwrap();
    symlink("x".repeat(59), at("l59")).unwrap();
    symlink("x".repeat(60), at("l60")).unwrap();
    symlink("y".repeat(900), at("l900")).unwrap();
    // With data in inodes, these are stored without their blocks of zeros.
    for (name, data) in [("hole", ""), ("mostly hole", "data")] {
        fs::write(at(name), data).unwrap();
        let file = File::options().write(true).open(at(name)).unwrap();
        file.set_len(20_000).unwrap();
    }
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(80 << 20).unwrap();
    for block in [0, 5, 13, 300, 1500, 5000, 17_000] {
        sparse
            .write_all_at(&pattern(4, 5000), block * 4096)
            .unwrap();
    }
    fs::create_dir_all(at("a/b/c")).unwrap();
    fs::write(at("a/b/c/deep"), "deep").unwrap();
    fs::create_dir(at("many")).unwrap();
    for n in 0..1500 {
        fs::write(at(&format!("many/a name of some length {n:05}")), "").unwrap();
    }
    fs::create_dir(at("few")).unwrap();
    fs::write(at("few/one"), "1").unwrap();
    fs::set_permissions(at("file"), fs::Permissions::from_mode(0o4751)).unwrap();
    let set = |name: &str, attribute: &str, value: &[u8]| {
        rustix::fs::setxattr(at(name), attribute, value, XattrFlags::empty()).unwrap();
    };
    set("file", "user.a", b"1");
    set("file", "trusted.b", &pattern(5, 600));
    set("empty", "user.long name of it", &pattern(6, 200));
    set("few", "security.x", b"y");
    set(
        "file",
        "security.capability",
        &[
            1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
    );
    let list = acl(&[
        (1, 6, u32::MAX),
        (2, 4, 1000),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ]);
    set("tiny", "system.posix_acl_access", &list);
    set("few", "system.posix_acl_default", &list);
    let device = rustix::fs::makedev(300, 70_000);
    for (name, kind, device) in [
        (
            "null",
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::makedev(1, 3),
        ),
        ("large", rustix::fs::FileType::BlockDevice, device),
        ("fifo", rustix::fs::FileType::Fifo, 0),
        ("socket", rustix::fs::FileType::Socket, 0),
    ] {
        let mode = rustix::fs::Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(rustix::fs::CWD, at(name), kind, mode, device).unwrap();
    }
    root
}

/// Makes an image: of ext4 unless the options say otherwise.
pub(crate) fn mke2fs(image: &Path, size: &str, options: &[&str]) {
    let mut tool = run::command("mke2fs");
    tool.args(["-q", "-F", "-E", "lazy_itable_init=1,nodiscard"]);
    if !options.contains(&"-t") {
        tool.args(["-t", "ext4"]);
    }
    run::ok(tool.args(options).arg(image).arg(size));
}

/// Compares what this crate shows of an image with what the kernel shows.
pub(crate) fn compare(image: &Path) -> Snapshot {
    let shown = shown::snapshot(image);
    let mounted = Mount::image("ext4", image);
    same(&shown, &Snapshot::of(mounted.path()));
    shown
}

/// Compares two trees.
pub(crate) fn same(shown: &Snapshot, expected: &Snapshot) {
    for (path, node) in &expected.nodes {
        let name = path.escape_ascii();
        let found = shown.nodes.get(path).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(found.to_string(), node.to_string(), "{name}");
    }
    assert_eq!(shown.nodes.len(), expected.nodes.len());
}

fn temp() -> TempDir {
    lithify_testkit::temp_dir()
}

#[test]
fn images_of_mke2fs_with_all_kinds_of_features() {
    if !has_peers() {
        return;
    }
    let directory = temp();
    let root = tree(directory.path());
    let image = directory.path().join("image");
    let variants: &[&[&str]] = &[
        &[],
        &["-b", "1024"],
        &["-b", "2048"],
        &["-O", "^metadata_csum"],
        &["-O", "^metadata_csum,uninit_bg"],
        &["-O", "^64bit"],
        &["-O", "^64bit,^metadata_csum,uninit_bg", "-b", "1024"],
        &["-O", "^extent,^64bit"],
        &["-O", "^extent,^64bit", "-b", "1024"],
        &[
            "-O",
            "^extents,^64bit,^flex_bg,^metadata_csum",
            "-b",
            "2048",
        ],
        &["-O", "inline_data"],
        &["-O", "inline_data", "-b", "1024", "-I", "512"],
        &["-O", "ea_inode"],
        &["-O", "meta_bg,^resize_inode"],
        &["-O", "meta_bg,^resize_inode", "-b", "1024"],
        &["-O", "bigalloc"],
        &["-O", "bigalloc", "-b", "1024", "-C", "16384"],
        &["-O", "sparse_super2"],
        &["-O", "^sparse_super,^resize_inode", "-b", "1024"],
        &["-O", "^has_journal"],
        &["-O", "metadata_csum_seed", "-U", "random"],
        &["-O", "quota,project"],
        &["-O", "mmp"],
        &["-O", "casefold"],
        &["-O", "encrypt"],
        &["-O", "verity"],
        &["-O", "^filetype"],
        &["-O", "^dir_index"],
        &["-O", "large_dir"],
        &["-O", "orphan_file"],
        &["-O", "fast_commit"],
        &["-O", "^huge_file"],
        &["-I", "128"],
        &["-I", "1024"],
        &["-g", "8192", "-b", "4096"],
        &["-N", "3000"],
        &["-t", "ext2"],
        &["-t", "ext2", "-b", "1024", "-r", "0"],
        &["-t", "ext3"],
    ];
    // Not every kernel can be asked about these.
    let unmountable = ["casefold", "encrypt", "verity"];
    let mut first = None;
    for options in variants {
        let _unused = fs::remove_file(&image);
        println!("{options:?}");
        let all = ["-b", "4096", "-d", root.to_str().unwrap()];
        // Of options that are there twice the last counts.
        mke2fs(&image, "128M", &[&all, *options].concat());
        // Quotas are not what they should be.
        let output = run::command("e2fsck").arg("-fy").arg(&image).output();
        assert!(matches!(output.unwrap().status.code(), Some(0 | 1)));
        let shown = match options.last() {
            Some(last) if unmountable.contains(last) => shown::snapshot(&image),
            _ => compare(&image),
        };
        let first = first.get_or_insert_with(|| shown.clone());
        if unmountable.contains(options.last().unwrap_or(&"")) {
            same(
                &without_time_of_root(shown),
                &without_time_of_root(first.clone()),
            );
        }
    }
}

/// The root and `lost+found` are as old as the image.
fn without_time_of_root(mut snapshot: Snapshot) -> Snapshot {
    for path in ["", "lost+found"] {
        snapshot.nodes.get_mut(path.as_bytes()).unwrap().mtime = (0, 0);
    }
    snapshot
}

/// `e2fsck -D` makes trees of hashes of directories that have none.
#[test]
fn directories_with_trees_of_hashes_of_each_kind() {
    if !has_peers() {
        return;
    }
    let directory = temp();
    let root = directory.path().join("tree");
    fs::create_dir(&root).unwrap();
    for n in 0..3000 {
        let name = format!("n\u{e4}me-{n}-{}", "x".repeat(n % 200));
        fs::write(root.join(name), "").unwrap();
    }
    let (linear, image) = (
        directory.path().join("linear"),
        directory.path().join("image"),
    );
    for block in ["1024", "4096"] {
        // This takes it a second for each thousand names and more.
        let all = ["-b", block, "-d", root.to_str().unwrap()];
        mke2fs(&linear, "64M", &all);
        for hash in ["legacy", "half_md4", "tea"] {
            for flags in ["1", "2"] {
                fs::copy(&linear, &image).unwrap();
                let mut tool = run::command("tune2fs");
                run::ok(tool.args(["-E", &format!("hash_alg={hash}")]).arg(&image));
                // Bytes are signed, or they are not.
                let command = format!("set_super_value flags {flags}");
                run::ok(
                    run::command("debugfs")
                        .args(["-w", "-R", &command])
                        .arg(&image),
                );
                let output = run::command("e2fsck").arg("-fyD").arg(&image).output();
                // It may say that it changed something.
                assert!(matches!(output.unwrap().status.code(), Some(0 | 1)));
                let opened = shown::open(&image);
                assert!(opened.root().unwrap().flags() & 0x1000 != 0);
                compare(&image);
            }
        }
        fs::remove_file(&linear).unwrap();
    }
}

#[test]
fn what_is_no_filesystem_or_another() {
    if !has_peers() {
        return;
    }
    let directory = temp();
    let image = directory.path().join("image");
    mke2fs(
        &image,
        "16M",
        &["-t", "ext4", "-O", "journal_dev", "-b", "4096"],
    );
    let opened = Image::open(File::open(&image).unwrap());
    assert!(
        matches!(opened, Err(ReadError::JournalDevice)),
        "{opened:?}"
    );
    let opened = Image::open(vec![0; 1 << 20]);
    assert!(matches!(opened, Err(ReadError::Magic { .. })), "{opened:?}");
    let opened = Image::open(vec![0; 2000]);
    assert!(
        matches!(opened, Err(ReadError::TooShort { .. })),
        "{opened:?}"
    );
}
