//! Filesystems as artifacts beside images: published, found, used instead of converting, copied with their image.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::artifacts::{fails, json, sample};
use crate::common::stores::{assert_undamaged, lithify_at};
use crate::common::{fsck, names};
use lithify_testkit::registry::{Action, Faulty, Kind, On, Real};
use lithify_testkit::{digest, require, run, temp_dir};
use serde_json::Value;

fn tools() -> bool {
    [
        "docker-registry",
        "skopeo",
        "unsquashfs",
        "fsck.erofs",
        "veritysetup",
    ]
    .into_iter()
    .all(require::tool)
}

fn raw(name: &str) -> Vec<u8> {
    let mut skopeo = run::command("skopeo");
    run::ok(skopeo.args(["inspect", "--raw", "--tls-verify=false", name]))
}

/// The file is a filesystem to others.
fn accepted(path: &Path, format: &str) {
    match format {
        "squashfs" => drop(run::ok(run::command("unsquashfs").arg("-lc").arg(path))),
        _ => fsck(path),
    }
}

fn verity_accepts(path: &Path, artifact: &Value) {
    let verity = &artifact["verity"];
    let offset = verity["hashoffset"].as_u64().unwrap();
    let mut command = run::command("veritysetup");
    command.arg("verify").arg(path).arg(path);
    command.arg(verity["roothash"].as_str().unwrap());
    run::ok(command.arg(format!("--hash-offset={offset}")));
    let sidecar = path.with_file_name(format!(
        "{}.dmverity",
        path.file_name().unwrap().to_str().unwrap()
    ));
    let sidecar: Value = serde_json::from_slice(&fs::read(sidecar).unwrap()).unwrap();
    assert_eq!(sidecar["roothash"], verity["roothash"]);
}

/// Pushes an image with all kinds of artifacts and builds with them.
fn round(address: &str, tag_list: bool) {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let name = format!("docker://{address}/team/app:v1");
    json(&store, &["push", &sample(tmp.path()), &name]);
    let before = raw(&name);
    let mut found = 0;
    for (form, format) in [("squashfs", "squashfs"), ("erofs-image", "erofs")] {
        for verity in [false, true] {
            let extra: &[&str] = if verity { &["--verity"] } else { &[] };
            let output = |what: &str| tmp.path().join(format!("{what}-{format}-{verity}"));
            let build = |what: &str, artifacts: &str| {
                let path = output(what);
                let path = path.to_str().unwrap();
                let args = ["build", &name, "-f", format, "-o", path, "--no-fsync"];
                let artifacts = ["--artifacts", artifacts];
                json(&store, &[&args, extra, &artifacts].concat())
            };
            // None is there yet.
            let mut command = lithify_at(&store);
            command.args(["build", &name, "-f", format, "--artifacts", "require"]);
            command.args(extra).arg("-o").arg(output("none"));
            let (code, error) = fails(&mut command);
            assert_eq!(code, 1, "{error}");
            assert!(error.contains("nobody published"), "{error}");
            assert!(!output("none").exists());
            let made = build("made", "use");
            assert_eq!(made["artifacts"][0].get("source"), None);

            let args = ["push", "--as", form, &name, &name];
            let pushed = json(&store, &[&args, extra].concat());
            assert_eq!(raw(&name), before, "the image stays as it is");
            let published = pushed["manifests"].as_array().unwrap().last().unwrap();
            found += 1;

            let used = build("used", "require");
            let artifact = &used["artifacts"][0];
            assert_eq!(artifact["source"]["manifest"], published["digest"]);
            assert_eq!(used["reused"], 1);
            let sha256 = format!("sha256:{}", artifact["sha256"].as_str().unwrap());
            assert_eq!(published["layers"][0]["digest"], sha256);
            let bytes = fs::read(output("used")).unwrap();
            assert_eq!(digest(&bytes), sha256);
            // The same version makes the same bytes.
            assert!(bytes == fs::read(output("made")).unwrap());
            accepted(&output("used"), format);
            assert_eq!(artifact["verity"], made["artifacts"][0]["verity"]);
            if verity {
                verity_accepts(&output("used"), artifact);
            }
            // Not unasked.
            let ignored = build("ignored", "ignore");
            assert_eq!(ignored["artifacts"][0].get("source"), None);

            let said = json(&store, &["inspect", "--referrers", &name]);
            let referrers = said["referrers"].as_array().unwrap();
            assert_eq!(referrers.len(), found, "{said:#}");
            assert!(referrers.iter().any(|r| r["digest"] == published["digest"]
                && r["artifactType"].is_null()
                && r["artifact_type"] == published["form"]));
        }
        // With other options it is another filesystem.
        let path = tmp.path().join("other");
        let path = path.to_str().unwrap();
        let args = ["build", &name, "-f", format, "-o", path, "--compress"];
        let args = [&args[..], &["zstd:1", "--artifacts", "use"]].concat();
        let other = json(&store, &args);
        assert_eq!(other["artifacts"][0].get("source"), None);
    }
    let tags = run::text(run::command("skopeo").args([
        "list-tags",
        "--tls-verify=false",
        &format!("docker://{address}/team/app"),
    ]));
    assert_eq!(tags.contains("sha256-"), tag_list, "{tags}");
    assert_eq!(json(&store, &["inspect", &name]).get("referrers"), None);
}

