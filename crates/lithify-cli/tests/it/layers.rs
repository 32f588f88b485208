//! Layered builds: an image per layer, the merged image over them, disks. Whatever way the kernel puts them together, it
//! shows what the flat EROFS image of the same container image shows.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{build, fsck, image, layer, lithify, lithify_output, stderr};
use lithify_testkit::{
    Allow, Difference, Field, Mount, Snapshot, TarEntry, require, run, temp_dir, vm,
};
use serde_json::Value;

/// A layered build with a store of its own.
fn layered(source: &str, format: &str, dir: &Path, extra: &[&str]) -> PathBuf {
    let out = dir.join(format);
    let mut command = with_store(dir);
    command.args(["build", source, "-f", format, "-o"]);
    run::ok(command.arg(&out).args(extra));
    out
}

fn with_store(dir: &Path) -> Command {
    let mut command = lithify();
    command.env("LITHIFY_STORE", dir.join("store"));
    command
}

fn description(directory: &Path) -> Value {
    serde_json::from_slice(&fs::read(directory.join("image.json")).unwrap()).unwrap()
}

/// The files a list of the stack names.
fn stack(directory: &Path, list: &str) -> Vec<PathBuf> {
    let description = description(directory);
    let names = description["stack"][list].as_array().unwrap();
    names
        .iter()
        .map(|name| directory.join(name.as_str().unwrap()))
        .collect()
}

fn merged(directory: &Path) -> Mount {
    let devices = stack(directory, "devices");
    let devices: Vec<&Path> = devices.iter().map(PathBuf::as_path).collect();
    Mount::erofs_with_devices(&directory.join("fsmeta.erofs"), &devices).unwrap()
}

/// Every image of the overlay mounted, top first, and the overlay.
fn overlay(directory: &Path, filesystem: &str) -> (Vec<Mount>, Mount) {
    let mounts: Vec<Mount> = stack(directory, "overlay")
        .iter()
        .map(|image| Mount::image(filesystem, image))
        .collect();
    let lower: Vec<&Path> = mounts.iter().map(Mount::path).collect();
    let top = Mount::overlay(&lower).unwrap();
    (mounts, top)
}

/// What an overlay cannot show: a file of a lower layer that lost a name to an upper one keeps counting it, and a
/// directory's number of links is 1.
fn overlay_differences() -> Allow {
    Allow::nothing().also("links an overlay does not count", |d: &Difference| {
        d.field == Field::Links
    })
}

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

