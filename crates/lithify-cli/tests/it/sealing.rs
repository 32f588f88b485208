//! Digests of composefs beside an image: published, found, checked; the sealing specification of composefs-rs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lithify_testkit::registry::Faulty;
use lithify_testkit::{Compression, Layout, TarEntry, digest, require, run, temp_dir};
use serde_json::{Value, json};

use crate::common::artifacts::{fails, json as json_of};
use crate::common::stores::lithify_at;
use crate::common::{layer, lithify, lithify_output, stderr};

const ALGORITHMS: [&str; 2] = ["sha256", "sha512"];
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SEAL: &str = "application/vnd.composefs.metadata.v1";
const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// The artifacts of the sample image, byte for byte.
const PINNED: [&str; 2] = [
    "sha256:d949555678b505f910bbb5b8d466f7180df52847fca33f4a0aa9ef68cee7f8a2",
    "sha256:bcfc216e8d20efb18435a74d0677fd42cd27101152396a59cab084bd1d28710b",
];

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + length) as u8).collect()
}

/// An image of two layers, by the rules of `cfsctl` another one than as it is.
fn sample() -> Layout {
    let base = layer([
        TarEntry::directory("usr")
            .mode(0o750)
            .mtime(1_600_000_000, 0),
        TarEntry::directory("usr/bin"),
        TarEntry::file("usr/bin/long", data(70_000))
            .mode(0o755)
            .xattr("security.capability", data(20))
            .xattr("user.note", "n"),
        TarEntry::file("usr/bin/short", data(64)),
        TarEntry::file("usr/bin/gone", data(4096)),
        TarEntry::symlink("bin", "usr/bin"),
        TarEntry::directory("run"),
        TarEntry::file("run/lock", data(100)),
    ]);
    let upper = layer([
        TarEntry::directory("usr")
            .mode(0o755)
            .mtime(1_600_000_001, 5),
        TarEntry::directory("usr/bin"),
        TarEntry::whiteout("usr/bin/gone"),
        TarEntry::file("usr/bin/new", data(65)),
        TarEntry::hard_link("usr/bin/same", "usr/bin/new"),
    ]);
    Layout::new()
        .layer(&base, Compression::None)
        .layer(&upper, Compression::None)
}

/// A layout, changed by hand.
struct Place(PathBuf);

impl Place {
    fn new(dir: &Path, image: &Layout) -> Self {
        let path = dir.join("layout");
        image.write(&path);
        Self(path)
    }

    fn name(&self) -> String {
        format!("oci:{}:latest", self.0.display())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.0.join("blobs").join(digest.replace(':', "/"))
    }

    fn read(&self, digest: &str) -> Vec<u8> {
        fs::read(self.path(digest)).unwrap()
    }

    fn json(&self, digest: &str) -> Value {
        serde_json::from_slice(&self.read(digest)).unwrap()
    }

