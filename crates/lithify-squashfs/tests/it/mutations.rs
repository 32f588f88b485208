//! Every field of the superblock and of the tables behind it changed: what other readers refuse, `verify` does.
#![cfg(target_os = "linux")]

use crate::common::{Builder, Squashfs, compressed, metadata, pattern, with_xattrs};
use lithify_fstests::Filesystem as _;
use lithify_fstests::mutations::{Field, compare, get, put, refusal};
use lithify_squashfs::Image;
use lithify_testkit::require;

/// Linux knows no lzma; `unsquashfs` and this reader do.
fn unknown(field: Field, value: u64) -> bool {
    field.0 == "compressor" && value == 2
}

/// An image with all tables.
fn sample(compression: &str) -> Vec<u8> {
    let mut b = Builder::with(Vec::new(), compressed(compression));
    for i in 0..30 {
        let mut metadata = with_xattrs(&[("user.k", &[i]), ("user.same", b"value")]);
        metadata.uid = 1000 + u32::from(i);
        b.file(
            format!("dir/{i}"),
            metadata,
            &pattern(i.into(), 900 + usize::from(i)),
        );
    }
    b.file("big", metadata(0o644), &pattern(1, 300_000));
    b.symlink("link", b"dir/1");
    b.finish().0
}

#[test]
fn what_linux_or_unsquashfs_refuses_is_not_sound() {
    if !require::kernel_filesystem("squashfs") || !require::tool("unsquashfs") {
        return;
    }
    const SUPERBLOCK: [Field; 18] = [
        ("inodes", 4, 4),
        ("time", 8, 4),
        ("block_size", 12, 4),
        ("fragments", 16, 4),
        ("compressor", 20, 2),
        ("block_log", 22, 2),
        ("flags", 24, 2),
        ("ids", 26, 2),
        ("major", 28, 2),
        ("minor", 30, 2),
        ("root", 32, 8),
        ("bytes_used", 40, 8),
        ("id_table", 48, 8),
        ("xattr_table", 56, 8),
        ("inode_table", 64, 8),
        ("directory_table", 72, 8),
        ("fragment_table", 80, 8),
        ("export_table", 88, 8),
    ];
    for compression in ["zstd", "lz4", "gzip", "none"] {
        let right = sample(compression);
        let mut fields = SUPERBLOCK.to_vec();
        let table = |field: usize| get(&right, SUPERBLOCK[field]) as usize;
        fields.push(("first byte of the options or data", 96, 2));
        fields.push(("of the options or data", 98, 4));
        fields.push(("attributes", table(13), 8));
        fields.push(("number of attributes", table(13) + 8, 4));
        fields.push(("attribute block", table(13) + 16, 8));
        for (name, header, field) in [
            ("owner block", "header of the owners", 12),
            ("fragment block", "header of the fragments", 16),
            ("export block", "header of the inode references", 17),
        ] {
            let list = table(field);
            if list == usize::MAX {
                continue;
            }
            fields.push((name, list, 8));
            fields.push((header, get(&right, (name, list, 8)) as usize, 2));
        }
        let accepted = compare::<Squashfs>(compression, &right, &fields, unknown);
        // The time and flags that say nothing to a reader: less would mean that everything is refused.
        assert!(accepted > 40, "{compression}: {accepted}");
    }
}

/// Bytes of the table of inodes are not covered by anything else in an image whose metadata is not compressed.
#[test]
fn a_link_to_two_places_is_not_sound() {
    let mut b = Builder::with(Vec::new(), compressed("none"));
    b.symlink("link", b"etc/passwd.harmless");
    let right = b.finish().0;
    assert!(Squashfs::is_sound(&right));
    let at = right.windows(11).position(|w| w == b"passwd.harm").unwrap();
    let mut bytes = right;
    bytes[at + 6] = 0;
    let image = Image::open(&bytes[..]).unwrap();
    let problems = image.verify().unwrap().problems;
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].to_string().contains("has a NUL in it"),
        "{}",
        problems[0]
    );
    let link = image.lookup(b"link").unwrap().unwrap();
    assert!(image.read_link(&link).is_err());
}

/// Images of a later `mksquashfs`, which knows more filters than this one, were not opened: the field says which were tried,
/// and nothing to a reader.
#[test]
fn filters_of_xz_that_are_newer_are_nothing_to_a_reader() {
    let tools = require::tool("mksquashfs") && require::tool("unsquashfs");
    if !tools || !require::kernel_filesystem("squashfs") {
        return;
    }
    let directory = lithify_testkit::temp_dir();
    let (tree, path) = (
        directory.path().join("tree"),
        directory.path().join("image"),
    );
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("file"), pattern(1, 300_000)).unwrap();
    let mut tool = lithify_testkit::run::command("mksquashfs");
    tool.arg(&tree).arg(&path);
    lithify_testkit::run::ok(tool.args(["-comp", "xz", "-Xbcj", "x86", "-no-progress", "-quiet"]));
    let right = std::fs::read(&path).unwrap();
    let filters = ("filters of xz", 102, 4);
    assert_eq!(get(&right, filters), 1);
    for value in [0, 0x40, 0x80, u64::from(u32::MAX)] {
        let mut bytes = right.clone();
        put(&mut bytes, filters, value);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(refusal::<Squashfs>(&path), None, "{value:#x}");
        assert!(Squashfs::is_sound(&bytes), "{value:#x}");
        let image = Image::open(&bytes[..]).unwrap();
        let file = image.lookup(b"file").unwrap().unwrap();
        let data = image.read_to_vec(&file, u64::MAX).unwrap();
        assert!(data == pattern(1, 300_000), "{value:#x}");
    }
    compare::<Squashfs>(
        "xz",
        &right,
        &[("dictionary of xz", 98, 4), filters],
        unknown,
    );
}
