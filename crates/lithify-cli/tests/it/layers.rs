//! Layered builds: an image per layer, the merged image over them. Whatever way the kernel puts them together, it
//! shows what the flat EROFS image of the same container image shows.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::common::layered::{
    awkward, bottom_of_awkward, description, layered, merged, overlay, overlay_differences,
    same_files, stack, with_store,
};
use crate::common::{build, fsck, image, layer, lithify, lithify_output, stderr};
use lithify_testkit::{Allow, Field, Mount, Snapshot, TarEntry, require, run, temp_dir};
use serde_json::Value;

/// What squashfs does not have: nanoseconds, times before 1970, ACLs.
fn squashfs_differences() -> Allow {
    overlay_differences()
        .also("squashfs has whole seconds from 1970 on", |d| {
            d.field == Field::Mtime
        })
        .also("squashfs has no ACLs", |d| {
            d.to_string().contains("posix_acl")
        })
}

#[test]
fn every_way_to_put_layers_together_shows_the_same() {
    if !require::root() || !require::kernel_erofs() || !require::tool("fsck.erofs") {
        return;
    }
    let Some(layout) = require::fixture("debian") else {
        return;
    };
    let tmp = temp_dir();
    let source = format!("oci:{}", layout.display());
    let flat = tmp.path().join("flat.erofs");
    build(&source, "erofs", &flat);
    let flat_mount = Mount::erofs(&flat);
    let expected = Snapshot::of(flat_mount.path());

    let directory = layered(
        &source,
        "erofs-layers",
        tmp.path(),
        &["--disk", "vmdk,raw,gpt"],
    );
    run::ok(lithify().arg("verify").arg(&directory));
    for image in stack(&directory, "devices") {
        fsck(&image);
    }
    let mut command = run::command("fsck.erofs");
    for device in stack(&directory, "devices") {
        command.arg(format!("--device={}", device.display()));
    }
    run::ok(command.arg(directory.join("fsmeta.erofs")));

    // The merged image with its devices, and everything on one disk.
    Snapshot::of(merged(&directory).path()).assert_same(&expected, &Allow::nothing());
    let disk = Mount::erofs(&directory.join("disk.raw"));
    Snapshot::of(disk.path()).assert_same(&expected, &Allow::nothing());
    // An overlay of the layers.
    let (_lower, top) = overlay(&directory, "erofs");
    Snapshot::of(top.path()).assert_same(&expected, &overlay_differences());
    // The listing needs no kernel.
    let list = |what: &Path| run::text(lithify().args(["ls", "-alR"]).arg(what));
    assert_eq!(list(&directory), list(&flat));
}

#[test]
fn squashfs_shows_the_same() {
    if !require::root() || !require::kernel_erofs() || !require::kernel_filesystem("squashfs") {
        return;
    }
    let Some(layout) = require::fixture("debian") else {
        return;
    };
    let tmp = temp_dir();
    let source = format!("oci:{}", layout.display());
    let flat = tmp.path().join("flat.erofs");
    build(&source, "erofs", &flat);
    let flat_mount = Mount::erofs(&flat);
    let expected = Snapshot::of(flat_mount.path());

    // ACLs are an error first.
    let squashfs = tmp.path().join("flat.squashfs");
    let refused = lithify_output([
        "build",
        &source,
        "-f",
        "squashfs",
        "-o",
        squashfs.to_str().unwrap(),
    ]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("--drop-xattrs"),
        "{}",
        stderr(&refused)
    );
    assert!(!squashfs.exists());

    let mut command = lithify();
    command.args(["build", &source, "-f", "squashfs", "--drop-xattrs", "-o"]);
    run::ok(command.arg(&squashfs));
    run::ok(lithify().arg("verify").arg(&squashfs));
    let mount = Mount::squashfs(&squashfs);
    Snapshot::of(mount.path()).assert_same(&expected, &squashfs_differences());

    let directory = layered(&source, "squashfs-layers", tmp.path(), &["--drop-xattrs"]);
    run::ok(lithify().arg("verify").arg(&directory));
    let (_lower, top) = overlay(&directory, "squashfs");
    Snapshot::of(top.path()).assert_same(&expected, &squashfs_differences());
}

