//! Directories of one name and of millions, as the kernel lists and searches them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;

use lithify_ext4::{BlockSize, DataOptions, ImageOptions, WriteError};
use lithify_testkit::{Mount, require};

use crate::common::{Builder, run};

/// Short names and long ones, also such that are no text.
fn name(n: usize) -> Vec<u8> {
    let mut name = format!("{n:x}-").into_bytes();
    match n {
        _ if n % 97 == 3 => name.resize(255, b'l'),
        _ if n % 10 == 5 => name.extend([0xff, 0x80, 0xe4, n as u8 | 0x80]),
        _ => name.resize(name.len() + n % 40, b'n'),
    }
    name
}

#[test]
fn of_any_number_of_names() {
    let mut cases = vec![
        (BlockSize::Large, vec![1, 10, 1000, 200_000]),
        (BlockSize::Small, vec![1, 20, 30, 30_000]),
    ];
    if lithify_testkit::wants_all() {
        cases.push((BlockSize::Large, vec![2_000_000]));
    }
    for (block_size, counts) in cases {
        let mut options = DataOptions::default();
        options.block_size = block_size;
        let mut b = Builder::new(options);
        for &count in &counts {
            let directory = format!("d{count}/");
            for n in 0..count {
                b.empty([directory.as_bytes(), &name(n)].concat());
            }
        }
        let image = b.finish(&ImageOptions::default());
        image.fsck();
        let superblock = image.superblock();
        let flags = superblock.get("Filesystem flags");
        assert_eq!(flags, Some("unsigned_directory_hash"));
        let count = counts.iter().max().unwrap();
        let said = run("debugfs", &["-R", &format!("htree /d{count}")], &image.path);
        assert!(said.contains("Hash Version: 1"), "{said:.400}");
        assert!(said.contains("Indirect levels: 1"), "{said:.400}");
        if !require::kernel_filesystem("ext4") {
            continue;
        }
        let mount = Mount::image("ext4", &image.path);
        for &count in &counts {
            let directory = mount.path().join(format!("d{count}"));
            assert_eq!(fs::read_dir(&directory).unwrap().count(), count);
        }
        // What was listed may still be known: it is searched for in another mount.
        drop(mount);
        let mount = Mount::image("ext4", &image.path);
        for &count in &counts {
            let directory = mount.path().join(format!("d{count}"));
            for n in 0..count {
                let path = directory.join(OsString::from_vec(name(n)));
                path.symlink_metadata().unwrap();
            }
            let other = directory.join("no such name").symlink_metadata();
            assert!(other.is_err());
        }
    }
}

/// A name of 95 bytes and one of 96 with the same hash: a name's last word is filled up in front, with what is left of its
/// length. A block has room for an odd number of them.
fn of_equal_hashes(n: usize) -> [Vec<u8>; 2] {
    let head = format!("{n:092}");
    let short = [head.as_bytes(), b"end"].concat();
    let long = [head.as_bytes(), b"\x1fend"].concat();
    [short, long]
}

/// Blocks end between two names with one hash, again and again; a search for either finds it.
#[test]
fn of_names_with_equal_hashes() {
    for (block_size, pairs) in [
        (BlockSize::Small, 40_000),
        (BlockSize::Medium, 10_000),
        (BlockSize::Large, 100_000),
    ] {
        let mut options = DataOptions::default();
        options.block_size = block_size;
        let mut b = Builder::new(options);
        for name in (0..pairs).flat_map(of_equal_hashes) {
            b.empty([b"d/", &name[..]].concat());
        }
        let image = b.finish(&ImageOptions::default());
        image.fsck();
        let said = run("debugfs", &["-R", "htree /d"], &image.path);
        // A hash that goes on from the block before is marked.
        let gone_on = said.matches(" (**), block ").count();
        assert!(gone_on > pairs / 50, "{gone_on}");
        if !require::kernel_filesystem("ext4") {
            continue;
        }
        let mount = Mount::image("ext4", &image.path);
        let directory = mount.path().join("d");
        for name in (0..pairs).flat_map(of_equal_hashes) {
            let path = directory.join(OsString::from_vec(name));
            path.symlink_metadata().unwrap();
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2 * pairs);
    }
}

/// Directories count their links up to 65,000, then no longer.
#[test]
fn of_more_directories_than_links() {
    let mut b = Builder::new(DataOptions::default());
    for n in 0..65_000 {
        b.entry(
            format!("d/{n}"),
            0o755,
            lithify_tree::EntryKind::Directory,
            None,
        );
    }
    for n in 0..64_997 {
        b.entry(
            format!("e/{n}"),
            0o755,
            lithify_tree::EntryKind::Directory,
            None,
        );
    }
    let image = b.finish(&ImageOptions::default());
    image.fsck();
    for (name, links) in [("d", 1), ("e", 64_999)] {
        let said = run("debugfs", &["-R", &format!("stat /{name}")], &image.path);
        assert!(said.contains(&format!("Links: {links} ")), "{said}");
    }
}

/// Two levels of blocks of 1 KiB lead to 15,498 others.
#[test]
fn too_many_names_are_said() {
    let mut options = DataOptions::default();
    options.block_size = BlockSize::Small;
    let mut b = Builder::new(options);
    for n in 0..50_000 {
        b.empty(format!("large/{n:0>250}"));
    }
    match b.try_finish(&ImageOptions::default()) {
        Err(WriteError::DirectoryTooLarge { path }) => assert_eq!(path, b"large"),
        other => panic!("{other:?}"),
    }
}
