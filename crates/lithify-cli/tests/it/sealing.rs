//! Digests of composefs beside an image: published, found, checked; the sealing specification of composefs-rs.

use std::fs;
use std::path::Path;

use lithify_testkit::registry::Faulty;
use lithify_testkit::{Compression, Layout, TarEntry, require, run, temp_dir};
use serde_json::json;

use crate::common::artifacts::{fails, json as json_of};
use crate::common::sealed::{EMPTY, MANIFEST, SEAL, Sealed, annotation, data, sample};
use crate::common::stores::lithify_at;
use crate::common::{layer, lithify};

const ALGORITHMS: [&str; 2] = ["sha256", "sha512"];
/// The artifacts of the sample image, byte for byte.
const PINNED: [&str; 2] = [
    "sha256:d949555678b505f910bbb5b8d466f7180df52847fca33f4a0aa9ef68cee7f8a2",
    "sha256:bcfc216e8d20efb18435a74d0677fd42cd27101152396a59cab084bd1d28710b",
];

fn fsverity(algorithm: &str, path: &Path) -> String {
    let hash = format!("--hash-alg={algorithm}");
    let mut command = run::command("fsverity");
    let said = run::text(command.args(["digest", "--compact", &hash]).arg(path));
    said.trim().to_owned()
}

#[test]
fn an_artifact_has_the_same_bytes_each_time_and_the_digests_of_files() {
    let tmp = temp_dir();
    let place = Sealed::new(tmp.path(), &sample());
    let image = place.image();
    let artifacts = place.seal("sha512,sha256");
    assert_eq!(place.seal("sha256,sha512,sha256"), artifacts);
    assert_eq!(place.image(), image, "the image stays as it is");
    assert_eq!(place.index()["manifests"].as_array().unwrap().len(), 3);
    assert_eq!(artifacts, PINNED);
    for (artifact, algorithm) in artifacts.iter().zip(ALGORITHMS) {
        let manifest = place.json(artifact);
        assert_eq!(manifest["artifactType"], SEAL);
        assert_eq!(
            manifest["config"]["mediaType"],
            "application/vnd.oci.empty.v1+json"
        );
        let subject =
            json!({ "mediaType": MANIFEST, "digest": image, "size": place.read(&image).len() });
        assert_eq!(manifest["subject"], subject);
        assert_eq!(manifest.get("annotations"), None);
        let layers = manifest["layers"].as_array().unwrap();
        let keys: Vec<&str> = layers.iter().map(|layer| annotation(layer).0).collect();
        let expected = [
            &format!("composefs.manifest.fsverity-{algorithm}-12"),
            &format!("composefs.config.fsverity-{algorithm}-12"),
            &format!("composefs.merged.erofs.v1.fsverity-{algorithm}-12"),
            "org.opencontainers.image.title",
        ];
        assert_eq!(keys, expected);
        for layer in &layers[..3] {
            assert_eq!(layer["mediaType"], "application/vnd.oci.empty.v1+json");
            assert_eq!(layer["digest"], EMPTY);
        }
        assert_eq!(
            layers[3]["mediaType"],
            "application/vnd.lithify.composefs.image.v1"
        );
        let merged = layers[3]["digest"].as_str().unwrap();
        assert_eq!(layers[3]["size"], place.read(merged).len());
        let config = place.json(&image)["config"]["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        if require::tool("fsverity") {
            for (layer, file) in layers.iter().zip([&image, &config, merged]) {
                assert_eq!(annotation(layer).1, fsverity(algorithm, &place.path(file)));
            }
        }
        // The id that a repository gets by these rules, and that is computed without one.
        let id = annotation(&layers[2]).1;
        let args = ["composefs", "id", "--algorithm", algorithm, &place.name()];
        let with = |profile: &str| run::text(lithify().args(args).args(["--profile", profile]));
        assert_eq!(with("cfsctl").trim(), id);
        assert_ne!(with("faithful").trim(), id);
        assert_eq!(run::text(lithify().args(args)), with("faithful"));
    }
    let listed = json_of(tmp.path(), &["inspect", "--referrers", &place.name()]);
    let listed = listed["referrers"].as_array().unwrap();
    assert_eq!(listed.len(), artifacts.len());
    for listed in listed {
        assert!(artifacts.contains(&listed["digest"].as_str().unwrap().to_owned()));
        assert_eq!(listed["artifact_type"], SEAL);
    }
    // It is no filesystem to be taken for one.
    let mut command = lithify();
    let out = tmp.path().join("out.erofs");
    command.args(["-q", "build", &place.name(), "--artifacts", "require", "-o"]);
    let (code, error) = fails(command.arg(&out));
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("nobody published"), "{error}");
}