#[test]
fn artifacts_of_docker_registry() {
    if tools() {
        round(Real::start().address(), true);
    }
}

#[test]
fn artifacts_of_a_registry_that_lists_referrers() {
    if tools() {
        round(&Faulty::start().address(), false);
    }
}

/// A registry with an image and its squashfs artifact; what was pushed.
fn published(store: &Path, dir: &Path) -> (Faulty, String, Value) {
    let registry = Faulty::start();
    let name = format!("docker://{}/team/app:v1", registry.address());
    json(store, &["push", &sample(dir), &name]);
    let pushed = json(
        store,
        &["push", "--as", "squashfs", "--verity", &name, &name],
    );
    let published = pushed["manifests"].as_array().unwrap().last().unwrap();
    (registry, name, published.clone())
}

fn use_command(store: &Path, name: &str, output: &Path) -> Command {
    let mut command = lithify_at(store);
    command.args(["-q", "build", name, "-f", "squashfs", "--verity"]);
    command
        .args(["--artifacts", "use", "--retries", "0", "-o"])
        .arg(output);
    command
}

#[test]
fn damaged_artifacts_are_refused_and_nothing_is_written() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let (registry, name, published) = published(&store, tmp.path());
    let out = tmp.path().join("out");
    fs::create_dir(&out).unwrap();
    run::ok(&mut use_command(&store, &name, &out.join("x")));
    assert_eq!(names(&out), ["x", "x.dmverity"]);
    for name in names(&out) {
        fs::remove_file(out.join(name)).unwrap();
    }
    let refused = |what: &str| {
        let (code, error) = fails(&mut use_command(&store, &name, &out.join("x")));
        assert_eq!(code, 3, "{what}: {error}");
        assert!(names(&out).is_empty(), "{what}: {:?}", names(&out));
    };
    let blob = published["layers"][0]["digest"].as_str().unwrap();
    let sidecar = published["layers"][1]["digest"].as_str().unwrap();
    for (what, part) in [("the image", blob), ("the root hash", sidecar)] {
        let rule = registry.rule(
            On::kind(Kind::Blob).method("GET").path(part),
            Action::FlipBit(5),
        );
        refused(what);
        assert!(rule.count() > 0);
        registry.clear_rules();
    }
    // An artifact that is what its digests say, but no sound filesystem.
    let manifest = published["digest"].as_str().unwrap();
    let (kind, bytes) = registry.manifest("team/app", manifest).unwrap();
    let original: Value = serde_json::from_slice(&bytes).unwrap();
    let mut image = registry.blob("team/app", blob).unwrap();
    // The place of the table of inodes (squashfs superblock, offset 64).
    image[64..72].fill(0xee);
    for (what, image) in [
        ("superblock", image),
        ("garbage", b"hsqs garbage".repeat(4000)),
    ] {
        let mut forged = original.clone();
        forged["layers"][0]["size"] = image.len().into();
        forged["layers"][0]["digest"] = registry.add_blob("team/app", image).into();
        let digest = registry.add_manifest("team/app", None, &kind, forged.to_string());
        // It is the only one that is listed.
        let entry = serde_json::json!({
            "mediaType": kind, "digest": digest, "size": forged.to_string().len(),
            "artifactType": original["artifactType"],
        });
        let index = "application/vnd.oci.image.index.v1+json";
        let list =
            serde_json::json!({"schemaVersion": 2, "mediaType": index, "manifests": [entry]});
        let answer = lithify_testkit::registry::Answer::status(200)
            .header("Content-Type", index)
            .body(list.to_string());
        registry.rule(On::kind(Kind::Referrers), Action::Answer(answer));
        refused(what);
        registry.clear_rules();
    }
}