    fn add(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        fs::write(self.path(&digest), bytes).unwrap();
        digest
    }

    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.0.join("index.json")).unwrap()).unwrap()
    }

    /// Puts a manifest into the index, in the place of another one if there is one.
    fn put(&self, old: Option<&str>, manifest: &Value) -> String {
        let bytes = manifest.to_string().into_bytes();
        let digest = self.add(&bytes);
        let mut index = self.index();
        let entries = index["manifests"].as_array_mut().unwrap();
        let found = entries
            .iter()
            .position(|e| Some(&e["digest"]) == old.map(Value::from).as_ref());
        assert_eq!(found.is_some(), old.is_some());
        let at = found.unwrap_or_else(|| {
            entries.push(json!({ "mediaType": MANIFEST, "artifactType": SEAL }));
            entries.len() - 1
        });
        entries[at]["digest"] = digest.as_str().into();
        entries[at]["size"] = bytes.len().into();
        fs::write(self.0.join("index.json"), index.to_string()).unwrap();
        digest
    }

    /// The digest of the image's manifest.
    fn image(&self) -> String {
        let index = self.index();
        let mut entries = index["manifests"].as_array().unwrap().iter();
        let named = entries.find(|e| !e["annotations"].is_null()).unwrap();
        named["digest"].as_str().unwrap().to_owned()
    }

    /// Publishes digests beside the image; returns those of the artifacts.
    fn seal(&self, algorithms: &str) -> Vec<String> {
        let name = self.name();
        let args = [
            "push",
            "--as",
            "composefs",
            "--algorithm",
            algorithms,
            "--json",
            &name,
            &name,
        ];
        let said = run::ok(lithify().arg("-q").args(args));
        let said: Value = serde_json::from_slice(&said).unwrap();
        assert_eq!(said["digest"], self.image());
        let manifests = said["manifests"].as_array().unwrap()[1..].iter();
        let manifests = manifests.inspect(|m| assert_eq!(m["form"], SEAL));
        manifests
            .map(|m| m["digest"].as_str().unwrap().to_owned())
            .collect()
    }

    fn verify(&self) -> Value {
        let said = run::ok(lithify().args(["-q", "verify", "--sealed", "--json", &self.name()]));
        serde_json::from_slice(&said).unwrap()
    }

    /// Standard error of a check that fails.
    #[track_caller]
    fn refused(&self, code: i32) -> String {
        let output = lithify_output(["-q", "verify", "--sealed", &self.name()]);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{error}");
        error
    }
}

/// The key and the value of a layer's annotation.
fn annotation(layer: &Value) -> (&str, &str) {
    let annotations = layer["annotations"].as_object().unwrap();
    assert_eq!(annotations.len(), 1);
    let (key, value) = annotations.iter().next().unwrap();
    (key, value.as_str().unwrap())
}

fn fsverity(algorithm: &str, path: &Path) -> String {
    let hash = format!("--hash-alg={algorithm}");
    let mut command = run::command("fsverity");
    let said = run::text(command.args(["digest", "--compact", &hash]).arg(path));
    said.trim().to_owned()
}

