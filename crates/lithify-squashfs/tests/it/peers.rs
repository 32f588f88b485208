//! Other programs: their images read here, images made here read by them.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::common::{Builder, build_unchecked, compressed, metadata, pattern, with_xattrs};
use lithify_squashfs::Image;
use lithify_testkit::{Allow, Snapshot, Tar, TarEntry, require, run, temp_dir};
use lithify_tree::{Device, EntryKind};

/// A tree with everything a tar can hold.
fn sample() -> Vec<u8> {
    let mut tar = Tar::new();
    tar.add(TarEntry::directory(".").mode(0o751).owner(3, 4));
    tar.add(TarEntry::directory("d").mode(0o1777));
    tar.add(TarEntry::file("d/empty", ""));
    tar.add(
        TarEntry::file("d/small", "small")
            .mode(0o4711)
            .owner(1000, 1001),
    );
    for size in [4095, 131_072, 131_073, 700_000] {
        tar.add(TarEntry::file(format!("d/f{size}"), pattern(size, size)));
    }
    let mut holes = vec![0; 500_000];
    holes[260_000] = 1;
    tar.add(TarEntry::file("d/holes", &holes));
    tar.add(
        TarEntry::file("x", "with attributes")
            .xattr("user.a", "1")
            .xattr("user.long", "v".repeat(3000)),
    );
    tar.add(
        TarEntry::file("y", "the same ones")
            .xattr("user.a", "1")
            .xattr("user.long", "v".repeat(3000)),
    );
    tar.add(TarEntry::symlink("d/link", "../x"));
    tar.add(TarEntry::hard_link("d/hard", "x"));
    tar.add(TarEntry::char_device("d/null", 1, 3));
    tar.add(TarEntry::block_device("d/disk", 259, 70_000));
    tar.add(TarEntry::fifo("d/fifo"));
    tar.add(TarEntry::directory("many"));
    for i in 0..1500 {
        tar.add(TarEntry::file(
            format!("many/{i:04}-{}", "n".repeat(60)),
            format!("{i}"),
        ));
    }
    tar.finish()
}

/// Unpacks a tar with GNU tar; the tree every image of it should show.
fn unpack(tar: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    let mut command = run::command("tar");
    command
        .arg("--xattrs")
        .arg("--xattrs-include=*")
        .args(["--numeric-owner", "--delay-directory-restore"])
        .arg("-xpf")
        .arg(tar)
        .arg("-C")
        .arg(to);
    run::ok(&mut command);
}

/// What this crate reads, as `Snapshot` has it.
fn compare(image: &Path, with: &Snapshot) {
    let image = Image::open(File::open(image).unwrap()).unwrap();
    let verification = image.verify().unwrap();
    let shown: Vec<String> = verification
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, [""; 0]);
    let mut found: BTreeMap<Vec<u8>, _> = BTreeMap::new();
    for entry in image.entries() {
        let (entry, inode) = entry.unwrap();
        found.insert(entry.path.as_bytes().to_vec(), (entry, inode));
    }
    assert!(found.keys().eq(with.nodes.keys()), "names");
    for (path, node) in &with.nodes {
        let (entry, inode) = &found[path];
        let shown = path.escape_ascii();
        assert_eq!(u32::from(inode.mode()), node.mode, "{shown}");
        assert_eq!((inode.uid(), inode.gid()), (node.uid, node.gid), "{shown}");
        assert_eq!(inode.mtime().seconds, node.mtime.0, "{shown}");
        let xattrs = image.xattrs(inode).unwrap();
        let xattrs: Vec<_> = xattrs
            .iter()
            .map(|(n, v)| (n.to_vec(), v.to_vec()))
            .collect();
        assert_eq!(
            xattrs,
            node.xattrs.clone().into_iter().collect::<Vec<_>>(),
            "{shown}"
        );
        match &node.kind {
            lithify_testkit::Kind::File { size, sha256 } => {
                let data = image.read_to_vec(inode, *size).unwrap();
                assert_eq!(inode.size(), *size, "{shown}");
                assert_eq!(&digest(&data), sha256, "{shown}");
                assert_eq!(u64::from(inode.nlink()), node.links, "{shown}");
            }
            lithify_testkit::Kind::Symlink(target) => {
                assert_eq!(&image.read_link(inode).unwrap(), target)
            }
            lithify_testkit::Kind::CharDevice(major, minor)
            | lithify_testkit::Kind::BlockDevice(major, minor) => {
                assert_eq!(
                    inode.device(),
                    Device {
                        major: *major,
                        minor: *minor
                    },
                    "{shown}"
                );
            }
            _ => {}
        }
        let is_link = matches!(entry.kind, EntryKind::HardLink { .. });
        assert_eq!(
            is_link,
            node.same_as.as_ref().is_some_and(|first| first != path),
            "{shown}"
        );
    }
}