#[test]
fn what_is_listed_but_of_another_image_is_passed_over() {
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let (registry, name, published) = published(&store, tmp.path());
    let manifest = published["digest"].as_str().unwrap();
    let (kind, bytes) = registry.manifest("team/app", manifest).unwrap();
    let mut other: Value = serde_json::from_slice(&bytes).unwrap();
    other["subject"]["digest"] = digest(b"another").into();
    let other = registry.add_manifest("team/app", None, &kind, other.to_string());
    let (_, bytes) = registry.manifest("team/app", &other).unwrap();
    let index = "application/vnd.oci.image.index.v1+json";
    let list = serde_json::json!({"schemaVersion": 2, "mediaType": index, "manifests": [{
        "mediaType": kind, "digest": other, "size": bytes.len(),
        "artifactType": "application/vnd.lithify.squashfs.v1",
    }]});
    let answer = lithify_testkit::registry::Answer::status(200)
        .header("Content-Type", index)
        .body(list.to_string());
    registry.rule(On::kind(Kind::Referrers), Action::Answer(answer));
    let out = tmp.path().join("x");
    let mut command = use_command(&store, &name, &out);
    let said: Value = serde_json::from_slice(&run::ok(command.arg("--json"))).unwrap();
    assert_eq!(said["artifacts"][0].get("source"), None);
    // Nor is it copied.
    let layout = format!("oci:{}:v1", tmp.path().join("copy").display());
    let copied = json(&store, &["copy", "--referrers", &name, &layout]);
    assert_eq!(copied.get("referrers"), None);
}

