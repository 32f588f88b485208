//! Images whose layers are EROFS images: what `push --as erofs` makes of layers, and who reads it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::common::native::{
    blob_path, blobs, document, links_of_an_overlay, push, sample, two_platforms,
};
use crate::common::stores::{counts, lithify_at};
use crate::common::{build, fsck, image, layer, lithify, lithify_output, paths, stderr};
use lithify_testkit::{Allow, Mount, Snapshot, TarEntry, digest, require, run, temp_dir};
use serde_json::Value;

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
