//! Images whose layers are EROFS images: `push --as erofs`, and reading what it and others made.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::common::stores::{counts, lithify_at};
use crate::common::{build, fsck, image, layer, lithify, lithify_output, paths, stderr};
use lithify_testkit::{
    Allow, Blob, Difference, Field, Layout, Mount, Snapshot, TarEntry, digest, require, run,
    temp_dir,
};
use serde_json::Value;

/// Layers that say nothing about the root but the lowest, take away, replace and reach through links.
fn layers() -> [Vec<u8>; 3] {
    [
        layer([
            TarEntry::directory(".")
                .mode(0o700)
                .owner(5, 6)
                .mtime(77, 8),
            TarEntry::directory("etc").mode(0o711),
            TarEntry::file("etc/gone", "x"),
            TarEntry::file("etc/kept", "kept").xattr("user.note", "v"),
            TarEntry::directory("data").mode(0o2755).owner(3, 4),
            TarEntry::file("data/a", b"text ".repeat(10_000)),
            TarEntry::hard_link("data/b", "data/a"),
            TarEntry::directory("full"),
            TarEntry::file("full/one", "1"),
            TarEntry::directory("run"),
            TarEntry::directory("var"),
            TarEntry::symlink("var/run", "/run"),
        ]),
        layer([
            TarEntry::whiteout("etc/gone"),
            TarEntry::file("var/run/app.pid", "7"),
            TarEntry::hard_link("data/c", "data/a"),
            TarEntry::opaque("full"),
            TarEntry::file("full/three", "3"),
        ]),
        layer([
            TarEntry::directory("new"),
            TarEntry::whiteout("new/nothing"),
            TarEntry::fifo("new/pipe"),
            TarEntry::file("new/big", vec![7; 200_000]),
        ]),
    ]
}

fn sample(dir: &Path) -> String {
    image(dir, layers())
}

/// Pushes into `dir/name` and returns the layout.
#[track_caller]
fn push(store: &Path, source: &str, layout: &Path, extra: &[&str]) -> Value {
    let mut command = lithify_at(store);
    command.args(["-q", "push", "--no-fsync", "--json", source]);
    command.arg(format!("oci:{}:v1", layout.display()));
    serde_json::from_slice(&run::ok(command.args(extra))).unwrap()
}

fn blob_path(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

fn document(layout: &Path, digest: &Value) -> Value {
    serde_json::from_slice(&fs::read(blob_path(layout, digest.as_str().unwrap())).unwrap()).unwrap()
}

fn blobs(layout: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<_> = fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|e| {
            let e = e.unwrap();
            let name = e.file_name().into_string().unwrap();
            (name, e.metadata().unwrap().size())
        })
        .collect();
    found.sort();
    found
}

/// The blobs of the EROFS layers, decompressed by `zstd` if they are compressed, and what their manifest says.
fn erofs_layers(layout: &Path, report: &Value, scratch: &Path) -> (Vec<PathBuf>, Value, Value) {
    let index = document(layout, &report["digest"]);
    let entries = index["manifests"].as_array().unwrap();
    let manifest = document(layout, &entries[1]["digest"]);
    let config = document(layout, &manifest["config"]["digest"]);
    let layers = manifest["layers"].as_array().unwrap();
    let files = layers.iter().enumerate().map(|(number, layer)| {
        let blob = blob_path(layout, layer["digest"].as_str().unwrap());
        let out = scratch.join(format!("layer{number}.erofs"));
        if layer["mediaType"].as_str().unwrap().ends_with("+zstd") {
            run::ok(
                run::command("zstd")
                    .args(["-q", "-d", "-f", "-o"])
                    .arg(&out)
                    .arg(&blob),
            );
        } else {
            fs::copy(&blob, &out).unwrap();
        }
        let diff_id = &config["rootfs"]["diff_ids"][number];
        assert_eq!(digest(&fs::read(&out).unwrap()), diff_id.as_str().unwrap());
        out
    });
    let files = files.collect();
    (files, manifest, index)
}

fn links_of_an_overlay() -> Allow {
    Allow::nothing().also("links an overlay does not count", |d: &Difference| {
        d.field == Field::Links
    })
}