#[test]
fn the_id_of_an_image_is_the_one_a_repository_gives_it() {
    let tmp = temp_dir();
    let place = Sealed::new(tmp.path(), &sample());
    let gzip = layer([
        TarEntry::directory("usr"),
        TarEntry::file("usr/z", data(9000)),
    ]);
    Layout::new()
        .gzip_layer(&gzip)
        .tag("gzip")
        .write(&tmp.path().join("gzip"));
    let gzip = format!("oci:{}:gzip", tmp.path().join("gzip").display());
    let tree = tmp.path().join("tree");
    fs::create_dir_all(tree.join("usr")).unwrap();
    fs::write(tree.join("usr/f"), data(5000)).unwrap();
    let tree = format!("rootfs:{}", tree.display());
    for algorithm in ALGORITHMS {
        let repository = tmp.path().join(algorithm);
        let init = [
            "composefs",
            "init",
            "--algorithm",
            algorithm,
            "--verity",
            "off",
        ];
        run::ok(lithify().args(init).arg(&repository));
        let images = [place.name(), gzip.clone(), tree.clone()];
        for (number, image) in images.iter().enumerate() {
            for profile in ["faithful", "cfsctl"] {
                let output = format!("composefs:{}:{profile}{number}", repository.display());
                let args = [
                    "-q",
                    "build",
                    image,
                    "-f",
                    "composefs",
                    "--profile",
                    profile,
                ];
                run::ok(lithify().args(args).args(["--no-fsync", "-o", &output]));
                let id = run::text(lithify().args(["composefs", "id", &output]));
                let args = [
                    "composefs",
                    "id",
                    "--algorithm",
                    algorithm,
                    "--profile",
                    profile,
                ];
                assert_eq!(run::text(lithify().args(args).arg(image)), id);
                // Of what the repository has, once more.
                let args = ["composefs", "id", "--profile", profile, &output];
                assert_eq!(run::text(lithify().args(args)), id);
            }
        }
    }
}

#[test]
fn cfsctl_computes_the_same_id() {
    let Some(cfsctl) = require::cfsctl() else {
        return;
    };
    let holes = layer([
        TarEntry::directory("usr").mode(0o711).mtime(5, 0),
        TarEntry::directory("run").mtime(7, 0),
        TarEntry::file("run/x", "x"),
        TarEntry::file("usr/empty", ""),
        TarEntry::file("usr/big", vec![0; 3 << 20]),
        TarEntry::file(format!("usr/{}", "n".repeat(200)), data(129)),
    ]);
    let zstd = Layout::new().layer(&holes, Compression::Zstd);
    let twice = Layout::new().gzip_layer(&holes).gzip_layer(&holes);
    for (number, image) in [sample(), twice, zstd].iter().enumerate() {
        let tmp = temp_dir();
        let place = Sealed::new(tmp.path(), image);
        for (artifact, algorithm) in place.seal("sha256,sha512").iter().zip(ALGORITHMS) {
            let ask = |args: &[&str]| {
                let mut command = run::command(cfsctl.to_str().unwrap());
                command.arg("--repo").arg(tmp.path().join(algorithm));
                run::text(command.args(args))
            };
            let name = format!("fsverity-{algorithm}-12");
            ask(&["init", "--insecure", "--algorithm", &name]);
            ask(&["oci", "pull", &place.name(), "image"]);
            let manifest = place.json(artifact);
            let (_, merged) = annotation(&manifest["layers"][2]);
            let computed = ask(&["oci", "compute-id", "image"]);
            assert_eq!(computed.trim(), merged, "{number} {algorithm}");
        }
    }
}

