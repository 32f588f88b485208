//! Filesystems in which one thing is wrong: what is said names the place.
#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use lithify_ext4::{Image, ReadAt};
use lithify_fstests::pattern;
use lithify_testkit::{Mount, require, run};
use rustix::fs::XattrFlags;

use crate::peers::{has_peers, mke2fs};
use crate::shown;

/// Has `debugfs` change an image; it makes checksums right.
fn change(image: &Path, command: &str) {
    let mut tool = run::command("debugfs");
    let said = run::output(tool.args(["-w", "-R", command]).arg(image));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.lines().all(|line| line.starts_with("debugfs 1.")),
        "{command}: {said}"
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    if !(require::tool("mke2fs") && require::tool("debugfs")) {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/file"), pattern(1, 3000)).unwrap();
    let right = directory.path().join("right");
    let all = ["-b", "1024", "-d", root.to_str().unwrap()];
    mke2fs(&right, "2M", &[&all[..], &["-O", "^has_journal"]].concat());
    assert_eq!(shown::problems(&shown::open(&right)), [""; 0]);
    let opened = shown::open(&right);
    let number = |path: &str| opened.lookup(path.as_bytes()).unwrap().unwrap().number();
    let (a, b, file) = (number("a"), number("a/b"), number("a/file"));
    let image = directory.path().join("image");
    for (command, expected) in [
        (
            "set_inode_field a/file links_count 7".into(),
            format!("/a/file: inode {file} says it has 7 names, found 1"),
        ),
        (
            "set_inode_field a links_count 9".into(),
            format!("/a: inode {a} says it has 9 names, found 3"),
        ),
        (
            "set_inode_field a/file blocks 2".into(),
            format!("/a/file: inode {file} says it takes 2 sectors, found 6"),
        ),
        (
            "set_inode_field a/file size 100".into(),
            format!("/a/file: inode {file} has 100 bytes, and data at byte 2048"),
        ),
        (
            "link a/b second".into(),
            format!(": directory {b} is reached a second time"),
        ),
        (
            "unlink a/file".into(),
            format!("/: inode {file} is in use, but nothing leads to it"),
        ),
        (
            format!("freei <{file}>"),
            format!("/: the bitmap of inodes of group 0 differs from what is used 1 times, first at inode {file}, which is used"),
        ),
        (
            "setb 2000 2".into(),
            "/: the bitmap of blocks of group 0 differs from what is used 2 times, first at block 2000, which is free".into(),
        ),
        (
            "set_block_group 0 free_blocks_count 7".into(),
            // Of this it does not make the checksum right.
            "/: the descriptor of block group 0 is damaged: its checksum is 0x".into(),
        ),
        (
            "set_super_value free_inodes_count 3".into(),
            "/: the superblock says there are 3 free inodes, found".into(),
        ),
        (
            "set_super_value state 2".into(),
            "/: the superblock says that the kernel met errors".into(),
        ),
    ] {
        fs::copy(&right, &image).unwrap();
        change(&image, &command);
        let found = shown::problems(&shown::open(&image));
        let is_said = found.iter().any(|said| said.contains(&expected));
        assert!(is_said, "{command}: {found:#?}");
        let said_twice = found.iter().any(|said| found.iter().filter(|other| *other == said).count() > 1);
        assert!(!said_twice, "{command}: {found:#?}");
    }
}

/// A source that counts what is read of it.
#[derive(Debug)]
struct Counted {
    file: File,
    bytes: Cell<u64>,
}

impl ReadAt for Counted {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.set(self.bytes.get() + buffer.len() as u64);
        self.file.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

/// Values of attributes that many inodes share are read once: an image cannot make a check take longer than what is in it does.
#[test]
fn shared_values_are_read_once() {
    if !has_peers() {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let image = directory.path().join("image");
    mke2fs(&image, "64M", &["-O", "ea_inode,^has_journal"]);
    let mounted = Mount::writable("ext4", &image);
    for n in 0..200 {
        let path = mounted.path().join(format!("{n}"));
        fs::write(&path, "x").unwrap();
        let value = pattern(7, 60_000);
        rustix::fs::setxattr(&path, "user.a", &value, XattrFlags::empty()).unwrap();
    }
    drop(mounted);
    let counted = Counted {
        file: File::open(&image).unwrap(),
        bytes: Cell::new(0),
    };
    let opened = Image::open(counted).unwrap();
    assert_eq!(shown::problems(&opened), [""; 0]);
    let bytes = opened.into_source().bytes.get();
    assert!(bytes < 20 * 60_000, "{bytes}");
}