#[test]
fn pushed_layers_stacked_by_the_kernel_equal_umoci() {
    let needs = require::root()
        && require::kernel_erofs()
        && require::kernel_filesystem("overlay")
        && require::tool("umoci")
        && require::tool("zstd");
    if !needs {
        return;
    }
    let tmp = temp_dir();
    let source = sample(tmp.path());
    let bundle = tmp.path().join("bundle");
    let mut umoci = run::command("umoci");
    umoci.args(["unpack", "--image", source.strip_prefix("oci:").unwrap()]);
    run::ok(umoci.arg(&bundle));
    let expected = Snapshot::of(&bundle.join("rootfs"));

    let store = tmp.path().join("store");
    for (number, extra) in [
        &["--as", "erofs"][..],
        &["--as", "erofs", "--erofs-zstd"],
        &[
            "--as",
            "erofs",
            "--erofs-zstd",
            "--erofs-spec",
            "draft",
            "--verity",
        ],
        &["--as", "erofs", "--compress", "lz4"],
    ]
    .into_iter()
    .enumerate()
    {
        let layout = tmp.path().join(format!("out{number}"));
        let report = push(&store, &source, &layout, extra);
        let (files, manifest, index) = erofs_layers(&layout, &report, tmp.path());
        // The sample's topmost layer does not say how the root directory looks.
        assert_eq!(files.len(), 4);
        files.iter().for_each(|file| fsck(file));
        let mounts: Vec<Mount> = files.iter().map(|file| Mount::erofs(file)).collect();
        let lower: Vec<&Path> = mounts.iter().rev().map(Mount::path).collect();
        let overlay = Mount::overlay(&lower).unwrap();
        Snapshot::of(overlay.path()).assert_same(&expected, &links_of_an_overlay());
        drop(overlay);

        let first = &index["manifests"][0];
        let original: Value =
            serde_json::from_slice(&fs::read(tmp.path().join("image/index.json")).unwrap())
                .unwrap();
        assert_eq!(first["digest"], original["manifests"][0]["digest"]);
        assert_eq!(first["platform"].get("os.features"), None);
        let second = &index["manifests"][1]["platform"];
        assert_eq!(second["os.features"], serde_json::json!(["erofs"]));
        let layer = &manifest["layers"][0];
        let suffix = if extra.contains(&"--erofs-zstd") {
            "+zstd"
        } else {
            ""
        };
        let base = if extra.contains(&"draft") {
            assert_eq!(layer["annotations"]["org.erofs.role"], "overlay-lower");
            assert!(
                manifest["layers"][3]["annotations"]
                    .get("org.erofs.role")
                    .is_none()
            );
            "application/vnd.erofs"
        } else {
            "application/vnd.erofs.layer.v1"
        };
        assert_eq!(layer["mediaType"], format!("{base}{suffix}"));
        if extra.contains(&"--verity") && require::tool("veritysetup") {
            for (file, layer) in files.iter().zip(manifest["layers"].as_array().unwrap()) {
                let said = |key: &str| layer["annotations"][key].as_str().unwrap().to_owned();
                let offset = said("org.erofs.dmverity.hash_offset");
                let root = said("org.erofs.dmverity.root_digest");
                run::ok(
                    run::command("veritysetup")
                        .arg("verify")
                        .args([file, file])
                        .arg(root.strip_prefix("sha256:").unwrap())
                        .arg(format!("--hash-offset={offset}")),
                );
            }
            // The root hashes are an artifact that refers to the manifest, in index.json without a name.
            let entries: Value =
                serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
            let artifact = &entries["manifests"][0];
            assert!(artifact.get("annotations").is_none());
            let artifact = document(&layout, &artifact["digest"]);
            assert_eq!(
                artifact["subject"]["digest"],
                index["manifests"][1]["digest"]
            );
            assert_eq!(
                artifact["config"]["mediaType"],
                "application/vnd.oci.empty.v1+json"
            );
            let sidecar = document(&layout, &artifact["layers"][0]["digest"]);
            assert!(sidecar["roothash"].is_string() && sidecar["hashoffset"].is_u64());
        }
        // The same again is the same, whatever store it comes from.
        let again = tmp.path().join(format!("again{number}"));
        let other = tmp.path().join(format!("other{number}"));
        assert_eq!(push(&other, &source, &again, extra), report);
        assert_eq!(blobs(&again), blobs(&layout));
    }
}

#[test]
fn every_format_comes_out_the_same_of_either_manifest() {
    let tmp = temp_dir();
    let source = sample(tmp.path());
    let store = tmp.path().join("store");
    let tar = tmp.path().join("expected.tar");
    build(&source, "tar", &tar);
    let tar = fs::read(tar).unwrap();
    let names = paths(&source);
    for (number, extra) in [
        &["--as", "erofs"][..],
        &["--as", "erofs", "--erofs-zstd", "--erofs-spec", "draft"],
        &["--as", "erofs", "--compress", "zstd"],
        &["--as", "erofs", "--verity"],
    ]
    .into_iter()
    .enumerate()
    {
        let layout = tmp.path().join(format!("out{number}"));
        push(&store, &source, &layout, extra);
        let pushed = format!("oci:{}:v1", layout.display());
        let out = |name: &str| tmp.path().join(format!("{name}{number}"));
        let formats = [
            "tar",
            "erofs",
            "squashfs",
            "erofs-layers",
            "squashfs-layers",
            "containerd-cache",
            "dir",
        ];
        for format in formats {
            if format == "dir" && !require::root() {
                continue;
            }
            let path = out(format);
            let mut command = lithify_at(&store);
            command.args(["-q", "build", "--no-fsync", "--platform", "amd64+erofs"]);
            command.args([&pushed, "-f", format, "-o"]);
            run::ok(command.arg(&path));
            match format {
                "tar" => assert!(fs::read(&path).unwrap() == tar),
                "dir" | "containerd-cache" => {}
                _ => {
                    run::ok(lithify().args(["-q", "verify"]).arg(&path));
                    assert_eq!(paths(path.to_str().unwrap()), names, "{format}");
                }
            }
        }
        // Without asking, tars are taken where nothing is gained by the others.
        let inspected = run::ok(lithify().args(["inspect", "--json", &pushed]));
        let inspected: Value = serde_json::from_slice(&inspected).unwrap();
        assert_eq!(inspected["layers"].as_array().unwrap().len(), 3);
        // Listed by name from the EROFS images, whole and in part.
        assert_eq!(paths(&pushed), names);
        for source in [&source, &pushed] {
            for (path, expected) in [("/etc/kept", "kept"), ("var/run/app.pid", "7")] {
                let text = run::text(lithify_at(&store).args(["-q", "cat", source, path]));
                assert_eq!(text, expected);
            }
            let long = |of: &str| {
                run::text(lithify_at(&store).args(["-q", "ls", "-alR", of, "/var/run/.."]))
            };
            assert_eq!(long(source), long(&pushed));
        }
        run::ok(lithify().args(["-q", "verify", "--platform", "amd64+erofs", &pushed]));
    }
}