#[test]
fn what_has_no_such_digests_is_an_error() {
    let tmp = temp_dir();
    let none = layer([TarEntry::file("etc", data(100))]);
    let place = Sealed::new(tmp.path(), &Layout::new().gzip_layer(&none));
    let name = place.name();
    let (code, error) = fails(lithify().args(["-q", "push", "--as", "composefs", &name, &name]));
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("it has no directory `/usr`"), "{error}");
    assert_eq!(place.index()["manifests"].as_array().unwrap().len(), 1);
    let tree = format!("rootfs:{}", tmp.path().display());
    let (code, error) = fails(lithify().args(["-q", "verify", "--sealed", &tree]));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("has no manifest"), "{error}");
    for (args, part) in [
        (
            &["--as", "squashfs", "--algorithm", "sha256"][..],
            "--as composefs",
        ),
        (&["--algorithm", "sha256"], "--as"),
        (&["--as", "composefs", "--verity"], "--verity"),
        (&["--as", "composefs", "--compress", "zstd"], "--compress"),
        (&["--as", "composefs", "--only"], "--only"),
    ] {
        let (code, error) = fails(lithify().args(["-q", "push", &name, &name]).args(args));
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn artifacts_of_a_registry_are_found_and_copied() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let place = Sealed::new(tmp.path(), &sample());
    let registry = Faulty::start();
    let name = format!("docker://{}/team/app:v1", registry.address());
    json_of(&store, &["push", &place.name(), &name]);
    let args = ["push", "--as", "composefs", "--algorithm", "sha256,sha512"];
    let planned = json_of(&store, &[&args[..], &["--dry-run", &name, &name]].concat());
    let made = planned["parts"].as_array().unwrap().iter();
    assert_eq!(
        made.filter(|part| part["state"] == "make").count(),
        4,
        "{planned:#}"
    );
    let pushed = json_of(&store, &[&args[..], &[&name, &name]].concat());
    // What a layout gets is the same.
    let there = place.seal("sha256,sha512");
    let artifacts = pushed["manifests"].as_array().unwrap()[1..].iter();
    assert!(
        artifacts
            .map(|a| a["digest"].as_str().unwrap())
            .eq(there.iter())
    );
    let copy = format!("oci:{}:v1", tmp.path().join("copy").display());
    json_of(&store, &["copy", "--referrers", &name, &copy]);
    for name in [&name, &copy] {
        let said = json_of(&store, &["verify", "--sealed", name]);
        let checks = said["sealed"]["checks"].as_array().unwrap();
        assert_eq!(checks.len(), 8);
        assert!(checks.iter().all(|c| c["state"] == "same"), "{said:#}");
    }
    let plain = format!("oci:{}:v1", tmp.path().join("plain").display());
    json_of(&store, &["copy", &name, &plain]);
    let (code, _) = fails(lithify_at(&store).args(["-q", "verify", "--sealed", &plain]));
    assert_eq!(code, 1);
    let said = json_of(&store, &["verify", "--seals", &name, &plain]);
    assert_eq!(said["sealed"]["checks"].as_array().unwrap().len(), 8);
}

/// The digest a tag leads to in a registry.
fn tagged(store: &Path, name: &str) -> String {
    let said = json_of(store, &["inspect", name]);
    said["manifest_digest"].as_str().unwrap().to_owned()
}