/// SHA-256 in hexadecimal.
fn digest(data: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(data)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

struct Sample {
    directory: tempfile::TempDir,
    tar: PathBuf,
    tree: PathBuf,
    snapshot: Snapshot,
}

fn unpacked() -> Option<Sample> {
    if !require::root() || !require::tool("tar") {
        return None;
    }
    let directory = temp_dir();
    let (tar, tree) = (
        directory.path().join("sample.tar"),
        directory.path().join("tree"),
    );
    std::fs::write(&tar, sample()).unwrap();
    unpack(&tar, &tree);
    let snapshot = Snapshot::of(&tree);
    Some(Sample {
        directory,
        tar,
        tree,
        snapshot,
    })
}

#[test]
fn images_by_mksquashfs_are_read() {
    let Some(sample) = unpacked() else { return };
    if !require::tool("mksquashfs") {
        return;
    }
    let options: [&[&str]; 14] = [
        &["-comp", "gzip"],
        &[
            "-comp",
            "gzip",
            "-Xcompression-level",
            "1",
            "-Xwindow-size",
            "9",
        ],
        &["-comp", "lzo"],
        &["-comp", "lzo", "-Xalgorithm", "lzo1x_1"],
        &["-comp", "lz4"],
        &["-comp", "lz4", "-Xhc"],
        &["-comp", "xz"],
        &["-comp", "xz", "-Xbcj", "x86,arm", "-Xdict-size", "50%"],
        &["-comp", "zstd"],
        &["-noI", "-noD", "-noF", "-noX"],
        &["-no-fragments"],
        &["-always-use-fragments", "-b", "4096"],
        &["-b", "1M", "-no-exports"],
        &["-no-duplicates", "-nopad"],
    ];
    for (i, options) in options.into_iter().enumerate() {
        let image = sample.directory.path().join(format!("{i}.squashfs"));
        let mut command = run::command("mksquashfs");
        command
            .arg(&sample.tree)
            .arg(&image)
            .arg("-no-progress")
            .args(options);
        run::ok(&mut command);
        compare(&image, &sample.snapshot);
    }
}

#[test]
fn images_by_tar2sqfs_are_read() {
    let Some(sample) = unpacked() else { return };
    if !require::tool("tar2sqfs") {
        return;
    }
    for compression in ["gzip", "lzma", "lzo", "lz4", "xz", "zstd"] {
        for extra in [
            &["-q"][..],
            &["-q", "--exportable"],
            &["-q", "--no-tail-packing"],
        ] {
            let image = sample.directory.path().join("image.squashfs");
            let mut command = run::command("tar2sqfs");
            command
                .args(["-f", "-s", "-c", compression])
                .args(extra)
                .arg(&image);
            command.stdin(File::open(&sample.tar).unwrap());
            run::ok(&mut command);
            compare(&image, &sample.snapshot);
        }
    }
}

/// Everything the formats of the other programs have too.
fn describe<S: lithify_squashfs::Storage>(b: &mut Builder<S>) {
    b.directory("", metadata(0o751));
    b.directory("d", metadata(0o1777));
    for size in [0, 1, 4095, 131_072, 131_073, 700_000] {
        b.file(format!("d/f{size}"), metadata(0o640), &pattern(size, size));
    }
    b.file("d/copy", metadata(0o600), &pattern(700_000, 700_000));
    let parts = vec![(260_000, pattern(1, 100))];
    b.sparse(
        "d/holes",
        metadata(0o644),
        crate::common::Content {
            size: 500_000,
            parts,
        },
    );
    b.sparse(
        "d/hole",
        metadata(0o644),
        crate::common::Content {
            size: 300_000,
            parts: vec![],
        },
    );
    b.file(
        "x",
        with_xattrs(&[("user.a", b"1"), ("user.long", &[b'v'; 3000])]),
        b"with attributes",
    );
    b.file(
        "y",
        with_xattrs(&[("user.a", b"1"), ("user.longer", &[b'v'; 3000])]),
        b"with others",
    );
    b.link("d/hard", "x");
    b.symlink("d/link", b"../x");
    b.entry(
        "d/null",
        metadata(0o666),
        EntryKind::CharDevice(Device { major: 1, minor: 3 }),
        None,
    );
    b.entry(
        "d/disk",
        metadata(0o660),
        EntryKind::BlockDevice(Device {
            major: 259,
            minor: 70_000,
        }),
        None,
    );
    b.entry("d/fifo", metadata(0o600), EntryKind::Fifo, None);
    b.directory("many", metadata(0o755));
    for i in 0..1500 {
        b.file(
            format!("many/{i:04}-{}", "n".repeat(60)),
            metadata(0o644),
            format!("{i}").as_bytes(),
        );
    }
}

#[test]
fn other_programs_read_our_images() {
    if !require::root() || !require::kernel_filesystem("squashfs") {
        return;
    }
    for compression in ["zstd", "gzip:1", "lz4", "xz", "none", "zstd:19"] {
        let built = build_unchecked(compressed(compression), describe);
        built.check();
        let mount = lithify_testkit::Mount::squashfs(&built.path);
        let wanted = Snapshot::of(mount.path());
        if require::tool("unsquashfs") {
            let to = built.directory.path().join("unsquashfs");
            run::ok(
                run::command("unsquashfs")
                    .args(["-no-progress", "-d"])
                    .arg(&to)
                    .arg(&built.path),
            );
            Snapshot::of(&to).assert_same(&wanted, &Allow::nothing());
        }
        if require::tool("sqfs2tar") {
            let to = built.directory.path().join("sqfs2tar");
            let tar = built.directory.path().join("image.tar");
            let bytes = run::ok(run::command("sqfs2tar").args(["-r", "."]).arg(&built.path));
            std::fs::write(&tar, bytes).unwrap();
            unpack(&tar, &to);
            Snapshot::of(&to).assert_same(&wanted, &Allow::nothing());
        }
        if require::tool("rdsquashfs") {
            let text = run::text(
                run::command("rdsquashfs")
                    .args([
                        "-c",
                        "many/0007-nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
                    ])
                    .arg(&built.path),
            );
            assert_eq!(text, "7");
        }
    }
}

/// Targets no directory of Linux could hold, and other programs write all the same.
#[test]
fn long_link_targets_are_read() {
    if !require::tool("tar2sqfs") {
        return;
    }
    let directory = temp_dir();
    let lengths = [4096_usize, 30_000, 60_000];
    let mut tar = Tar::new();
    for length in lengths {
        tar.add(TarEntry::symlink(format!("l{length}"), "x".repeat(length)));
    }
    let (tar_path, image) = (directory.path().join("tar"), directory.path().join("image"));
    std::fs::write(&tar_path, tar.finish()).unwrap();
    let mut command = run::command("tar2sqfs");
    command
        .args(["-q", "-s"])
        .arg(&image)
        .stdin(File::open(&tar_path).unwrap());
    run::ok(&mut command);
    let image = Image::open(File::open(&image).unwrap()).unwrap();
    for length in lengths {
        let inode = image
            .lookup(format!("l{length}").as_bytes())
            .unwrap()
            .unwrap();
        assert_eq!(image.read_link(&inode).unwrap(), vec![b'x'; length]);
    }
}

/// `tar2sqfs` at the same level, block size and data: our images are not a percent longer.
#[test]
fn images_are_as_small_as_theirs() {
    if !require::tool("tar2sqfs") {
        return;
    }
    let directory = temp_dir();
    // Words drawn at random, in files of lengths as images have them, some twice.
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let words: Vec<Vec<u8>> = (0..4000)
        .map(|_| (0..3 + next(8)).map(|_| b'a' + next(26) as u8).collect())
        .collect();
    let mut tar = Tar::new();
    let mut b = Builder::with(Vec::new(), crate::common::threads(2));
    for i in 0..1500 {
        let length = if i % 50 == 0 {
            next(2_000_000)
        } else {
            next(12_000)
        };
        let mut data = Vec::with_capacity(length + 16);
        while data.len() < length {
            data.extend_from_slice(&words[next(20 + 40 * (i % 100))]);
            data.push(b' ');
        }
        for copy in 0..1 + usize::from(i % 20 == 0) {
            let path = format!("d{}/{i}-{copy}", i / 100);
            tar.add(TarEntry::file(&path, &data));
            b.file(&path, metadata(0o644), &data);
        }
    }
    let (tar_path, image) = (directory.path().join("tar"), directory.path().join("image"));
    std::fs::write(&tar_path, tar.finish()).unwrap();
    let mut command = run::command("tar2sqfs");
    command
        .args(["-q", "-c", "zstd", "-X", "level=3"])
        .arg(&image)
        .stdin(File::open(&tar_path).unwrap());
    run::ok(&mut command);
    let (_, report, _) = b.finish();
    let theirs = std::fs::metadata(image).unwrap().len();
    assert!(
        report.size * 100 <= theirs * 101,
        "{} bytes, theirs has {theirs}",
        report.size
    );
}