#[test]
fn layers_that_are_images_are_used_as_they_are() {
    let tmp = temp_dir();
    let source = sample(tmp.path());
    let layout = tmp.path().join("out");
    push(
        &tmp.path().join("made"),
        &source,
        &layout,
        &["--as", "erofs"],
    );
    let pushed = format!("oci:{}:v1", layout.display());
    // Another store, that has nothing of the tars.
    let store = tmp.path().join("store");
    let out = tmp.path().join("layers");
    assert_eq!(counts(&store, &pushed, &out), (5, 0));
    let mut all = blobs(&layout);
    for file in fs::read_dir(out.join("layers")).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let name = name.strip_suffix(".erofs").unwrap().to_owned();
        let size = file.metadata().unwrap().size();
        assert!(all.iter().any(|b| *b == (name.clone(), size)));
        assert!(
            fs::read(file.path()).unwrap()
                == fs::read(layout.join("blobs/sha256").join(&name)).unwrap()
        );
        all.retain(|b| b.0 != name);
    }
    // Both manifests, their configs, the index, and the tars are left.
    assert_eq!(all.len(), 5 + 3);
    assert_eq!(counts(&store, &pushed, &tmp.path().join("again")), (0, 5));
    crate::common::stores::assert_undamaged(&store);
    if !require::root() || !require::kernel_erofs() {
        return;
    }
    let flat = crate::common::erofs(&source, tmp.path());
    let expected = Snapshot::of(Mount::erofs(&flat).path());
    let point = tmp.path().join("point");
    fs::create_dir(&point).unwrap();
    run::ok(
        lithify_at(&store)
            .args(["-q", "mount", &pushed])
            .arg(&point),
    );
    let seen = Snapshot::of(&point);
    run::ok(lithify().arg("umount").arg(&point));
    seen.assert_same(&expected, &Allow::nothing());
}

#[test]
fn other_tools_take_the_tars() {
    if !require::tool("skopeo") || !require::tool("umoci") {
        return;
    }
    let tmp = temp_dir();
    let source = sample(tmp.path());
    let layout = tmp.path().join("out");
    push(
        &tmp.path().join("store"),
        &source,
        &layout,
        &["--as", "erofs"],
    );
    let pushed = format!("oci:{}:v1", layout.display());
    let inspected = run::ok(run::command("skopeo").args(["inspect", &pushed]));
    let inspected: Value = serde_json::from_slice(&inspected).unwrap();
    assert_eq!(inspected["Layers"].as_array().unwrap().len(), 3);
    let copied = tmp.path().join("copied");
    let to = format!("oci:{}:v1", copied.display());
    run::ok(run::command("skopeo").args(["copy", "-q", &pushed, &to]));
    let names = paths(&source);
    assert_eq!(paths(&to), names);
    // All of it, and as an archive.
    let all = tmp.path().join("all");
    let to = format!("oci:{}:v1", all.display());
    run::ok(run::command("skopeo").args(["copy", "-q", "--all", &pushed, &to]));
    assert_eq!(blobs(&all), blobs(&layout));
    let archive = format!("oci-archive:{}:v1", tmp.path().join("all.tar").display());
    run::ok(run::command("skopeo").args(["copy", "-q", "--all", &pushed, &archive]));
    assert_eq!(paths(&archive), names);
    assert_eq!(
        run::text(lithify().args(["-q", "cat", &archive, "etc/kept"])),
        "kept"
    );
    let listed = run::text(run::command("umoci").args(["ls", "--layout"]).arg(&layout));
    assert_eq!(listed.trim(), "v1");
}

/// The sample with some of its layers as EROFS images.
fn mixed(
    dir: &Path,
    native: [bool; 3],
    change: impl Fn(usize, &mut Vec<u8>, &mut String),
) -> String {
    let tars = layers();
    let layout = dir.join("pushed");
    let report = push(
        &dir.join("pushing"),
        &sample(dir),
        &layout,
        &["--as", "erofs"],
    );
    let index = document(&layout, &report["digest"]);
    let manifest = document(&layout, &index["manifests"][1]["digest"]);
    let mut mixed = Layout::new();
    for (number, tar) in tars.iter().enumerate() {
        if !native[number] {
            mixed = mixed.gzip_layer(tar);
            continue;
        }
        let erofs = manifest["layers"][number]["digest"].as_str().unwrap();
        let mut bytes = fs::read(blob_path(&layout, erofs)).unwrap();
        let mut diff_id = erofs.to_owned();
        change(number, &mut bytes, &mut diff_id);
        let media_type = "application/vnd.erofs.layer.v1".to_owned();
        mixed = mixed.blob(Blob { media_type, bytes }, &diff_id);
    }
    let path = dir.join("mixed");
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    mixed.write(&path);
    format!("oci:{}:latest", path.display())
}