#[test]
fn artifacts_are_copied_with_their_image() {
    if !tools() {
        return;
    }
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let (_registry, first, published) = published(&store, tmp.path());
    let before = raw(&first);
    let layout_dir = tmp.path().join("layout");
    let layout = format!("oci:{}:v1", layout_dir.display());
    let (api, old) = (Faulty::start(), Real::start());
    let second = format!("docker://{}/copy/app:v2", api.address());
    let third = format!("docker://{}/copy/app:v3", old.address());
    let in_store = "store:registry.example.com/copy/app:v4";
    let places = [&first, &layout, &second, &third, in_store];
    for pair in places.windows(2) {
        let [from, to] = pair else { unreachable!() };
        // Without being asked for, it stays where it is.
        let plain = format!("oci:{}:v1", tmp.path().join("plain").display());
        json(&store, &["copy", from, &plain]);
        let alone = json(&store, &["inspect", "--referrers", &plain]);
        assert_eq!(alone["referrers"].as_array().unwrap().len(), 0);
        fs::remove_dir_all(tmp.path().join("plain")).unwrap();

        let copied = json(&store, &["copy", "--referrers", from, to]);
        assert_eq!(copied["referrers"][0], published["digest"], "{from} {to}");
        let said = json(&store, &["inspect", "--referrers", to]);
        assert_eq!(said["referrers"][0]["digest"], published["digest"], "{to}");
        // In a layout of one image, artifacts do not count.
        if *to == layout {
            let untagged = layout.strip_suffix(":v1").unwrap();
            let said = json(&store, &["inspect", untagged]);
            assert_eq!(said["manifest_digest"], copied["digest"]);
        }
        let out = tmp.path().join("out");
        let mut command = lithify_at(&store);
        command.args(["-q", "build", to, "-f", "squashfs", "--verity", "--json"]);
        command.args(["--artifacts", "require", "-o"]).arg(&out);
        let built: Value = serde_json::from_slice(&run::ok(&mut command)).unwrap();
        let blob = published["layers"][0]["digest"].as_str().unwrap();
        assert_eq!(digest(&fs::read(&out).unwrap()), blob);
        assert_eq!(built["reused"], 1);
    }
    // What refers to an image has no place in an archive for Docker.
    let saved = tmp.path().join("saved.tar");
    let archive = format!("docker-archive:{}", saved.display());
    let mut command = lithify_at(&store);
    let (code, error) = fails(command.args(["-q", "copy", "--referrers", &layout, &archive]));
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("leave --referrers away"), "{error}");
    assert!(!saved.exists());
    for name in [&layout, &second, &third] {
        assert_eq!(raw(name), before, "{name}");
    }
    // The store keeps it as long as its subject.
    let gc = |kept: bool| {
        run::ok(lithify_at(&store).args(["-q", "gc"]));
        assert_undamaged(&store);
        let blob = published["layers"][0]["digest"].as_str().unwrap();
        let path = store.join("blobs").join(blob.replace(':', "/"));
        assert_eq!(path.exists(), kept, "{}", path.display());
    };
    gc(true);
    let images = json(&store, &["images"]);
    assert!(
        !images
            .to_string()
            .contains(published["digest"].as_str().unwrap())
    );
    let in_layout = in_store.trim_start_matches("store:");
    assert_eq!(raw(&format!("oci:{}:{in_layout}", store.display())), before);
    run::ok(lithify_at(&store).args(["-q", "rm", in_store]));
    gc(false);
    let index: Value =
        serde_json::from_slice(&fs::read(store.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 0, "{index:#}");
    // Pulled with the image it is there again.
    let pull = |extra: &[&str]| {
        let mut command = lithify_at(&store);
        let name = third.strip_prefix("docker://").unwrap();
        command.args(["-q", "pull", "--json", name]);
        let said: Value = serde_json::from_slice(&run::ok(command.args(extra))).unwrap();
        said
    };
    assert_eq!(pull(&[]).get("referrers"), None);
    gc(false);
    assert_eq!(pull(&["--referrers"])["referrers"][0], published["digest"]);
    gc(true);
}

#[test]
fn native_layers_of_a_registry_are_used_unasked() {
    if !require::tool("docker-registry") {
        return;
    }
    let tmp = temp_dir();
    let store = tmp.path().join("store");
    let registry = Real::start();
    let name = format!("docker://{}/team/app:v1", registry.address());
    json(
        &store,
        &["push", "--as", "erofs", &sample(tmp.path()), &name],
    );
    // Another machine: nothing in its store.
    let other = tmp.path().join("other");
    let out = tmp.path().join("out");
    let out = out.to_str().unwrap();
    let args = [
        "build",
        &name,
        "-f",
        "erofs-layers",
        "--no-fsync",
        "-o",
        out,
    ];
    let built = json(&other, &args);
    let layers = built["layers"].as_array().unwrap();
    for layer in layers {
        assert_eq!(layer["media_type"], "application/vnd.erofs.layer.v1");
        let is_as_is = |a: &&Value| {
            let sha256 = a["sha256"].as_str().map(|s| format!("sha256:{s}"));
            sha256.as_deref() == layer["diff_id"].as_str()
        };
        let artifacts = built["artifacts"].as_array().unwrap();
        assert!(artifacts.iter().any(|a| is_as_is(&a)), "{built:#}");
    }
}