#[test]
fn layers_that_depend_on_lower_ones_are_right() {
    if !require::root() || !require::kernel_erofs() {
        return;
    }
    let tmp = temp_dir();
    let source = awkward(&tmp.path().join("image"));
    let flat = tmp.path().join("flat.erofs");
    build(&source, "erofs", &flat);
    let flat_mount = Mount::erofs(&flat);
    let expected = Snapshot::of(flat_mount.path());
    let directory = layered(&source, "erofs-layers", tmp.path(), &[]);
    let description = description(&directory);
    let layers: Vec<_> = description["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|a| a["format"] == "erofs-layer")
        .map(|a| a["chain_id"].is_string())
        .collect();
    // Only the second depends on what lies below.
    assert_eq!(layers, [false, true, false]);
    Snapshot::of(merged(&directory).path()).assert_same(&expected, &Allow::nothing());
    let (lower, top) = overlay(&directory, "erofs");
    Snapshot::of(top.path()).assert_same(&expected, &overlay_differences());
    // Files with names in both layers are one file still.
    let inode = |name: &str| {
        fs::metadata(top.path().join("data").join(name))
            .unwrap()
            .ino()
    };
    assert_eq!(inode("a"), inode("c"));
    assert_eq!(inode("b"), inode("c"));
    // No whiteout shows, not even in a directory only one layer has.
    assert_eq!(crate::common::names(&top.path().join("new")), ["big"]);
    drop((top, lower));

    // Made over layers that were found in the store, it is the same.
    let again = tmp.path().join("again");
    fs::create_dir(&again).unwrap();
    let base = image(&again.join("base"), [bottom_of_awkward()]);
    layered(&base, "erofs-layers", &again, &[]);
    let other = again.join("other");
    let mut command = with_store(&again);
    command.args(["build", &source, "-f", "erofs-layers", "--json", "-o"]);
    let json: Value = serde_json::from_slice(&run::ok(command.arg(&other))).unwrap();
    assert_eq!((&json["built"], &json["reused"]), (&3.into(), &1.into()));
    same_files(&directory, &other);
}

#[test]
fn the_same_bytes_every_time() {
    let tmp = temp_dir();
    let source = awkward(&tmp.path().join("image"));
    for format in ["erofs-layers", "squashfs-layers"] {
        let mut first: Option<PathBuf> = None;
        for (number, extra) in [
            ["--jobs", "1"].as_slice(),
            &["--jobs", "8"],
            &["--no-store"],
            &["--no-fsync"],
        ]
        .into_iter()
        .enumerate()
        {
            let dir = tmp.path().join(format!("{format}-{number}"));
            fs::create_dir(&dir).unwrap();
            let out = layered(&source, format, &dir, extra);
            match &first {
                None => first = Some(out),
                Some(first) => same_files(first, &out),
            }
        }
    }
}

#[test]
fn images_share_their_base() {
    let tmp = temp_dir();
    let base = bottom_of_awkward();
    let one = image(
        &tmp.path().join("one"),
        [base.clone(), layer([TarEntry::file("one", "1")])],
    );
    let two = image(
        &tmp.path().join("two"),
        [base, layer([TarEntry::file("two", "2")])],
    );
    let counts = |source: &str, name: &str| {
        let out = tmp.path().join(name);
        let mut command = with_store(tmp.path());
        command.args(["build", source, "-f", "erofs-layers", "--json", "-o"]);
        let json: Value = serde_json::from_slice(&run::ok(command.arg(out))).unwrap();
        (
            json["built"].as_u64().unwrap(),
            json["reused"].as_u64().unwrap(),
        )
    };
    assert_eq!(counts(&one, "a"), (3, 0));
    assert_eq!(
        counts(&two, "b"),
        (2, 1),
        "only its own layer and merged image"
    );
    assert_eq!(counts(&two, "c"), (0, 3));
    // A build over an earlier one's output replaces it.
    assert_eq!(counts(&one, "c"), (0, 3));
    same_files(&tmp.path().join("a"), &tmp.path().join("c"));
    // Another directory is not touched.
    fs::create_dir(tmp.path().join("mine")).unwrap();
    fs::write(tmp.path().join("mine/file"), "precious").unwrap();
    let mut command = with_store(tmp.path());
    command.args(["build", &one, "-f", "erofs-layers", "-o"]);
    let output = run::output(command.arg(tmp.path().join("mine")));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(crate::common::names(&tmp.path().join("mine")), ["file"]);
}

#[test]
fn the_same_layer_twice_is_one_file() {
    let tmp = temp_dir();
    let twice = layer([TarEntry::directory("d"), TarEntry::file("d/x", "x")]);
    let source = image(
        &tmp.path().join("image"),
        [twice.clone(), layer([TarEntry::whiteout("d")]), twice],
    );
    let directory = tmp.path().join("twice");
    let mut command = with_store(tmp.path());
    command.args(["build", &source, "-f", "erofs-layers", "--json", "-o"]);
    let json: Value = serde_json::from_slice(&run::ok(command.arg(&directory))).unwrap();
    assert_eq!((&json["built"], &json["reused"]), (&3.into(), &1.into()));
    assert_eq!(crate::common::names(&directory.join("layers")).len(), 2);
    assert_eq!(stack(&directory, "devices").len(), 3);
    run::ok(lithify().arg("verify").arg(&directory));
    // One that depends on what lies below it is two.
    let twice = layer([TarEntry::file("d/x", "x")]);
    let base = layer([TarEntry::directory("d").mode(0o700)]);
    let between = layer([TarEntry::directory("d").mode(0o711)]);
    let source = image(
        &tmp.path().join("image2"),
        [base, twice.clone(), between, twice],
    );
    let other = tmp.path().join("other");
    fs::create_dir(&other).unwrap();
    let directory = layered(&source, "erofs-layers", &other, &[]);
    assert_eq!(crate::common::names(&directory.join("layers")).len(), 4);
    if require::root() && require::kernel_erofs() {
        let mount = merged(&directory);
        assert_eq!(
            fs::metadata(mount.path().join("d")).unwrap().mode() & 0o777,
            0o711
        );
    }
}

#[test]
fn what_an_overlay_cannot_hold_is_said() {
    let tmp = temp_dir();
    let source = image(
        &tmp.path().join("image"),
        [layer([TarEntry::char_device("zero", 0, 0)])],
    );
    let out = tmp.path().join("out");
    let mut command = with_store(tmp.path());
    command.args(["build", &source, "-f", "erofs-layers", "-o"]);
    let output = run::output(command.arg(&out));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/zero"), "{}", stderr(&output));
    assert!(!out.exists());
    assert!(
        crate::common::names(tmp.path())
            .iter()
            .all(|n| !n.contains(".tmp"))
    );
}

#[test]
fn options_that_make_no_sense_are_usage_errors() {
    let tmp = temp_dir();
    let source = image(
        &tmp.path().join("image"),
        [layer([TarEntry::directory("d")])],
    );
    let out = tmp.path().join("out");
    for (args, said) in [
        (["-f", "erofs", "--compress", "gzip"], "gzip"),
        (["-f", "squashfs", "--compress", "lz4:3"], "no levels"),
        (["-f", "squashfs", "--block-size", "3000"], "3000"),
        (["-f", "erofs-layers", "--align", "3000"], "3000"),
        (["-f", "dir", "--disk", "raw"], "disks"),
        (["-f", "tar", "--compress", "zstd"], "tar"),
    ] {
        let mut command = with_store(tmp.path());
        let output = run::output(command.args(["build", &source, "-o"]).arg(&out).args(args));
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(said),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(!out.exists() && !tmp.path().join("store").exists());
    }
}

/// A file of one byte took 4096 in the image of its layer.
#[test]
fn small_files_do_not_take_a_block_each() {
    let tmp = temp_dir();
    let many = |range: std::ops::Range<usize>, data: &str| {
        let files = range.map(|n| TarEntry::file(format!("d/{n}"), format!("{data}{n}")));
        layer(std::iter::once(TarEntry::directory("d")).chain(files))
    };
    let large = layer([
        TarEntry::directory("d"),
        TarEntry::file("d/large", vec![7; 100_000]),
        TarEntry::file("d/kilobyte", vec![8; 1024]),
        TarEntry::file("d/longer", vec![9; 1025]),
        TarEntry::hard_link("d/name", "d/kilobyte"),
        TarEntry::whiteout("d/3"),
    ]);
    let source = image(
        &tmp.path().join("image"),
        [many(0..3000, "a"), many(1000..2000, "b"), large],
    );
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    let directory = layered(
        &source,
        "erofs-layers",
        tmp.path(),
        &["--disk", "vmdk,raw,gpt"],
    );
    let layers: u64 = stack(&directory, "devices").iter().map(|p| size(p)).sum();
    assert!(layers < 600_000, "{layers}");
    let fsmeta = size(&directory.join("fsmeta.erofs"));
    assert!(fsmeta < 400_000, "{fsmeta}");
    run::ok(lithify().args(["-q", "verify"]).arg(&directory));
    let flat = tmp.path().join("flat");
    build(&source, "erofs", &flat);
    let list = |what: &Path| run::text(lithify().args(["ls", "-alR"]).arg(what));
    assert!(list(&directory) == list(&flat));
    for (path, text) in [("d/1999", "b1999"), ("d/2000", "a2000")] {
        let mut cat = lithify();
        assert_eq!(
            run::text(cat.args(["-q", "cat"]).arg(&directory).arg(path)),
            text
        );
    }
    // Compressed layers have no merged image that would have to point at anything.
    let compressed = tmp.path().join("compressed");
    let mut command = with_store(tmp.path());
    command.args(["build", &source, "-f", "erofs-layers", "--compress", "lz4"]);
    run::ok(command.arg("-o").arg(&compressed));
    let layers: u64 = stack(&compressed, "overlay").iter().map(|p| size(p)).sum();
    assert!(layers < 600_000, "{layers}");
    // What others merge has its data where it was: erofs-utils' merging knows no files behind inodes.
    let cache = layered(&source, "containerd-cache", tmp.path(), &[]);
    let cached: u64 = crate::common::stores::files(&cache)
        .iter()
        .map(|p| size(p))
        .sum();
    assert!(cached > 4000 * 4096, "{cached}");
    if require::root() && require::kernel_erofs() {
        let flat_mount = Mount::erofs(&flat);
        let expected = Snapshot::of(flat_mount.path());
        Snapshot::of(merged(&directory).path()).assert_same(&expected, &Allow::nothing());
        let disk = Mount::erofs(&directory.join("disk.raw"));
        Snapshot::of(disk.path()).assert_same(&expected, &Allow::nothing());
        for directory in [&directory, &compressed] {
            let (_lower, top) = overlay(directory, "erofs");
            Snapshot::of(top.path()).assert_same(&expected, &overlay_differences());
        }
        let converted = tmp.path().join("converted");
        if require::tool("qemu-img") {
            let mut qemu = run::command("qemu-img");
            qemu.args(["convert", "-f", "vmdk", "-O", "raw"]);
            run::ok(qemu.arg(directory.join("disk.vmdk")).arg(&converted));
            let disk = Mount::erofs(&converted);
            Snapshot::of(disk.path()).assert_same(&expected, &Allow::nothing());
        }
    }
}