#[test]
fn tars_and_images_mix() {
    let tmp = temp_dir();
    let names = paths(&sample(tmp.path()));
    for native in [
        [true, false, false],
        [false, true, false],
        [true, false, true],
    ] {
        let source = mixed(tmp.path(), native, |_, _, _| {});
        assert_eq!(paths(&source), names);
        run::ok(lithify().args(["-q", "verify", &source]));
        for format in ["erofs", "squashfs", "erofs-layers", "squashfs-layers"] {
            let out = tmp.path().join(format!("{format}{native:?}"));
            build(&source, format, &out);
            assert_eq!(paths(out.to_str().unwrap()), names, "{format} {native:?}");
            run::ok(lithify().args(["-q", "verify"]).arg(&out));
            for (path, text) in [("/etc/kept", "kept"), ("/full/three", "3")] {
                let mut cat = lithify();
                cat.args(["-q", "cat"]).arg(&out).arg(path);
                assert_eq!(run::text(&mut cat), text);
            }
        }
    }
}

#[test]
fn what_is_not_what_it_should_be_is_refused() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let attempt = |source: &str, format: &str, extra: &[&str]| {
        let out = tmp.path().join("refused");
        let mut command = lithify_at(&store);
        command.args(["-q", "build", source, "-f", format, "-o"]);
        let output = run::output(command.arg(&out).args(extra));
        // A cache is added to: its directory is there before.
        let is_empty =
            !out.exists() || format == "containerd-cache" && crate::common::names(&out).is_empty();
        assert!(output.status.success() || is_empty, "{}", stderr(&output));
        if out.is_dir() {
            fs::remove_dir_all(&out).unwrap();
        } else if out.exists() {
            fs::remove_file(&out).unwrap();
        }
        (output.status.code().unwrap(), stderr(&output))
    };
    // The right image under a wrong diff_id: refused before anything is read, since blob and image are one.
    let other = digest(b"other");
    let source = mixed(tmp.path(), [false, true, false], |_, _, diff_id| {
        diff_id.clone_from(&other);
    });
    let (code, said) = attempt(&source, "tar", &[]);
    assert!(code == 3 && said.contains("diff id"), "{code} {said}");
    // Another blob than its digest says.
    let source = mixed(tmp.path(), [false, true, false], |_, _, _| {});
    let manifest = fs::read_dir(tmp.path().join("mixed/blobs/sha256")).unwrap();
    let mut damaged = 0;
    for blob in manifest {
        let path = blob.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if bytes.len() > 4096 && bytes[1024..1028] == [0xe2, 0xe1, 0xf5, 0xe0] {
            bytes[3000] ^= 1;
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
    for format in ["tar", "erofs", "erofs-layers", "containerd-cache"] {
        let (code, said) = attempt(&source, format, &[]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("digest"), "{said}");
    }
    // Damage that the digests know: the image is refused, or sound after all, and never a crash.
    let mut refused = 0;
    for at in [
        1024, 1030, 1036, 1040, 1064, 1104, 4096, 4100, 4110, 4120, 4130, 4200, 4300, 8192, 8200,
    ] {
        for bit in [0, 7] {
            let source = mixed(tmp.path(), [false, true, false], |_, bytes, diff_id| {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
                *diff_id = digest(bytes);
            });
            for format in ["tar", "erofs-layers"] {
                let (code, said) = attempt(&source, format, &["--jobs", "2"]);
                assert!([0, 1, 3].contains(&code), "{at} {bit}: {code} {said}");
                refused += usize::from(code != 0);
            }
        }
    }
    assert!(refused >= 20, "{refused}");
    crate::common::stores::assert_undamaged(&store);
    // What is no zstd is no `+zstd`.
    let bytes = b"not zstd".repeat(1000);
    let diff_id = digest(&bytes);
    let media_type = "application/vnd.erofs+zstd".to_owned();
    let path = tmp.path().join("nozstd");
    Layout::new()
        .blob(Blob { media_type, bytes }, &diff_id)
        .write(&path);
    let (code, said) = attempt(&format!("oci:{}:latest", path.display()), "tar", &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("decompress"), "{said}");
}

#[test]
fn looking_into_damaged_images_ends() {
    let tmp = temp_dir();
    let mut refused = 0;
    for at in (1024..1136).step_by(7).chain((4096..4600).step_by(11)) {
        let source = mixed(tmp.path(), [true, true, true], |number, bytes, diff_id| {
            if let Some(byte) = bytes.get_mut(at)
                && number != 2
            {
                *byte ^= 0x41;
            }
            *diff_id = digest(bytes);
        });
        for args in [&["ls", &source][..], &["cat", &source, "/etc/kept"]] {
            let output = lithify_output(["-q"].iter().chain(args));
            let code = output.status.code();
            assert!(
                [Some(0), Some(1), Some(3)].contains(&code),
                "{at}: {code:?} {}",
                stderr(&output)
            );
            refused += usize::from(code != Some(0));
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn limits_hold_for_images_too() {
    let tmp = temp_dir();
    let source = mixed(tmp.path(), [true, true, true], |_, _, _| {});
    for (limit, expected) in [
        ("tar_bytes=1000", "tar_bytes"),
        ("entries=3", "entries"),
        ("file_bytes=1000", "file_bytes"),
    ] {
        let output = lithify_output(["-q", "verify", "--limit", limit, &source]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn what_a_layer_cannot_say_is_not_pushed() {
    let tmp = temp_dir();
    let device = image(tmp.path(), [layer([TarEntry::char_device("null", 0, 0)])]);
    let to = format!("oci:{}:v1", tmp.path().join("out").display());
    let output = lithify_output(["-q", "push", "--as", "erofs", "--no-store", &device, &to]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("character device 0:0"));
    // What arrived, if anything did, waits for the next attempt; nothing is listed.
    if let Ok(listed) = fs::read(tmp.path().join("out/index.json")) {
        let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
        assert_eq!(listed["manifests"], serde_json::json!([]));
    }

    let bottom = tmp.path().join("bottom");
    fs::create_dir(&bottom).unwrap();
    let source = image(
        &bottom,
        [layer([TarEntry::directory("a"), TarEntry::whiteout("a/b")])],
    );
    let args = ["-q", "push", "--no-store", "--as", "erofs", &source, &to];
    let output = lithify_output(args.iter().copied().chain(["--erofs-spec", "draft"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("draft"), "{}", stderr(&output));
    run::ok(lithify().args(args));

    for args in [
        &["push", "--erofs-zstd", &source, &to][..],
        &["push", "--as", "squashfs", "--erofs-zstd", &source, &to],
        &[
            "push",
            "--as",
            "erofs",
            "--erofs-spec",
            "other",
            &source,
            &to,
        ],
    ] {
        let output = lithify_output(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?} {}",
            stderr(&output)
        );
    }
}

#[test]
fn filesystems_are_artifacts_beside_the_image() {
    let tmp = temp_dir();
    let source = sample(tmp.path());
    let layout = tmp.path().join("out");
    let store = tmp.path().join("store");
    let names = paths(&source);
    for (form, artifact_type, blob_type) in [
        (
            "squashfs",
            "application/vnd.lithify.squashfs.v1",
            "application/vnd.lithify.squashfs.v1",
        ),
        (
            "erofs-image",
            "application/vnd.lithify.erofs.v1",
            "application/vnd.erofs",
        ),
    ] {
        let report = push(&store, &source, &layout, &["--as", form, "--verity"]);
        let index: Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|e| e["artifactType"] == artifact_type)
            .unwrap();
        assert!(entry.get("annotations").is_none());
        let manifest = document(&layout, &entry["digest"]);
        assert_eq!(manifest["artifactType"], artifact_type);
        assert_eq!(manifest["subject"]["digest"], report["digest"]);
        assert_eq!(manifest["config"]["size"], 2);
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers[0]["mediaType"], blob_type);
        let blob = blob_path(&layout, layers[0]["digest"].as_str().unwrap());
        assert_eq!(paths(blob.to_str().unwrap()), names);
        let sidecar = document(&layout, &layers[1]["digest"]);
        if require::tool("veritysetup") {
            run::ok(
                run::command("veritysetup")
                    .arg("verify")
                    .args([&blob, &blob])
                    .arg(sidecar["roothash"].as_str().unwrap())
                    .arg(format!("--hash-offset={}", sidecar["hashoffset"])),
            );
        }
    }
    // Pushed again nothing is there twice, and the image is still what the tag says.
    push(&store, &source, &layout, &["--as", "squashfs", "--verity"]);
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
    let pushed = format!("oci:{}:v1", layout.display());
    assert_eq!(paths(&pushed), names);
    if require::tool("skopeo") {
        run::ok(run::command("skopeo").args(["inspect", &pushed]));
    }
}

/// containerd takes the first manifest that suits the platform, which in an index with tars are the tars: a tag that is the
/// manifest itself leaves it no choice.
#[test]
fn erofs_layers_alone_are_a_manifest() {
    let tmp = temp_dir();
    let source = sample(tmp.path());
    let store = tmp.path().join("store");
    let names = paths(&source);
    let tar = tmp.path().join("expected.tar");
    build(&source, "tar", &tar);
    for (number, extra) in [
        &[][..],
        &["--erofs-zstd", "--verity"],
        &["--erofs-spec", "draft"],
    ]
    .into_iter()
    .enumerate()
    {
        let layout = tmp.path().join(format!("only{number}"));
        let report = push(
            &store,
            &source,
            &layout,
            &[&["--as", "erofs", "--only"], extra].concat(),
        );
        let forms: Vec<_> = report["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["form"].as_str().unwrap())
            .collect();
        assert_eq!(forms[0], "erofs");
        assert!(!forms.contains(&"tar"));
        let pushed = format!("oci:{}:v1", layout.display());
        // The tag is the manifest, and says what it needs; it is the one an index has beside the tars.
        let manifest = document(&layout, &report["digest"]);
        assert_eq!(
            manifest["mediaType"],
            "application/vnd.oci.image.manifest.v1+json"
        );
        let config = document(&layout, &manifest["config"]["digest"]);
        assert_eq!(config["os.features"], serde_json::json!(["erofs"]));
        let both = tmp.path().join(format!("both{number}"));
        let index = push(
            &store,
            &source,
            &both,
            &[&["--as", "erofs"], extra].concat(),
        );
        let index = document(&both, &index["digest"]);
        assert_eq!(index["manifests"][1]["digest"], report["digest"]);
        // Nothing of the tars is there: each layer is a blob of the manifest, the config, and what says root hashes.
        let layers = manifest["layers"].as_array().unwrap().len();
        let artifact = if extra.contains(&"--verity") {
            2 + layers
        } else {
            0
        };
        assert_eq!(blobs(&layout).len(), layers + 2 + artifact);
        if require::tool("skopeo") {
            let raw = run::ok(run::command("skopeo").args(["inspect", "--raw", &pushed]));
            assert_eq!(digest(&raw), report["digest"].as_str().unwrap());
            let copied = format!(
                "oci:{}:v1",
                tmp.path().join(format!("sk{number}")).display()
            );
            run::ok(run::command("skopeo").args(["copy", "-q", &pushed, &copied]));
            assert_eq!(paths(&copied), names);
        }
        // It is an image as any other.
        assert_eq!(paths(&pushed), names);
        let text = run::text(lithify_at(&store).args(["-q", "cat", &pushed, "/etc/kept"]));
        assert_eq!(text, "kept");
        run::ok(lithify().args(["-q", "verify", &pushed]));
        for format in ["tar", "erofs", "erofs-layers", "containerd-cache"] {
            let out = tmp.path().join(format!("{format}{number}"));
            let mut command = lithify_at(&tmp.path().join("other"));
            command.args(["-q", "build", "--no-fsync", &pushed, "-f", format, "-o"]);
            run::ok(command.arg(&out));
            if format == "tar" {
                assert!(fs::read(&out).unwrap() == fs::read(&tar).unwrap());
            }
        }
        // It goes where there is a place for it, and nowhere else.
        let at = |name: &str| format!("{}:{}{number}", name, tmp.path().join("to").display());
        for to in [
            format!("{}-oci:v1", at("oci")),
            format!("{}.tar:v1", at("oci-archive")),
            format!("store:copied:{number}"),
        ] {
            run::ok(lithify_at(&store).args(["-q", "copy", "--no-fsync", &pushed, &to]));
            let listed = run::text(lithify_at(&store).args(["-q", "ls", "-aR", &to]));
            assert_eq!(listed.lines().collect::<Vec<_>>(), names);
            // And on from there.
            let again = format!("oci:{}:v1", tmp.path().join("again").display());
            let copied = run::text(lithify_at(&store).args(["-q", "copy", &to, &again]));
            assert_eq!(copied.trim_end(), report["digest"]);
        }
        let archive = tmp.path().join("docker.tar");
        let to = format!("docker-archive:{}:app:v1", archive.display());
        let output = lithify_output(["-q", "copy", &pushed, &to]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("build -f tar"),
            "{}",
            stderr(&output)
        );
        assert!(!archive.exists());
        // Published once more it is what it is.
        let again = tmp.path().join(format!("twice{number}"));
        let twice = push(
            &store,
            &pushed,
            &again,
            &[&["--as", "erofs", "--only"], extra].concat(),
        );
        if !extra.contains(&"--verity") {
            assert_eq!(twice["digest"], report["digest"]);
        }
    }
    for args in [
        &["push", "--only", &source, "oci:never:v1"][..],
        &[
            "push",
            "--as",
            "squashfs",
            "--only",
            &source,
            "oci:never:v1",
        ],
        &[
            "push",
            "--as",
            "erofs-image",
            "--only",
            &source,
            "oci:never:v1",
        ],
    ] {
        let output = lithify_output(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?} {}",
            stderr(&output)
        );
    }
    if !require::root() || !require::kernel_erofs() {
        return;
    }
    let flat = crate::common::erofs(&source, tmp.path());
    let expected = Snapshot::of(Mount::erofs(&flat).path());
    let point = tmp.path().join("point");
    fs::create_dir(&point).unwrap();
    let pushed = format!("oci:{}:v1", tmp.path().join("only0").display());
    let mut mount = lithify_at(&tmp.path().join("other"));
    run::ok(mount.args(["-q", "mount", &pushed]).arg(&point));
    let seen = Snapshot::of(&point);
    run::ok(lithify().arg("umount").arg(&point));
    seen.assert_same(&expected, &Allow::nothing());
}

/// The tag of a registry, where what says root hashes is put after the manifest it is about.
#[test]
fn erofs_layers_alone_have_the_tag_of_the_registry() {
    if !require::tool("docker-registry") || !require::tool("skopeo") {
        return;
    }
    let tmp = temp_dir();
    let source = sample(tmp.path());
    let store = tmp.path().join("store");
    let server = lithify_testkit::registry::Real::start();
    let name = format!("docker://{}/team/app:v1", server.address());
    let mut command = lithify_at(&store);
    command.args(["-q", "push", "--as", "erofs", "--only", "--verity"]);
    let report = run::ok(command.args(["--json", &source, &name]));
    let report: Value = serde_json::from_slice(&report).unwrap();
    let mut skopeo = run::command("skopeo");
    let raw = run::ok(skopeo.args(["inspect", "--raw", "--tls-verify=false", &name]));
    assert_eq!(digest(&raw), report["digest"].as_str().unwrap());
    assert_eq!(report["digest"], report["manifests"][0]["digest"]);
    let listed = run::text(lithify_at(&store).args(["-q", "ls", "-aR", &name]));
    assert_eq!(listed.lines().collect::<Vec<_>>(), paths(&source));
    let text = run::text(lithify_at(&store).args(["-q", "cat", &name, "/etc/kept"]));
    assert_eq!(text, "kept");
    let out = tmp.path().join("out");
    let mut command = lithify_at(&store);
    run::ok(command.args(["-q", "build", &name, "-o"]).arg(&out));
    assert_eq!(paths(out.to_str().unwrap()), paths(&source));
    // Pulled, it is that too.
    let name = name.strip_prefix("docker://").unwrap();
    run::ok(lithify_at(&store).args(["-q", "pull", name]));
    let listed = run::text(lithify_at(&store).args(["-q", "ls", "-aR", name, "--pull", "never"]));
    assert_eq!(listed.lines().collect::<Vec<_>>(), paths(&source));
}

#[test]
fn images_of_mkfs_are_layers_too() {
    if !require::root() || !require::tool("mkfs.erofs") || !require::kernel_erofs() {
        return;
    }
    let tmp = temp_dir();
    let trees = [tmp.path().join("lower"), tmp.path().join("upper")];
    for tree in &trees {
        fs::create_dir_all(tree.join("d")).unwrap();
    }
    fs::write(trees[0].join("d/kept"), "kept ".repeat(3000)).unwrap();
    fs::write(trees[0].join("d/gone"), "x").unwrap();
    fs::write(trees[1].join("d/new"), "new").unwrap();
    run::ok(
        run::command("mknod")
            .arg(trees[1].join("d/gone"))
            .args(["c", "0", "0"]),
    );
    let mut layout = Layout::new();
    let mut mounts = Vec::new();
    for (number, tree) in trees.iter().enumerate() {
        let file = tmp.path().join(format!("{number}.erofs"));
        let mut mkfs = run::command("mkfs.erofs");
        if number == 0 {
            mkfs.arg("-zlz4");
        }
        run::ok(mkfs.arg(&file).arg(tree));
        let bytes = fs::read(&file).unwrap();
        let diff_id = digest(&bytes);
        let media_type = "application/vnd.erofs.layer.v1".to_owned();
        layout = layout.blob(Blob { media_type, bytes }, &diff_id);
        mounts.push(Mount::erofs(&file));
    }
    let path = tmp.path().join("image");
    layout.write(&path);
    let source = format!("oci:{}:latest", path.display());
    let overlay = Mount::overlay(&[mounts[1].path(), mounts[0].path()]).unwrap();
    let expected = Snapshot::of(overlay.path());
    let flat = crate::common::erofs(&source, tmp.path());
    Snapshot::of(Mount::erofs(&flat).path()).assert_same(&expected, &links_of_an_overlay());
    // Nothing refers to data that does not start with a block: there is no merged image, but a stack.
    let layers = tmp.path().join("layers");
    build(&source, "erofs-layers", &layers);
    assert!(!layers.join("fsmeta.erofs").exists());
    assert_eq!(paths(layers.to_str().unwrap()), paths(&source));
    let point = tmp.path().join("point");
    fs::create_dir(&point).unwrap();
    run::ok(lithify().args(["-q", "mount", &source]).arg(&point));
    let seen = Snapshot::of(&point);
    run::ok(lithify().arg("umount").arg(&point));
    seen.assert_same(&expected, &links_of_an_overlay());
    let text = run::text(lithify().args(["-q", "cat", &source, "/d/kept"]));
    assert_eq!(text, "kept ".repeat(3000));
}

/// Files shorter than a block stand behind their inodes unless `mkfs.erofs` is told otherwise: a merged image has a copy.
#[test]
fn short_files_of_mkfs_are_merged() {
    if !require::tool("mkfs.erofs") {
        return;
    }
    let tmp = temp_dir();
    let mut layout = Layout::new();
    for (number, names) in [["d/a", "d/b"], ["d/b", "e/c"]].into_iter().enumerate() {
        let tree = tmp.path().join(number.to_string());
        for name in names {
            let path = tree.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{name} of {number}")).unwrap();
        }
        fs::write(tree.join("blocks"), vec![number as u8; 8192]).unwrap();
        let file = tmp.path().join(format!("{number}.erofs"));
        run::ok(run::command("mkfs.erofs").arg(&file).arg(&tree));
        let bytes = fs::read(&file).unwrap();
        let diff_id = digest(&bytes);
        let media_type = "application/vnd.erofs.layer.v1".to_owned();
        layout = layout.blob(Blob { media_type, bytes }, &diff_id);
    }
    let path = tmp.path().join("image");
    layout.write(&path);
    let source = format!("oci:{}:latest", path.display());
    let layers = tmp.path().join("layers");
    build(&source, "erofs-layers", &layers);
    assert!(layers.join("fsmeta.erofs").is_file());
    run::ok(lithify().args(["-q", "verify"]).arg(&layers));
    for (path, text) in [
        ("/d/a", "d/a of 0"),
        ("/d/b", "d/b of 1"),
        ("/e/c", "e/c of 1"),
    ] {
        let mut cat = lithify();
        cat.args(["-q", "cat"]).arg(&layers).arg(path);
        assert_eq!(run::text(&mut cat), text);
    }
    if require::root() && require::kernel_erofs() {
        let flat = crate::common::erofs(&source, tmp.path());
        let expected = Snapshot::of(Mount::erofs(&flat).path());
        let point = tmp.path().join("point");
        fs::create_dir(&point).unwrap();
        run::ok(lithify().args(["-q", "mount"]).arg(&layers).arg(&point));
        let seen = Snapshot::of(&point);
        run::ok(lithify().arg("umount").arg(&point));
        seen.assert_same(&expected, &Allow::nothing());
    }
}

/// An image for two platforms, whose file `arch` says which it is.
/// An index over an image for amd64 and one for s390x.
pub(crate) fn two_platforms(dir: &Path) -> String {
    let of = |arch: &str| {
        let path = dir.join(arch);
        let file = layer([TarEntry::file("arch", arch)]);
        Layout::new()
            .image_config("architecture", serde_json::json!(arch))
            .gzip_layer(&file)
            .write(&path);
        path
    };
    // One index over both.
    let (amd64, s390x) = (of("amd64"), of("s390x"));
    let mut entries = Vec::new();
    for (arch, path) in [("amd64", &amd64), ("s390x", &s390x)] {
        let index: Value =
            serde_json::from_slice(&fs::read(path.join("index.json")).unwrap()).unwrap();
        let mut entry = index["manifests"][0].clone();
        entry.as_object_mut().unwrap().remove("annotations");
        entry["platform"] = serde_json::json!({"os": "linux", "architecture": arch});
        entries.push(entry);
        for (blob, _) in blobs(path) {
            let name = format!("blobs/sha256/{blob}");
            if !amd64.join(&name).exists() {
                fs::copy(path.join(&name), amd64.join(&name)).unwrap();
            }
        }
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let nested =
        serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    let nested = serde_json::to_vec(&nested).unwrap();
    fs::write(blob_path(&amd64, &digest(&nested)), &nested).unwrap();
    let top = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": media_type, "digest": digest(&nested), "size": nested.len(),
        "annotations": {"org.opencontainers.image.ref.name": "latest"}}]});
    fs::write(amd64.join("index.json"), top.to_string()).unwrap();
    format!("oci:{}:latest", amd64.display())
}

#[test]
fn every_platform_is_pushed() {
    let tmp = temp_dir();
    let source = two_platforms(tmp.path());
    let layout = tmp.path().join("out");
    let store = tmp.path().join("store");
    push(
        &store,
        &source,
        &layout,
        &["--as", "erofs", "--all-platforms"],
    );
    let pushed = format!("oci:{}:v1", layout.display());
    for (platform, text) in [
        ("linux/amd64", "amd64"),
        ("linux/amd64+erofs", "amd64"),
        ("linux/s390x", "s390x"),
        ("linux/s390x+erofs", "s390x"),
    ] {
        let mut cat = lithify();
        cat.args(["-q", "cat", "--platform", platform, &pushed, "arch"]);
        assert_eq!(run::text(&mut cat), text);
    }
    // Alone they are an index of their own.
    let only = tmp.path().join("only");
    let report = push(
        &store,
        &source,
        &only,
        &["--as", "erofs", "--only", "--all-platforms"],
    );
    let index = document(&only, &report["digest"]);
    let platforms: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            (
                &m["platform"]["architecture"],
                &m["platform"]["os.features"],
            )
        })
        .collect();
    let erofs = serde_json::json!(["erofs"]);
    assert_eq!(
        platforms,
        [(&"amd64".into(), &erofs), (&"s390x".into(), &erofs)]
    );
    let alone = format!("oci:{}:v1", only.display());
    for (platform, text) in [("linux/amd64", "amd64"), ("linux/s390x+erofs", "s390x")] {
        let mut cat = lithify();
        cat.args(["-q", "cat", "--platform", platform, &alone, "arch"]);
        assert_eq!(run::text(&mut cat), text);
    }
    // And from there once more: the EROFS layers are made of the tars, not of each other.
    let again = tmp.path().join("again");
    push(
        &store,
        &pushed,
        &again,
        &["--as", "erofs", "--all-platforms"],
    );
    assert_eq!(blobs(&again), blobs(&layout));
}

/// A link that leads nowhere is what `ls -l` shows, of layers that are looked into as of those that are read.
#[test]
fn links_that_lead_nowhere_are_shown() {
    let tmp = temp_dir();
    let source = image(
        tmp.path(),
        [layer([
            TarEntry::directory("etc"),
            TarEntry::symlink("etc/mtab", "../proc/self/mounts"),
            TarEntry::symlink("etc/loop", "loop"),
            TarEntry::symlink("etc/chain", "mtab"),
            TarEntry::symlink("conf", "etc"),
            TarEntry::symlink("out", "/etc/nothing/there"),
        ])],
    );
    let layout = tmp.path().join("native");
    let store = tmp.path().join("store");
    push(&store, &source, &layout, &["--as", "erofs", "--only"]);
    let native = format!("oci:{}", layout.display());
    let artifact = tmp.path().join("flat.erofs");
    build(&source, "erofs", &artifact);
    let artifact = artifact.display().to_string();
    for path in [
        "/etc/mtab",
        "etc/loop",
        "/etc/chain",
        "/conf/mtab",
        "conf",
        "/out",
    ] {
        for options in [&["-l"][..], &["-d"], &["-ld"], &["-d", "--json"]] {
            let shown = |subject: &str| {
                let mut command = lithify();
                run::text(command.args(["-q", "ls", subject, path]).args(options))
            };
            let expected = shown(&source);
            assert_eq!(expected.lines().count(), 1, "{expected}");
            if !options.contains(&"--json") {
                assert_eq!(shown(&native), expected, "{path} {options:?}");
                assert_eq!(shown(&artifact), expected, "{path} {options:?}");
            }
            assert!(shown(&native).contains(path.trim_start_matches("/conf")));
        }
    }
    for (path, options) in [
        ("/etc/mtab", &[][..]),
        ("/etc/mtab/", &["-l"]),
        ("/etc/mtab/x", &["-l"]),
        ("/etc/none", &["-l"]),
        ("/out/..", &["-d"]),
    ] {
        for subject in [&source, &native, &artifact] {
            let output = run::output(lithify().args(["-q", "ls", subject, path]).args(options));
            assert_eq!(output.status.code(), Some(1), "{subject} {path}");
            assert!(
                stderr(&output).contains("does not exist in the image"),
                "{}",
                stderr(&output)
            );
        }
    }
}
