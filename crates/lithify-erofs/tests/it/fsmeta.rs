//! Merged images of layers: equal to the flat image of the same layers, for this crate's reader, for erofs-utils and
//! for the kernel, with devices, as one device, and as an overlay of the layers themselves.
#![cfg(target_os = "linux")]

use std::path::Path;

use crate::common::{Content, acl, check_image, check_mounted, metadata, pattern, with_xattrs};
use crate::layers::views::devices_and_disk;
use crate::layers::{Layer, What, build};
use lithify_erofs::{FsmetaOptions, Image, LayerImage, ReadError, write_fsmeta};
use lithify_testkit::{Allow, Field, Mount, Snapshot, require, run};
use lithify_tree::{ContentId, Device, EntryKind, InodeKind, Merge, Metadata, Timestamp};

/// A base, something over it, and something over that: every kind of change.
fn stack() -> Vec<Layer> {
    let sparse = |seed: usize| {
        What::Data(Content {
            size: 10_000_000,
            parts: vec![
                (0, pattern(seed, 5000)),
                (1 << 20, pattern(seed + 1, 70_000)),
                (9_000_000, pattern(seed + 2, 4096)),
            ],
        })
    };
    let root = Metadata {
        uid: 5,
        mtime: Timestamp {
            seconds: -5,
            nanoseconds: 7,
        },
        ..metadata(0o711)
    };
    let base = Layer::default()
        .add("", root, What::Directory)
        .directory("bin")
        .add(
            "bin/ping",
            with_xattrs(&[("security.capability", &pattern(1, 20)), ("user.a", b"")]),
            What::Data(Content::plain(&pattern(1, 9000))),
        )
        .pattern("bin/sh", 5_000_000)
        .add("bin/bash", metadata(0o755), What::Link("bin/sh".into()))
        .directory("etc")
        .file("etc/empty", b"")
        .pattern("etc/passwd", 1)
        .pattern("etc/group", 4096)
        .add(
            "etc/link",
            metadata(0o777),
            What::Symlink(b"passwd".to_vec()),
        )
        .directory("var")
        .directory("var/cache")
        .pattern("var/cache/a", 4097)
        .pattern("var/cache/b", 12_288)
        .directory("var/sub")
        .pattern("var/sub/gone", 77)
        .directory("dev")
        .add(
            "dev/null",
            metadata(0o666),
            What::Node(EntryKind::CharDevice(Device { major: 1, minor: 3 })),
        )
        .add("dev/pipe", metadata(0o600), What::Node(EntryKind::Fifo))
        .add("holes", metadata(0o644), sparse(3))
        .add(
            "all-hole",
            metadata(0o644),
            What::Data(Content {
                size: 123_456,
                parts: Vec::new(),
            }),
        );
    let middle = Layer::default()
        .directory("etc")
        .whiteout("etc/passwd")
        .whiteout("etc/never-was")
        .pattern("etc/group", 100)
        .add(
            "var",
            with_xattrs(&[
                ("trusted.overlay.opaque", b"y"),
                ("trusted.overlay.redirect", b"/etc"),
            ]),
            What::Directory,
        )
        .directory("var/cache")
        .opaque("var/cache")
        .pattern("var/cache/c", 333)
        .whiteout("var/sub")
        .add(
            "acl",
            with_xattrs(&[(
                "system.posix_acl_access",
                &acl(&[(1, 6, !0), (2, 4, 7), (4, 4, !0), (16, 4, !0), (32, 4, !0)]),
            )]),
            What::Data(Content::plain(&pattern(9, 4095))),
        );
    let top = Layer::default()
        .whiteout("dev")
        .directory("etc")
        .pattern("etc/passwd", 50_000)
        .directory("var")
        .directory("var/sub")
        .opaque("var/sub")
        .pattern("var/sub/new", 10)
        .add("bin", metadata(0o777), What::Symlink(b"usr/bin".to_vec()))
        .directory("usr")
        .directory("usr/bin")
        .pattern("usr/bin/tool", 3 << 20);
    vec![base, middle, top]
}

#[test]
fn a_stack_equals_its_flat_image() {
    let files = build(&stack(), &FsmetaOptions::default());
    assert_eq!(files.report.image.external_files, 8);
    devices_and_disk(&files);
}

#[test]
fn layers_stack_as_an_overlay() {
    if !require::kernel_erofs() || !require::kernel_filesystem("overlay") {
        return;
    }
    let files = build(&stack(), &FsmetaOptions::default());
    let mounts: Vec<_> = files.layers.iter().map(|l| Mount::erofs(l)).collect();
    let top_first: Vec<&Path> = mounts.iter().rev().map(Mount::path).collect();
    let overlay = Mount::overlay(&top_first).unwrap();
    let flat = Mount::erofs(&files.flat);
    // The root of an overlay is that of its top layer.
    let allow = Allow::nothing().also("a layer's image has a root of its own", |d| {
        d.path.is_empty() && d.field != Field::Presence
    });
    Snapshot::of(flat.path()).assert_same(&Snapshot::of(overlay.path()), &allow);
}