/// What shipping systems get wrong about layers, in one image.
fn awkward(dir: &Path) -> String {
    image(
        dir,
        [
            bottom_of_awkward(),
            layer([
                TarEntry::whiteout("etc/gone"),
                // Through a symbolic link of the layer below, into a directory nobody describes here.
                TarEntry::file("var/run/app.pid", "7"),
                // A third name for a file of the layer below.
                TarEntry::hard_link("data/c", "data/a"),
                TarEntry::file("full/three", "3"),
                TarEntry::opaque("full"),
            ]),
            layer([
                TarEntry::directory("new"),
                TarEntry::whiteout("new/nothing"),
                TarEntry::directory("etc").mode(0o700),
                TarEntry::file("etc/gone", "again")
                    .xattr("user.note", "")
                    .xattr("trusted.overlay.opaque", "y"),
                TarEntry::file("new/big", vec![7; 200_000]),
            ]),
        ],
    )
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

fn bottom_of_awkward() -> Vec<u8> {
    layer([
        TarEntry::directory(".")
            .mode(0o700)
            .owner(5, 6)
            .mtime(77, 8),
        TarEntry::directory("etc").mode(0o711),
        TarEntry::file("etc/gone", "x"),
        TarEntry::file("etc/kept", "kept"),
        TarEntry::directory("data").mode(0o2755).owner(3, 4),
        TarEntry::file("data/a", vec![b'a'; 10_000]),
        TarEntry::hard_link("data/b", "data/a"),
        TarEntry::directory("full"),
        TarEntry::file("full/one", "1"),
        TarEntry::file("full/two", "2"),
        TarEntry::directory("run"),
        TarEntry::directory("var"),
        TarEntry::symlink("var/run", "/run"),
    ])
}

/// Two directories with the same files.
#[track_caller]
fn same_files(a: &Path, b: &Path) {
    let list = |directory: &Path| {
        let out = run::text(
            run::command("find")
                .arg(".")
                .args(["-type", "f"])
                .current_dir(directory),
        );
        let mut names: Vec<String> = out.lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(list(a), list(b));
    for name in list(a) {
        let (a, b) = (a.join(&name), b.join(&name));
        assert!(
            fs::read(&a).unwrap() == fs::read(&b).unwrap(),
            "{name} differs"
        );
    }
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

#[test]
fn damage_is_found_by_verify() {
    let tmp = temp_dir();
    let source = awkward(&tmp.path().join("image"));
    let extra = ["--verity", "--disk", "vmdk,raw,gpt"];
    let directory = layered(&source, "erofs-layers", tmp.path(), &extra);
    run::ok(lithify().arg("verify").arg(&directory));
    for artifact in description(&directory)["artifacts"].as_array().unwrap() {
        assert!(artifact["sha256"].is_string(), "{artifact}");
    }
    let mut files = stack(&directory, "devices");
    files.push(directory.join("fsmeta.erofs"));
    files.extend(["disk.vmdk", "disk.raw", "disk.gpt"].map(|n| directory.join(n)));
    for file in files {
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        let at = bad.len() * 2 / 3;
        bad[at] ^= 1;
        fs::remove_file(&file).unwrap();
        fs::write(&file, bad).unwrap();
        let output = lithify_output(["verify", directory.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3), "{}", file.display());
        fs::write(&file, good).unwrap();
    }
    // A description that points elsewhere is not followed.
    let json = fs::read_to_string(directory.join("image.json")).unwrap();
    let hostile = json.replace("\"fsmeta.erofs\"", "\"../store/oci-layout\"");
    fs::write(directory.join("image.json"), hostile).unwrap();
    let output = lithify_output(["verify", directory.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("not below"), "{}", stderr(&output));
}

#[test]
fn verity_is_what_veritysetup_expects() {
    if !require::tool("veritysetup") {
        return;
    }
    let tmp = temp_dir();
    let source = awkward(&tmp.path().join("image"));
    let check = |file: &Path| {
        let mut sidecar = file.as_os_str().to_owned();
        sidecar.push(".dmverity");
        let facts: Value = serde_json::from_slice(&fs::read(sidecar).unwrap()).unwrap();
        let mut command = run::command("veritysetup");
        command.arg("verify").args([file, file]);
        command.arg(facts["roothash"].as_str().unwrap());
        run::ok(command.arg(format!("--hash-offset={}", facts["hashoffset"])));
    };
    // Every image of a layered build has a tree: the layers', the merged one, and that of the root directory alone.
    for format in ["erofs-layers", "squashfs-layers"] {
        let directory = layered(&source, format, tmp.path(), &["--verity"]);
        let described = description(&directory);
        let mut images = 0;
        for artifact in described["artifacts"].as_array().unwrap() {
            let path = directory.join(artifact["path"].as_str().unwrap());
            if artifact["format"] == "vmdk" {
                assert!(artifact.get("verity").is_none());
                continue;
            }
            check(&path);
            assert_eq!(artifact["options"]["verity"], "sha256", "{artifact}");
            let sidecar = fs::read(path.with_extension(format!(
                "{}.dmverity",
                path.extension().unwrap().to_str().unwrap()
            )));
            let sidecar: Value = serde_json::from_slice(&sidecar.unwrap()).unwrap();
            assert_eq!(artifact["verity"], sidecar);
            images += 1;
        }
        let stacked = described["stack"]["overlay"].as_array().unwrap().len();
        let merged = usize::from(format == "erofs-layers");
        // Three layers and the root directory's.
        assert_eq!((images, stacked), (4 + merged, 4), "{format}");
        run::ok(lithify().arg("verify").arg(&directory));
    }
    for format in ["erofs", "squashfs"] {
        let flat = tmp.path().join("flat");
        let mut command = lithify();
        command.args(["build", &source, "-f", format, "--verity", "-o"]);
        run::ok(command.arg(&flat));
        check(&flat);
        run::ok(lithify().arg("verify").arg(&flat));
        let mut bytes = fs::read(&flat).unwrap();
        bytes[2000] ^= 1;
        fs::write(&flat, bytes).unwrap();
        let output = lithify_output(["verify", flat.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3));
    }
}

#[test]
fn a_cache_for_containerd() {
    let tmp = temp_dir();
    let source = image(
        &tmp.path().join("image"),
        [bottom_of_awkward(), layer([TarEntry::file("one", "1")])],
    );
    let out = layered(&source, "containerd-cache", tmp.path(), &["--verity"]);
    let layout: Value =
        serde_json::from_slice(&run::ok(lithify().args(["inspect", &source, "--json"]))).unwrap();
    for layer in layout["layers"].as_array().unwrap() {
        let hex = &layer["diff_id"].as_str().unwrap()["sha256:".len()..];
        let file = out
            .join("sha256")
            .join(&hex[..2])
            .join(format!("{hex}.erofs"));
        assert!(file.is_file(), "{}", file.display());
        let sidecar = file.with_extension("erofs.dmverity");
        let facts: Value = serde_json::from_slice(&fs::read(sidecar).unwrap()).unwrap();
        assert!(facts["roothash"].is_string() && facts["hashoffset"].is_u64());
    }
    // The cache of another image joins it.
    let other = image(
        &tmp.path().join("other"),
        [bottom_of_awkward(), layer([TarEntry::file("two", "2")])],
    );
    let mut command = with_store(tmp.path());
    command.args([
        "build",
        &other,
        "-f",
        "containerd-cache",
        "--verity",
        "--json",
        "-o",
    ]);
    let json: Value = serde_json::from_slice(&run::ok(command.arg(&out))).unwrap();
    assert_eq!((&json["built"], &json["reused"]), (&1.into(), &1.into()));
    // What a cache was made of is not collected while its image is known.
    let mut command = with_store(tmp.path());
    let gc: Value = serde_json::from_slice(&run::ok(command.args(["gc", "--json"]))).unwrap();
    assert_eq!(gc["removed"].as_array().unwrap().len(), 0);
    assert_eq!(gc["kept"], 3);
}

/// The trees stand behind the images, and the merged image points at what would stand elsewhere if they were counted.
#[test]
fn hash_trees_are_not_on_the_disks() {
    let tmp = temp_dir();
    let source = awkward(&tmp.path().join("image"));
    let disks = ["--disk", "vmdk,raw,gpt"];
    let mut raw = Vec::new();
    for (name, verity) in [("plain", &[][..]), ("trees", &["--verity"])] {
        let dir = tmp.path().join(name);
        fs::create_dir(&dir).unwrap();
        let directory = layered(&source, "erofs-layers", &dir, &[&disks, verity].concat());
        let disk = fs::read(directory.join("disk.raw")).unwrap();
        if require::tool("qemu-img") {
            let converted = dir.join("converted");
            let mut qemu = run::command("qemu-img");
            qemu.args(["convert", "-f", "vmdk", "-O", "raw"]);
            run::ok(qemu.arg(directory.join("disk.vmdk")).arg(&converted));
            assert!(fs::read(converted).unwrap() == disk, "{name}");
        }
        if require::root() && require::kernel_erofs() {
            let expected = Snapshot::of(merged(&directory).path());
            let on_disk = Mount::erofs(&directory.join("disk.raw"));
            Snapshot::of(on_disk.path()).assert_same(&expected, &Allow::nothing());
        }
        raw.push(disk);
    }
    // The device table names the layers' files by their digests, trees included; else all is the same.
    assert_eq!(raw[0].len(), raw[1].len());
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

/// Which layers a cache has, by the number of each in the image.
fn cached(cache: &Path, source: &str) -> Vec<bool> {
    let layout: Value =
        serde_json::from_slice(&run::ok(lithify().args(["inspect", source, "--json"]))).unwrap();
    let layers = layout["layers"].as_array().unwrap();
    let has = |layer: &Value| {
        let hex = &layer["diff_id"].as_str().unwrap()["sha256:".len()..];
        let file = format!("sha256/{}/{hex}.erofs", &hex[..2]);
        cache.join(file).is_file()
    };
    layers.iter().map(has).collect()
}

/// containerd asks for a layer by its diff_id, whatever image it is part of: built for one image, such a layer gave
/// another one the first one's files and took away a directory's permissions.
#[test]
fn a_cache_has_no_layer_that_depends_on_lower_ones() {
    let tmp = temp_dir();
    let dependent = layer([TarEntry::file("d/x", "x")]);
    let top = layer([TarEntry::directory("e"), TarEntry::file("e/y", "y")]);
    let of = |name: &str, mode: u32| {
        let base = layer([
            TarEntry::directory("d").mode(mode),
            TarEntry::file("d/own", name.as_bytes()),
        ]);
        image(
            &tmp.path().join(name),
            [base, dependent.clone(), top.clone()],
        )
    };
    let (one, two) = (of("one", 0o700), of("two", 0o755));
    let build = |source: &str, cache: &str, extra: &[&str]| {
        let mut command = with_store(tmp.path());
        command.args(["-q", "build", source, "-f", "containerd-cache", "-o"]);
        run::output(command.arg(tmp.path().join(cache)).args(extra))
    };
    let json = |source: &str, cache: &str, extra: &[&str]| -> Value {
        let output = build(source, cache, &[&["--json"], extra].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    for source in [&one, &two] {
        // The quiet are told too.
        let output = build(source, "shared", &[]);
        assert_eq!(output.status.code(), Some(0));
        let said = stderr(&output);
        assert!(said.contains("layer 1 (sha256:"), "{said}");
        assert!(
            said.contains("left out") && said.contains("--one-image"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        let described = json(source, "shared", &[]);
        let left_out = described["left_out"].as_array().unwrap();
        assert_eq!(left_out.len(), 1);
        assert_eq!(left_out[0]["layer"], 1);
        assert_eq!(left_out[0]["diff_id"], described["layers"][1]["diff_id"]);
        assert_eq!(left_out[0]["reason"], "depends-on-lower-layers");
        assert!(left_out[0].get("found").is_none());
        assert_eq!(described["artifacts"].as_array().unwrap().len(), 2);
        assert_eq!(
            cached(&tmp.path().join("shared"), source),
            [true, false, true]
        );
        // It is not made again for that.
        assert_eq!(
            (&described["built"], &described["reused"]),
            (&0.into(), &3.into())
        );
    }
    // What it was made of is kept as long as the images are.
    let gc: Value =
        serde_json::from_slice(&run::ok(with_store(tmp.path()).args(["gc", "--json"]))).unwrap();
    assert_eq!(
        (&gc["removed"], &gc["kept"]),
        (&serde_json::json!([]), &5.into())
    );

    // Where nothing is left, the list of what was made is empty, not missing.
    let nothing = image(&tmp.path().join("nothing"), [dependent.clone()]);
    let described = json(&nothing, "none", &[]);
    assert_eq!(described["artifacts"], serde_json::json!([]));
    assert_eq!(described["left_out"].as_array().unwrap().len(), 1);

    // For a node that runs no other image.
    let described = json(&one, "own", &["--one-image"]);
    assert!(described.get("left_out").is_none());
    assert!(described["artifacts"][1]["chain_id"].is_string());
    assert_eq!(cached(&tmp.path().join("own"), &one), [true; 3]);
    let output = build(&one, "own", &["--one-image"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stderr(&output).contains("no other image"),
        "{}",
        stderr(&output)
    );
    // Another image's version does not take its place, and nothing else of that image comes.
    let before = tree(&tmp.path().join("own"));
    let output = build(&two, "own", &["--one-image"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("another image of it"),
        "{}",
        stderr(&output)
    );
    assert!(tree(&tmp.path().join("own")) == before);
    // What is there for others is named.
    let described = json(&two, "own", &[]);
    let found = described["left_out"][0]["found"].as_str().unwrap();
    assert!(Path::new(found).is_file());

    let mut command = with_store(tmp.path());
    command.args(["build", &one, "-f", "erofs-layers", "--one-image", "-o"]);
    let output = run::output(command.arg(tmp.path().join("usage")));
    assert_eq!(output.status.code(), Some(2));
}

/// All files with their bytes.
fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = crate::common::stores::files(directory).into_iter();
    files
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn an_image_that_repeats_a_layer_can_be_cached() {
    let tmp = temp_dir();
    let twice = layer([TarEntry::file("d/x", "x")]);
    let base = layer([TarEntry::directory("d").mode(0o700)]);
    let between = layer([TarEntry::directory("d").mode(0o711)]);
    let source = image(
        &tmp.path().join("image"),
        [base, twice.clone(), between, twice],
    );
    for (number, (extra, reason)) in [
        (&[][..], "depends-on-lower-layers"),
        (&["--one-image"], "differs-in-this-image"),
    ]
    .into_iter()
    .enumerate()
    {
        let cache = tmp.path().join(number.to_string());
        let mut command = with_store(tmp.path());
        command.args(["build", &source, "-f", "containerd-cache", "--json", "-o"]);
        let described: Value =
            serde_json::from_slice(&run::ok(command.arg(&cache).args(extra))).unwrap();
        let left_out: Vec<_> = described["left_out"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| (l["layer"].as_u64().unwrap(), l["reason"].as_str().unwrap()))
            .collect();
        assert_eq!(left_out, [(1, reason), (3, reason)]);
        assert_eq!(cached(&cache, &source), [true, false, true, false]);
    }
    // One that means the same each time is one file.
    let twice = layer([TarEntry::directory("d"), TarEntry::file("d/x", "x")]);
    let source = image(
        &tmp.path().join("other"),
        [twice.clone(), layer([TarEntry::whiteout("d")]), twice],
    );
    let cache = tmp.path().join("same");
    let mut command = with_store(tmp.path());
    command.args(["build", &source, "-f", "containerd-cache", "--json", "-o"]);
    let described: Value = serde_json::from_slice(&run::ok(command.arg(&cache))).unwrap();
    assert!(described.get("left_out").is_none());
    assert_eq!(described["artifacts"].as_array().unwrap().len(), 2);
    assert_eq!(cached(&cache, &source), [true; 3]);
}

#[test]
fn a_cache_without_trees_keeps_no_root_hash_of_an_earlier_one() {
    let tmp = temp_dir();
    let source = image(
        &tmp.path().join("image"),
        [layer([TarEntry::directory("d")])],
    );
    let sidecars = |extra: &[&str]| {
        let out = layered(&source, "containerd-cache", tmp.path(), extra);
        let files = crate::common::stores::files(&out);
        let is_sidecar = |f: &&PathBuf| f.extension().is_some_and(|e| e == "dmverity");
        (files.iter().filter(is_sidecar).count(), files.len())
    };
    assert_eq!(sidecars(&["--verity"]), (1, 2));
    assert_eq!(sidecars(&[]), (0, 1));
    assert_eq!(sidecars(&["--verity"]), (1, 2));
    // A file that only has the name is somebody's.
    let cache = tmp.path().join("containerd-cache");
    let files = crate::common::stores::files(&cache);
    let is_sidecar = |f: &&PathBuf| f.extension().is_some_and(|e| e == "dmverity");
    let sidecar = files.iter().find(is_sidecar).unwrap();
    fs::write(sidecar, "notes").unwrap();
    for extra in [&[][..], &["--verity"]] {
        let mut command = with_store(tmp.path());
        command.args(["-q", "build", &source, "-f", "containerd-cache"]);
        let output = run::output(command.args(extra).arg("-o").arg(&cache));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("is left as it is"), "{said}");
        assert_eq!(fs::read(sidecar).unwrap(), b"notes");
    }
}

#[test]
fn a_machine_boots_from_the_vmdk() {
    if !require::vm() {
        return;
    }
    let tmp = temp_dir();
    let busybox = fs::read(require::find_tool("busybox").unwrap()).unwrap();
    let source = image(
        &tmp.path().join("image"),
        [
            layer([
                TarEntry::directory("bin"),
                TarEntry::file("bin/busybox", busybox).mode(0o755),
                TarEntry::symlink("bin/sh", "busybox"),
                TarEntry::directory("etc"),
                TarEntry::file("etc/gone", "x"),
            ]),
            layer([
                TarEntry::directory("etc"),
                TarEntry::whiteout("etc/gone"),
                TarEntry::file("etc/motd", "hello from the image\n"),
            ]),
        ],
    );
    let directory = layered(&source, "erofs-layers", tmp.path(), &[]);
    // The folder can be moved: the disk names its files relative to itself.
    let moved = tmp.path().join("moved");
    fs::rename(&directory, &moved).unwrap();
    let offsets: Vec<String> = description(&moved)["stack"]["disk_offsets"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    // Linux before 6.4 needs a device for each layer; those are on the one disk all the same.
    let script = format!(
        "
        mkdir /ro /rw /top
        if ! mount -t erofs -o ro /dev/vda /ro; then
            options=ro number=0
            for offset in {}; do
                losetup -r -o $offset /dev/loop$number /dev/vda
                options=$options,device=/dev/loop$number number=$((number+1))
            done
            mount -t erofs -o $options /dev/vda /ro
        fi
        mount -t tmpfs none /rw
        mkdir /rw/upper /rw/work
        mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work none /top
        chroot /top /bin/sh -c '/bin/busybox cat /etc/motd; /bin/busybox ls /etc; echo x > /etc/new && echo wrote'
        test ! -e /ro/etc/new
        ",
        offsets.join(" ")
    );
    let output = vm::BootSpec::new(&script)
        .disk(moved.join("disk.vmdk"), "vmdk")
        .module("erofs")
        .module("overlay")
        .module("loop")
        .boot();
    assert_eq!(output.status, Some(0), "{output}");
    assert!(output.has_line("hello from the image"), "{output}");
    assert!(output.has_line("wrote"), "{output}");
    assert!(!output.has_line("gone"), "{output}");
}