#[test]
fn an_artifact_has_the_same_bytes_each_time_and_the_digests_of_files() {
    let tmp = temp_dir();
    let place = Place::new(tmp.path(), &sample());
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
    let place = Place::new(tmp.path(), &sample());
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
        let place = Place::new(tmp.path(), image);
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
fn digests_are_computed_and_compared() {
    let tmp = temp_dir();
    let place = Place::new(tmp.path(), &sample());
    let error = place.refused(1);
    assert!(error.contains("nobody says"), "{error}");
    let artifacts = place.seal("sha256,sha512");
    let said = place.verify();
    let checks = said["sealed"]["checks"].as_array().unwrap();
    let roles: Vec<&str> = checks.iter().map(|c| c["role"].as_str().unwrap()).collect();
    let of_one = ["manifest", "config", "merged", "image"];
    assert_eq!(roles, [of_one, of_one].concat());
    for check in checks {
        assert_eq!(check["state"], "same", "{check:#}");
        assert_eq!(check["found"], check["expected"]);
    }
    let places = checks.iter().map(|c| c["place"].as_str().unwrap());
    let places: BTreeSet<&str> = places.collect();
    assert_eq!(places, artifacts.iter().map(String::as_str).collect());
    let plain = json_of(tmp.path(), &["verify", &place.name()]);
    assert_eq!(plain.get("sealed"), None);
    for field in ["entries", "bytes", "name"] {
        assert_eq!(said[field], plain[field]);
    }
    // Each of them, and the image, changed.
    let original = place.json(&artifacts[0]);
    let mut current = artifacts[0].clone();
    let other = "0".repeat(64);
    for (number, role) in of_one.iter().enumerate() {
        let mut forged = original.clone();
        let layer = &mut forged["layers"][number];
        if *role == "image" {
            layer["digest"] = format!("sha256:{other}").into();
        } else {
            let key = annotation(&original["layers"][number]).0;
            layer["annotations"][key] = other.as_str().into();
        }
        let forged = place.put(Some(&current), &forged);
        current.clone_from(&forged);
        let error = place.refused(3);
        for part in [*role, &forged, &other] {
            assert!(error.contains(part), "{error}");
        }
        let output = lithify_output(["-q", "verify", "--sealed", "--json", &place.name()]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = said["sealed"]["checks"].as_array().unwrap();
        let different: Vec<&Value> = checks
            .iter()
            .filter(|c| c["state"] == "different")
            .collect();
        assert_eq!(different.len(), 1, "{said:#}");
        assert_eq!(different[0]["role"], *role);
        let found = different[0]["found"].as_str().unwrap();
        assert!(error.contains(found), "{error}");
    }
    // Of another image, it says nothing of this one.
    let mut forged = original.clone();
    forged["subject"]["digest"] = digest(b"other").into();
    place.put(Some(&current), &forged);
    let said = place.verify();
    assert_eq!(said["sealed"]["checks"].as_array().unwrap().len(), 4);
}

#[test]
fn digests_nobody_here_knows_are_told_and_never_right() {
    let tmp = temp_dir();
    let place = Place::new(tmp.path(), &sample());
    let artifacts = place.seal("sha256");
    let mut manifest = place.json(&artifacts[0]);
    let unknown = [
        "composefs.merged.erofs.v1.fsverity-sha256-16",
        "composefs.merged.bootable.erofs.v1.fsverity-sha256-12",
        "composefs.merged.erofs.v2.fsverity-sha256-12",
        "composefs.merged.erofs.v1.fsverity-sha256-12.sig",
        "composefs.layer.erofs.v1.fsverity-sha256-12",
    ];
    let layer = manifest["layers"][0].clone();
    for key in unknown {
        let mut layer = layer.clone();
        layer["annotations"] = json!({ key: "x".repeat(1000) });
        manifest["layers"].as_array_mut().unwrap().push(layer);
    }
    let current = place.put(Some(&artifacts[0]), &manifest);
    let said = place.verify();
    let checks = said["sealed"]["checks"].as_array().unwrap();
    for key in unknown {
        let check = checks.iter().find(|c| c["annotation"] == key).unwrap();
        assert_eq!(check["state"], "not-checked");
        assert_eq!(check["role"], Value::Null);
        assert!(check["expected"].as_str().unwrap().len() < 200);
        assert!(check["reason"].as_str().unwrap().contains("not known"));
    }
    let text = run::text(lithify().args(["verify", "--sealed", &place.name()]));
    assert_eq!(text.matches(": as computed\n").count(), 4, "{text}");
    assert_eq!(
        text.matches(": not checked: ").count(),
        unknown.len(),
        "{text}"
    );
    // They alone are not enough.
    for layer in 0..4 {
        manifest["layers"][layer]["annotations"] = json!({});
    }
    manifest["layers"].as_array_mut().unwrap().remove(3);
    place.put(Some(&current), &manifest);
    let error = place.refused(1);
    assert!(error.contains("none that can be checked"), "{error}");
}

#[test]
fn annotations_that_are_no_digests_are_errors() {
    let tmp = temp_dir();
    let place = Place::new(tmp.path(), &sample());
    let artifacts = place.seal("sha256");
    let original = place.json(&artifacts[0]);
    let key = annotation(&original["layers"][2]).0;
    let digest = annotation(&original["layers"][2]).1;
    let mut current = artifacts[0].clone();
    let (upper, half) = (digest.to_uppercase(), &digest[..32]);
    let twice = digest.repeat(2);
    let huge = "a".repeat(1 << 20);
    for value in [
        &upper,
        half,
        "",
        &twice,
        "sha256:",
        "\u{1b}[2J",
        "not hexadecimal",
        &huge,
    ] {
        let mut forged = original.clone();
        forged["layers"][2]["annotations"][key] = value.into();
        current = place.put(Some(&current), &forged);
        let error = place.refused(3);
        assert!(
            error.contains("expected 64 lower-case hexadecimal digits"),
            "{error}"
        );
        assert!(error.contains(key), "{error}");
        assert!(error.len() < 1000, "{}", error.len());
        assert!(!error.contains('\u{1b}'));
    }
    let mut many = original.clone();
    let keys = (0..1025).map(|number| (format!("composefs.{number}"), Value::from("x")));
    many["annotations"] = Value::Object(keys.collect());
    current = place.put(Some(&current), &many);
    let error = place.refused(1);
    assert!(
        error.contains("more than 1024 composefs digests"),
        "{error}"
    );
    // So many artifacts, each another one.
    place.put(Some(&current), &original);
    for number in 0..64 {
        let mut other = original.clone();
        other["annotations"] = json!({ "number": number.to_string() });
        place.put(None, &other);
    }
    let error = place.refused(1);
    assert!(error.contains("more than 64 artifacts"), "{error}");
}

/// Digests that stand in the image's own manifest.
#[test]
fn annotations_of_the_image_are_checked() {
    let tmp = temp_dir();
    let place = Place::new(tmp.path(), &sample());
    let sealed = place.seal("sha256");
    let sealed = place.json(&sealed[0]);
    let digests: Vec<(&str, &str)> = [1, 2].map(|n| annotation(&sealed["layers"][n])).into();
    let [(config, config_digest), (merged, merged_digest)] = digests[..] else {
        panic!("two digests")
    };
    let mut manifest = place.json(&place.image());
    manifest["config"]["annotations"] = json!({ config: config_digest });
    manifest["annotations"] = json!({ merged: merged_digest });
    manifest["layers"][0]["annotations"] =
        json!({ "composefs.layer.erofs.v1.fsverity-sha256-12": merged_digest });
    place.put(Some(&place.image()), &manifest);
    let said = place.verify();
    let checks = said["sealed"]["checks"].as_array().unwrap();
    let found: Vec<_> = checks
        .iter()
        .map(|c| [&c["place"], &c["role"], &c["state"]])
        .collect();
    let (own, same) = (&json!("manifest"), &json!("same"));
    assert_eq!(
        found,
        [
            [own, &json!("merged"), same],
            [own, &json!("config"), same],
            [own, &Value::Null, &json!("not-checked")],
        ]
    );
    manifest["annotations"][merged] = config_digest.into();
    place.put(Some(&place.image()), &manifest);
    let error = place.refused(3);
    assert!(error.contains(merged_digest), "{error}");
}

#[test]
fn the_id_in_a_repository_is_compared_too() {
    let tmp = temp_dir();
    let place = Place::new(tmp.path(), &sample());
    place.seal("sha256");
    let repository = tmp.path().join("repository");
    let name = format!("composefs:{}:app", repository.display());
    let build = |profile: &str, image: &str| {
        let args = [
            "-q",
            "build",
            image,
            "-f",
            "composefs",
            "--profile",
            profile,
        ];
        run::ok(lithify().args(args).args(["--no-fsync", "-o", &name]));
    };
    let verify = || {
        let args = ["-q", "verify", "--json", "--seals", &place.name(), &name];
        let said: Value = serde_json::from_slice(&run::ok(lithify().args(args))).unwrap();
        let checks = said["sealed"]["checks"].as_array().unwrap();
        assert!(said["composefs"]["has_objects"].as_bool().unwrap());
        checks.last().unwrap().clone()
    };
    build("cfsctl", &place.name());
    let check = verify();
    assert_eq!(check["place"], "repository");
    assert_eq!(check["state"], "same");
    fs::remove_dir_all(&repository).unwrap();
    build("faithful", &place.name());
    let check = verify();
    assert_eq!(check["state"], "not-checked");
    assert!(check["reason"].as_str().unwrap().contains("other rules"));
}

#[test]
fn what_has_no_such_digests_is_an_error() {
    let tmp = temp_dir();
    let none = layer([TarEntry::file("etc", data(100))]);
    let place = Place::new(tmp.path(), &Layout::new().gzip_layer(&none));
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
    let place = Place::new(tmp.path(), &sample());
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