#[test]
fn thirty_layers_with_large_gaps() {
    let layers: Vec<_> = (0..30)
        .map(|i| {
            let layer = Layer::default()
                .directory("d")
                .pattern(&format!("d/{i}"), 3000 * (i + 1));
            if i % 3 == 2 {
                layer.whiteout(&format!("d/{}", i - 1))
            } else {
                layer
            }
        })
        .collect();
    let mut options = FsmetaOptions::default();
    options.alignment = 2 << 20;
    let files = build(&layers, &options);
    assert!(
        files
            .report
            .devices
            .iter()
            .all(|d| d.mapped_block.is_multiple_of(512))
    );
    devices_and_disk(&files);
}

/// The map of a file starts at a multiple of eight bytes, whatever attributes stand before it: placed anywhere else,
/// Linux reads half of each entry from the next.
#[test]
fn maps_are_aligned_behind_attributes_of_any_length() {
    let layer = (0..64).fold(Layer::default(), |layer, length| {
        let data = What::Data(Content::plain(&pattern(length, 5000)));
        let value = pattern(length, length);
        layer.add(
            &format!("f{length}"),
            with_xattrs(&[("user.a", &value)]),
            data,
        )
    });
    devices_and_disk(&build(&[layer], &FsmetaOptions::default()));
}

#[test]
fn three_hundred_devices() {
    let layers: Vec<_> = (0..300)
        .map(|i| Layer::default().file(&format!("{i}"), format!("{i}").as_bytes()))
        .collect();
    let files = build(&layers, &FsmetaOptions::default());
    check_image(&files.open(), &files.expected);
    if require::kernel_erofs() {
        check_mounted(Mount::erofs(&files.concatenate()).path(), &files.expected);
        let mount = Mount::erofs_with_devices(&files.fsmeta, &files.devices()).unwrap();
        check_mounted(mount.path(), &files.expected);
    }
}

#[test]
fn a_contiguous_file_takes_one_index() {
    let layer = Layer::default().pattern("large", 64 << 20);
    let files = build(&[layer], &FsmetaOptions::default());
    // Superblock with root, device table, and at most one more block.
    assert!(files.report.image.blocks <= 3, "{:?}", files.report);
    check_image(&files.open(), &files.expected);
}

#[test]
fn the_same_layers_give_the_same_bytes() {
    let options = FsmetaOptions::default();
    let [one, two] = [(), ()].map(|()| build(&stack(), &options));
    assert_eq!(one.report, two.report);
    assert!(std::fs::read(&one.fsmeta).unwrap() == std::fs::read(&two.fsmeta).unwrap());
    assert_eq!(one.report.image.uuid, one.open().superblock().uuid);
    let mut other = stack();
    other[0] = other.remove(0).pattern("one-more", 5);
    assert_ne!(
        one.report.image.uuid,
        build(&other, &options).report.image.uuid
    );
}

#[test]
fn dump_erofs_sees_the_devices() {
    if !require::tool("dump.erofs") {
        return;
    }
    let files = build(&stack(), &FsmetaOptions::default());
    let mut command = run::command("dump.erofs");
    for layer in &files.layers {
        command.arg(format!("--device={}", layer.display()));
    }
    let shown = run::ok(
        command
            .args(["-s", "--path=/usr/bin/tool"])
            .arg(&files.fsmeta),
    );
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("device_table"), "{shown}");
}

#[test]
fn without_its_devices_only_data_is_missing() {
    let files = build(&stack(), &FsmetaOptions::default());
    let image = Image::open(std::fs::File::open(&files.fsmeta).unwrap()).unwrap();
    assert!(!image.has_devices());
    let verification = image.verify().unwrap();
    assert!(verification.is_sound(), "{:?}", verification.problems);
    assert_eq!(verification.data_bytes, 0);
    assert!(verification.own.device_data_bytes > 3 << 20);
    let tool = image.lookup(b"usr/bin/tool").unwrap().unwrap();
    let extent = image.extent(&tool, 0).unwrap().unwrap();
    assert_eq!((extent.device, extent.length), (3, 3 << 20));
    let error = image.read_to_vec(&tool, 1 << 30).unwrap_err();
    assert!(
        matches!(error, ReadError::ExtraDevice { device: 3, .. }),
        "{error}"
    );
    assert_eq!(image.entries().filter(Result::is_err).count(), 0);
}

#[test]
fn what_follows_the_image_is_taken_for_devices_only_if_it_is_one() {
    let files = build(&stack(), &FsmetaOptions::default());
    let mut bytes = std::fs::read(&files.fsmeta).unwrap();
    bytes.resize(files.report.flat_size as usize, 0x55);
    assert!(!Image::open(bytes.as_slice()).unwrap().has_devices());
    let disk = std::fs::read(files.concatenate()).unwrap();
    assert!(Image::open(disk.as_slice()).unwrap().has_devices());
    assert!(!Image::open(&disk[..disk.len() - 1]).unwrap().has_devices());
}