#[test]
fn the_tag_of_a_registry_leads_to_the_image_that_was_published_for() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let place = Sealed::new(tmp.path(), &sample());
    let registry = Faulty::start();
    let name = |tag: &str| format!("docker://{}/team/app:{tag}", registry.address());
    // Nothing has the tag.
    for (form, tag) in [("composefs", "sealed"), ("erofs-image", "erofs")] {
        json_of(&store, &["push", "--as", form, &place.name(), &name(tag)]);
        assert_eq!(tagged(&store, &name(tag)), place.image());
        let out = tmp.path().join(tag);
        json_of(
            &store,
            &["copy", &name(tag), &format!("oci:{}:x", out.display())],
        );
    }
    json_of(&store, &["verify", "--sealed", &name("sealed")]);
    // Another image has it: as after a copy.
    let other = layer([TarEntry::directory("usr"), TarEntry::file("usr/o", "o")]);
    let other = Sealed::new(&tmp.path().join("other"), &Layout::new().gzip_layer(&other));
    json_of(&store, &["push", &other.name(), &name("taken")]);
    json_of(
        &store,
        &["push", "--as", "composefs", &place.name(), &name("taken")],
    );
    assert_eq!(tagged(&store, &name("taken")), place.image());
    // An index with the image has it: the others in it stay.
    json_of(
        &store,
        &["push", "--as", "erofs", &place.name(), &name("index")],
    );
    let index = json_of(
        &store,
        &["push", "--as", "erofs", &place.name(), &name("index")],
    );
    json_of(
        &store,
        &["push", "--as", "composefs", &place.name(), &name("index")],
    );
    let there = tmp.path().join("all");
    let all = format!("oci:{}:x", there.display());
    let copied = json_of(&store, &["copy", "--all-platforms", &name("index"), &all]);
    assert_eq!(copied["digest"], index["digest"]);
    // In a layout too.
    json_of(&store, &["push", "--as", "composefs", &all, &all]);
    let again = format!("oci:{}:x", tmp.path().join("again").display());
    let copied = json_of(&store, &["copy", "--all-platforms", &all, &again]);
    assert_eq!(copied["digest"], index["digest"]);
    json_of(&store, &["verify", "--sealed", &all]);
}

#[test]
fn an_image_whose_blobs_are_not_kept_is_published_for_only_where_it_is() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let tar = layer([
        TarEntry::directory("usr"),
        TarEntry::file("usr/z", data(9000)),
    ]);
    let place = Sealed::new(tmp.path(), &Layout::new().gzip_layer(&tar));
    let repository = format!("composefs:{}:app", tmp.path().join("repository").display());
    run::ok(lithify().args(["-q", "copy", &place.name(), &repository]));
    let registry = Faulty::start();
    let name = |tag: &str| format!("docker://{}/team/app:{tag}", registry.address());
    let layout = format!("oci:{}:v1", tmp.path().join("new").display());
    for form in ["composefs", "erofs-image", "erofs"] {
        for to in [&name("v1"), &layout] {
            for dry in [&[][..], &["--dry-run"]] {
                let mut command = lithify_at(&store);
                command
                    .args(["-q", "push", "--as", form, &repository, to])
                    .args(dry);
                let (code, error) = fails(&mut command);
                assert_eq!(code, 1, "{error}");
                assert!(error.contains(&place.image()), "{error}");
                assert!(error.contains("copy the image there first"), "{error}");
            }
        }
    }
    let sent = registry.requests();
    assert!(
        sent.iter().all(|r| r.method != "PUT" && r.method != "POST"),
        "nothing was sent"
    );
    // The image is there, under another tag.
    json_of(&store, &["push", &place.name(), &name("other")]);
    let pushed = json_of(
        &store,
        &["push", "--as", "composefs", &repository, &name("v1")],
    );
    assert_eq!(pushed["digest"], place.image());
    assert_eq!(tagged(&store, &name("v1")), place.image());
    let said = json_of(&store, &["verify", "--sealed", &name("v1")]);
    assert_eq!(
        said["sealed"]["checks"].as_array().unwrap().len(),
        4,
        "{said:#}"
    );
}
