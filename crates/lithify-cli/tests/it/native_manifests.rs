//! Manifests of EROFS layers: beside those of the tars, and alone.

use std::fs;

use crate::common::native::{blob_path, blobs, document, push, sample};
use crate::common::stores::lithify_at;
use crate::common::{build, lithify, lithify_output, paths, stderr};
use lithify_testkit::{Allow, Mount, Snapshot, digest, require, run, temp_dir};
use serde_json::Value;

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