#[test]
fn layers_become_entries_again() {
    let layers = stack();
    let files = build(&layers, &FsmetaOptions::default());
    let mut merge = Merge::new();
    let mut inodes = Vec::new();
    for (i, (layer, path)) in layers.iter().zip(&files.layers).enumerate() {
        let image = Image::open(std::fs::File::open(path).unwrap()).unwrap();
        let first = ContentId(inodes.len() as u32);
        let contents = image.layer_entries(layer.describes_root, first).unwrap();
        inodes.extend(contents.files.into_iter().map(|nid| (i, nid)));
        merge.apply(contents.entries).unwrap();
    }
    let tree = merge.finish();
    let wanted = &files.expected.tree;
    assert_eq!(tree.len(), wanted.len());
    for (found, wanted_node) in tree.walk().zip(wanted.walk()) {
        assert_eq!(tree.path(found), wanted.path(wanted_node));
        let (a, b) = (tree.node_inode(found), wanted.node_inode(wanted_node));
        assert_eq!(tree.xattrs(a.xattrs), wanted.xattrs(b.xattrs));
        assert_eq!(
            (a.mode, a.uid, a.gid, a.mtime, a.nlink),
            (b.mode, b.uid, b.gid, b.mtime, b.nlink)
        );
        if let InodeKind::File {
            size,
            content: Some(content),
        } = a.kind
        {
            let (layer, nid) = inodes[content.0 as usize];
            let image = Image::open(std::fs::File::open(&files.layers[layer]).unwrap()).unwrap();
            assert_eq!(image.inode(nid).unwrap().size(), size);
        }
    }
}

/// A layer made by others: whiteouts that are all names of one inode, as overlayfs makes them, a file's end not behind
/// its inode.
#[test]
fn layers_of_mkfs_erofs() {
    if !require::root() || !require::tool("mkfs.erofs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir_all(source.join("d")).unwrap();
    std::fs::create_dir_all(source.join("o")).unwrap();
    std::fs::write(source.join("d/new"), pattern(1, 5000)).unwrap();
    std::fs::write(source.join("o/new"), pattern(2, 50)).unwrap();
    let device = rustix::fs::makedev(0, 0);
    let (mode, kind) = (
        rustix::fs::Mode::empty(),
        rustix::fs::FileType::CharacterDevice,
    );
    rustix::fs::mknodat(rustix::fs::CWD, source.join("d/a"), kind, mode, device).unwrap();
    std::fs::hard_link(source.join("d/a"), source.join("d/b")).unwrap();
    std::fs::hard_link(source.join("d/a"), source.join("top")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    for (path, name, value) in [
        ("o", "opaque", "y"),
        ("d", "origin", ""),
        ("d", "impure", "y"),
    ] {
        let name = format!("trusted.overlay.{name}");
        rustix::fs::setxattr(source.join(path), name, value.as_bytes(), flags).unwrap();
    }
    let path = directory.path().join("upper");
    run::ok(
        run::command("mkfs.erofs")
            .arg("-Enoinline_data")
            .args([&path, &source]),
    );

    let base = Layer::default()
        .directory("d")
        .file("d/a", b"a")
        .file("d/b", b"b")
        .file("d/c", b"c")
        .directory("o")
        .file("o/old", b"old")
        .file("top", b"top");
    let lower = Image::open(crate::layers::layer_image(
        &base,
        crate::layers::create(&directory.path().join("l")),
    ))
    .unwrap();
    let upper = Image::open(std::fs::File::open(&path).unwrap()).unwrap();
    let inputs = [&lower, &upper].map(|image| LayerImage {
        image,
        describes_root: false,
        tag: crate::layers::tag(1),
    });
    let (fsmeta, report) = write_fsmeta(&inputs, Vec::new(), &FsmetaOptions::default()).unwrap();
    // Three whiteouts, and what was in the opaque directory.
    assert_eq!(report.removed, 4);
    let devices = [&directory.path().join("l"), &path].map(|p| std::fs::read(p).unwrap());
    let merged = Image::open_with_devices(fsmeta, devices.into()).unwrap();
    let names: Vec<_> = merged
        .walk()
        .map(|e| String::from_utf8(e.unwrap().path).unwrap())
        .collect();
    assert_eq!(names, ["", "d", "d/c", "d/new", "o", "o/new"]);
    let read = |path: &[u8]| {
        merged
            .read_to_vec(&merged.lookup(path).unwrap().unwrap(), 9999)
            .unwrap()
    };
    assert!(
        read(b"d/new") == pattern(1, 5000)
            && read(b"o/new") == pattern(2, 50)
            && read(b"d/c") == b"c"
    );
    assert!(
        merged
            .walk()
            .all(|e| merged.xattrs(&e.unwrap().inode).unwrap().is_empty())
    );
}
