//! Merged images of layers: equal to the flat image of the same layers, for this crate's reader, for erofs-utils and
//! for the kernel, with devices, as one device, and as an overlay of the layers themselves.
#![cfg(target_os = "linux")]

use std::path::Path;

use crate::common::{Content, acl, check_image, check_mounted, metadata, pattern, with_xattrs};
use crate::layers::{Files, Layer, What, build, build_with, small_inline};
use lithify_erofs::{
    DataLayout, FsmetaError, FsmetaOptions, Image, LayerImage, Operation, ReadAt, ReadError,
    WriteError, write_fsmeta,
};
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

fn devices_and_disk(files: &Files) {
    check_image(&files.open(), &files.expected);
    let disk = files.concatenate();
    check_image(
        &Image::open(std::fs::File::open(&disk).unwrap()).unwrap(),
        &files.expected,
    );
    if require::tool("fsck.erofs") {
        let mut command = run::command("fsck.erofs");
        for layer in &files.layers {
            let option = format!("--device={}", layer.display());
            command.arg(option);
        }
        run::ok(command.arg("--extract").arg(&files.fsmeta));
    }
    if require::kernel_erofs() {
        let mount = Mount::erofs_with_devices(&files.fsmeta, &files.devices()).unwrap();
        check_mounted(mount.path(), &files.expected);
        check_mounted(Mount::erofs(&disk).path(), &files.expected);
        let flat = Mount::erofs(&files.flat);
        Snapshot::of(flat.path()).assert_same(&Snapshot::of(mount.path()), &Allow::nothing());
    }
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

/// A file of one byte took a block of 4096 in its layer: 293 MB for 70,000 of them. Behind their inodes they share
/// blocks, and since chunks cannot point there, the merged image has a copy.
#[test]
fn short_files_are_copied_into_the_merged_image() {
    let long = pattern(5, 3300);
    let base = (0..40)
        .fold(Layer::default(), |layer, i| {
            layer.pattern(&format!("s{i}"), 1 + i * 29)
        })
        .directory("d")
        .pattern("d/first", 1)
        .pattern("d/exact", 1024)
        .pattern("d/more", 1025)
        .pattern("d/block", 4096)
        .pattern("d/tail", 4097)
        .pattern("d/gone", 700)
        .add("d/link", metadata(0o644), What::Link("d/exact".into()))
        // No room behind the inode, in neither image.
        .add(
            "d/attributes",
            with_xattrs(&[("user.long", &long)]),
            What::Data(Content::plain(&pattern(3, 1000))),
        )
        .add(
            "d/hole",
            metadata(0o600),
            What::Data(Content {
                size: 900,
                parts: vec![(800, pattern(4, 20))],
            }),
        );
    let top = Layer::default()
        .directory("d")
        .whiteout("d/gone")
        .pattern("d/first", 999)
        .add("d/other", metadata(0o644), What::Data(Content::plain(b"2")));
    let layers = [base, top];
    let options = FsmetaOptions::default();
    let files = build_with(&layers, small_inline, &options);
    devices_and_disk(&files);
    let merged = files.open();
    let layout = |path: &str| merged.lookup(path.as_bytes()).unwrap().unwrap().layout();
    for path in ["s0", "s35", "d/first", "d/exact", "d/link", "d/other"] {
        assert_eq!(layout(path), DataLayout::Inline, "{path}");
    }
    for path in ["d/more", "d/block", "d/tail"] {
        assert_eq!(layout(path), DataLayout::Chunked, "{path}");
    }
    // What was removed is not there, nor the replaced version.
    let bytes = std::fs::read(&files.fsmeta).unwrap();
    let has = |data: &[u8]| bytes.windows(data.len()).any(|w| w == data);
    let data = |layer: usize, path: &str| {
        let found = layers[layer].items.iter().find(|item| item.0 == path);
        match &found.unwrap().2 {
            What::Data(content) => content.parts[0].1.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert!(has(&data(0, "d/exact")) && has(&data(1, "d/first")));
    assert!(!has(&data(0, "d/gone")));
    // The same each time, and another for other data.
    let again = build_with(&layers, small_inline, &options);
    assert!(std::fs::read(&again.fsmeta).unwrap() == bytes);
    // Without the layers all of it can be read that is here.
    let alone = Image::open(bytes).unwrap();
    assert!(alone.verify().unwrap().is_sound());
    let exact = alone.lookup(b"d/exact").unwrap().unwrap();
    assert_eq!(alone.read_to_vec(&exact, 2000).unwrap(), data(0, "d/exact"));
}

#[test]
fn many_short_files_take_what_they_take_in_a_flat_image() {
    let layer = (0..3000).fold(Layer::default(), |layer, i| {
        layer.file(&format!("file{i}"), b"x")
    });
    let layers = [layer];
    let images = [Image::open(crate::layers::layer_image_with(
        &layers[0],
        Vec::new(),
        small_inline(),
    ))
    .unwrap()];
    let (fsmeta, report) =
        crate::layers::merge(&layers, &images, Vec::new(), &FsmetaOptions::default());
    let (flat, _) = crate::layers::flat(&layers, Vec::new());
    let [image] = images;
    let layer = image.into_source();
    assert_eq!(
        (report.image.inline_tails, report.image.external_files),
        (3000, 0)
    );
    // Superblock, device table.
    assert!(fsmeta.len() <= flat.len() + 2 * 4096, "{}", fsmeta.len());
    assert!(layer.len() <= flat.len() + 4096, "{}", layer.len());
}

/// Others have short files behind their inodes unless told not to.
#[test]
fn short_files_of_mkfs_erofs_are_copied() {
    if !require::tool("mkfs.erofs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir_all(source.join("d")).unwrap();
    let files: Vec<_> = [1, 40, 2000, 3900, 4096, 8192]
        .map(|size| (format!("d/{size}"), pattern(size, size)))
        .into();
    for (name, data) in &files {
        std::fs::write(source.join(name), data).unwrap();
    }
    let path = directory.path().join("layer");
    run::ok(run::command("mkfs.erofs").args([&path, &source]));
    let layer = Image::open(std::fs::read(&path).unwrap()).unwrap();
    let inline = layer.lookup(b"d/40").unwrap().unwrap();
    assert_eq!(inline.layout(), DataLayout::Inline);
    let inputs = [LayerImage {
        image: &layer,
        describes_root: true,
        tag: crate::layers::tag(1),
    }];
    let (fsmeta, _) = write_fsmeta(&inputs, Vec::new(), &FsmetaOptions::default()).unwrap();
    let merged = Image::open_with_devices(fsmeta, vec![layer.into_source()]).unwrap();
    assert!(merged.verify().unwrap().is_sound());
    for (name, data) in &files {
        let inode = merged.lookup(name.as_bytes()).unwrap().unwrap();
        assert!(
            merged.read_to_vec(&inode, 10_000).unwrap() == *data,
            "{name}"
        );
    }
}

/// A layer that cannot be read any more, and a short file that claims to be where nothing is.
#[test]
fn short_files_that_are_not_there_are_named() {
    let layer = Layer::default().pattern("f", 900);
    let bytes = crate::layers::layer_image_with(&layer, Vec::new(), small_inline());
    let image = Image::open(Failing(bytes)).unwrap();
    let inputs = [LayerImage {
        image: &image,
        describes_root: false,
        tag: crate::layers::tag(1),
    }];
    let error = write_fsmeta(&inputs, Vec::new(), &FsmetaOptions::default()).unwrap_err();
    assert!(
        matches!(
            &error,
            FsmetaError::Write(WriteError::Io {
                operation: Operation::ReadLayer,
                ..
            })
        ),
        "{error}"
    );

    // The inode's size is past the end of its block.
    let mut bytes = crate::layers::layer_image_with(&layer, Vec::new(), small_inline());
    let at = {
        let image = Image::open(bytes.as_slice()).unwrap();
        image.lookup(b"f").unwrap().unwrap().nid() as usize * 32
    };
    assert_eq!(bytes[at + 8..at + 12], 900_u32.to_le_bytes());
    bytes[at + 8..at + 12].copy_from_slice(&4090_u32.to_le_bytes());
    // No checksum then.
    bytes[1024 + 8] &= !1;
    let image = Image::open(bytes).unwrap();
    let inputs = [LayerImage {
        image: &image,
        describes_root: false,
        tag: crate::layers::tag(1),
    }];
    let error = write_fsmeta(&inputs, Vec::new(), &FsmetaOptions::default()).unwrap_err();
    assert!(
        matches!(
            &error,
            FsmetaError::Read {
                layer: 0,
                source: ReadError::InlineCrossesBlock { .. }
            }
        ),
        "{error}"
    );
}

/// An image whose storage fails for reads of 900 bytes, which only a file of that length asks for.
struct Failing(Vec<u8>);

impl ReadAt for Failing {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        if buffer.len() == 900 {
            return Err(std::io::Error::other("gone"));
        }
        self.0.as_slice().read_exact_at(buffer, offset)
    }

    fn size(&self) -> std::io::Result<u64> {
        self.0.as_slice().size()
    }
}

#[test]
fn what_cannot_be_merged_is_named() {
    let options = FsmetaOptions::default();
    let try_merge = |images: &[Image<Vec<u8>>], options: &FsmetaOptions| {
        let inputs: Vec<_> = images
            .iter()
            .map(|image| LayerImage {
                image,
                describes_root: false,
                tag: crate::layers::tag(1),
            })
            .collect();
        write_fsmeta(&inputs, Vec::new(), options).unwrap_err()
    };
    let image = |layer: &Layer| Image::open(crate::layers::layer_image(layer, Vec::new())).unwrap();
    let plain = || image(&Layer::default().file("f", b"x"));

    assert!(matches!(
        try_merge(&[], &options),
        FsmetaError::LayerCount { found: 0, .. }
    ));
    for alignment in [0, 1, 2048, 4095, 3 << 20, 1 << 32] {
        let mut options = FsmetaOptions::default();
        options.alignment = alignment;
        assert!(
            matches!(try_merge(&[plain()], &options), FsmetaError::Alignment { found } if found == alignment)
        );
    }

    // The end of a file behind its inode.
    let mut builder = crate::common::Builder::new(Vec::new());
    Layer::default()
        .directory("d")
        .pattern("d/tail", 5000)
        .describe(&mut builder);
    let inline = Image::open(builder.finish().0).unwrap();
    let error = try_merge(&[plain(), inline], &options);
    assert!(
        matches!(&error, FsmetaError::NotAligned { layer: 1, path } if path == b"d/tail"),
        "{error}"
    );

    // A merged image as a layer.
    let (fsmeta, _) = crate::layers::merge(&[Layer::default()], &[plain()], Vec::new(), &options);
    let error = try_merge(&[Image::open(fsmeta).unwrap()], &options);
    assert!(
        matches!(
            error,
            FsmetaError::LayerDevices {
                layer: 0,
                devices: 1
            }
        ),
        "{error}"
    );

    for name in ["redirect", "metacopy", "whiteout", "verity", "opaque"] {
        let marked = with_xattrs(&[(&format!("trusted.overlay.{name}"), b"x")]);
        let mut builder = crate::common::Builder::with(Vec::new(), crate::layers::aligned());
        builder.directory("d", marked);
        let error = try_merge(&[Image::open(builder.finish().0).unwrap()], &options);
        let FsmetaError::Read {
            layer: 0,
            source: ReadError::OverlayXattr { .. },
        } = error
        else {
            panic!("{error:?}");
        };
    }

    // Twice 2³¹ blocks, and a block for the merged image.
    let mut bytes = crate::layers::layer_image(&Layer::default(), Vec::new());
    bytes[1024 + 8] &= !1;
    bytes[1024 + 36..][..4].copy_from_slice(&(1_u32 << 31).to_le_bytes());
    let huge = Image::open(Endless(bytes)).unwrap();
    let inputs = [&huge, &huge].map(|image| LayerImage {
        image,
        describes_root: false,
        tag: crate::layers::tag(1),
    });
    let error = write_fsmeta(&inputs, Vec::new(), &options).unwrap_err();
    assert!(
        matches!(error, FsmetaError::TooLarge { blocks } if blocks > 1 << 32),
        "{error}"
    );

    // Other block sizes.
    let mut bytes = crate::layers::layer_image(&Layer::default(), Vec::new());
    (bytes[1024 + 8], bytes[1024 + 12]) = (2, 11);
    let error = try_merge(&[Image::open(bytes).unwrap()], &options);
    assert!(
        matches!(
            error,
            FsmetaError::BlockSize {
                layer: 0,
                found: 2048,
                ..
            }
        ),
        "{error}"
    );

    if require::tool("mkfs.erofs") {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        std::fs::create_dir(directory.path().join("source")).unwrap();
        std::fs::write(directory.path().join("source/zeros"), vec![0; 1 << 20]).unwrap();
        run::ok(
            run::command("mkfs.erofs")
                .arg("-zlz4")
                .args([&path, &directory.path().join("source")]),
        );
        let error = try_merge(
            &[Image::open(std::fs::read(&path).unwrap()).unwrap()],
            &options,
        );
        assert!(
            matches!(&error, FsmetaError::Compressed { layer: 0, path } if path == b"zeros"),
            "{error}"
        );
    }
}

/// An image followed by zeros without end.
struct Endless(Vec<u8>);

impl ReadAt for Endless {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        buffer.fill(0);
        let start = self.0.len().min(offset as usize);
        let n = buffer.len().min(self.0.len() - start);
        buffer[..n].copy_from_slice(&self.0[start..start + n]);
        Ok(())
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(u64::MAX >> 1)
    }
}

#[test]
fn as_many_layers_as_there_are_numbers() {
    let image = Image::open(crate::layers::layer_image(
        &Layer::default().file("f", b"x"),
        Vec::new(),
    ))
    .unwrap();
    let input = || LayerImage {
        image: &image,
        describes_root: false,
        tag: crate::layers::tag(1),
    };
    let inputs: Vec<_> = (0..65535).map(|_| input()).collect();
    let (fsmeta, report) = write_fsmeta(&inputs, Vec::new(), &FsmetaOptions::default()).unwrap();
    assert_eq!((report.devices.len(), report.removed), (65535, 0));
    let merged = Image::open(fsmeta).unwrap();
    assert!(merged.verify().unwrap().is_sound());
    let file = merged.lookup(b"f").unwrap().unwrap();
    assert_eq!(merged.extent(&file, 0).unwrap().unwrap().device, 65535);
    let more: Vec<_> = (0..65536).map(|_| input()).collect();
    let error = write_fsmeta(&more, Vec::new(), &FsmetaOptions::default()).unwrap_err();
    assert!(
        matches!(error, FsmetaError::LayerCount { found: 65536, .. }),
        "{error}"
    );
}

/// A file costs an inode with one index and its name, whatever its length, and what is removed costs nothing.
#[test]
fn many_files_take_little() {
    let mut base = Layer::default();
    let mut top = Layer::default();
    for directory in 0..200 {
        let path = format!("d{directory}");
        (base, top) = (base.directory(&path), top.directory(&path));
        for file in 0..100 {
            base = base.file(&format!("{path}/file{file}"), b"x");
        }
        for file in 0..20 {
            top = top.whiteout(&format!("{path}/file{file}"));
        }
    }
    let layers = [base, top];
    let images: Vec<_> = layers
        .iter()
        .map(|layer| Image::open(crate::layers::layer_image(layer, Vec::new())).unwrap())
        .collect();
    let (fsmeta, report) =
        crate::layers::merge(&layers, &images, Vec::new(), &FsmetaOptions::default());
    assert_eq!(
        (report.removed, report.image.external_files),
        (4000, 16_000)
    );
    // 64 bytes for inode and index, 18 for the name; directories and what does not fill a block come to it.
    assert!(
        fsmeta.len() < 16_000 * 85 + 200 * 128,
        "{} bytes",
        fsmeta.len()
    );
    assert!(report.image.padding_bytes < 8192);
    assert!(Image::open(fsmeta).unwrap().verify().unwrap().is_sound());
}