/// Looking whether something is there saves work, and is not needed for more.
#[test]
fn a_registry_that_does_not_say_what_it_has_takes_images() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let store = dir.join("store");
    let source = sample(dir);
    for status in [400, 401, 403, 405, 410, 501] {
        let registry = Faulty::start();
        let head = On::kind(Kind::Blob).method("HEAD");
        let refused = lithify_testkit::registry::Answer::status(status);
        registry.rule(head, Action::Answer(refused));
        let name = |tag| format!("docker://{}/team/app:{tag}", registry.address());
        json(&store, &["copy", &source, &name("copied")]);
        for form in ["erofs", "squashfs"] {
            json(&store, &["push", "--as", form, &source, &name(form)]);
        }
        // The tag of an artifact leads to the image it is of.
        let tags = registry.tags("team/app");
        assert_eq!(tags, ["copied", "erofs", "squashfs"], "{status}");
    }
}

/// A list of referrers that cannot be had keeps the rest from nothing.
#[test]
fn a_registry_that_lists_no_referrers_gives_and_takes_the_rest() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let store = dir.join("store");
    for status in [401, 403, 406] {
        let registry = Faulty::start();
        let name = format!("docker://{}/team/app:v1", registry.address());
        let pushed = json(&store, &["push", &sample(dir), &name]);
        registry.set_referrers(false);
        let digest = pushed["digest"].as_str().unwrap().replace(':', "-");
        let tags = On::kind(Kind::Manifest).path(&digest);
        let refused = lithify_testkit::registry::Answer::status(status);
        registry.rule(tags, Action::Answer(refused));
        let layout = format!("oci:{}:v{status}", dir.join("layout").display());
        let bare = name.strip_prefix("docker://").unwrap();
        for args in [
            &["inspect", "--referrers", &name][..],
            &["copy", "--referrers", &name, &layout],
            &["pull", "--referrers", bare],
        ] {
            let said = json(&store, args);
            assert!(
                !said["referrers_unlisted"].as_array().unwrap().is_empty(),
                "{said}"
            );
        }
        // The artifact is there, by its digest.
        let said = json(&store, &["push", "--as", "squashfs", &sample(dir), &name]);
        let unlisted = said["referrers_unlisted"].as_array().unwrap();
        let manifests = said["manifests"].as_array().unwrap();
        let artifact = manifests.last().unwrap()["digest"].as_str().unwrap();
        assert!(unlisted[0].as_str().unwrap().contains(artifact), "{said}");
        assert!(registry.manifest("team/app", artifact).is_some());
        let out = dir.join(format!("made-{status}"));
        let mut command = lithify_at(&store);
        command.args(["-q", "build", &name, "-f", "squashfs"]);
        command.args(["--artifacts", "use", "-o"]).arg(&out);
        run::ok(&mut command);
    }
}

/// A listed referrer that is not there is not left out in silence.
#[test]
fn a_referrer_that_is_listed_and_gone_is_told() {
    let tmp = temp_dir();
    let dir = tmp.path();
    let store = dir.join("store");
    let registry = Faulty::start();
    let name = format!("docker://{}/team/app:v1", registry.address());
    json(&store, &["push", &sample(dir), &name]);
    let said = json(&store, &["push", "--as", "squashfs", &sample(dir), &name]);
    let manifests = said["manifests"].as_array().unwrap();
    let artifact = manifests.last().unwrap()["digest"].as_str().unwrap();
    let gone = lithify_testkit::registry::Answer::error(404, "MANIFEST_UNKNOWN", "unknown");
    let on = On::kind(Kind::Manifest).method("GET").path(artifact);
    registry.rule(on, Action::Answer(gone));
    let layout = format!("oci:{}:v1", dir.join("layout").display());
    let bare = name.strip_prefix("docker://").unwrap();
    for args in [
        &["copy", "--referrers", &name, &layout][..],
        &["pull", "--referrers", bare],
    ] {
        let said = json(&store, args);
        let unlisted = said["referrers_unlisted"].as_array().unwrap();
        assert_eq!(unlisted.len(), 1, "{said}");
        assert!(unlisted[0].as_str().unwrap().contains(artifact), "{said}");
    }
}
