//! Deltas of images that lie.

use std::fs;

use lithify_testkit::{digest, run};
use serde_json::{Value, json};

use crate::common::deltas::{Images, blob, new, noise, read_manifest, write_blob, write_manifest};
use crate::common::{names, stderr};

/// What says that a layer is no tar-diff.
const WHOLE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn key(name: &str) -> String {
    format!("io.github.containers.delta.{name}")
}

/// Applies the delta in every way; it must fail with a code, and name what is wrong. Nothing is left.
#[track_caller]
fn refused(images: &Images, base: &str, code: i32, words: &[&str]) {
    let delta = format!("oci:{}:delta", images.place.text("delta"));
    let layout = format!("oci:{}:2", images.place.text("out"));
    let file = images.place.text("out.erofs");
    for out in [&layout, &file] {
        let output = run::output(&mut images.applying(&delta, base, &["-o", out]));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "no `{word}` in: {said}");
        }
    }
    assert!(!images.path("out.erofs").exists());
    let left = match images.path("out").exists() {
        true => names(&images.path("out")),
        false => Vec::new(),
    };
    assert_eq!(left, Vec::<String>::new());
}

/// Digests are names of files: those that are none are refused before.
#[test]
fn manifests_that_lie_are_refused() {
    let images = Images::foreign();
    images.delta(&[]);
    let layout = images.path("delta");
    let good = read_manifest(&layout);
    let other = digest(b"other");
    let bad = "sha256:../../../etc/passwd";
    let case = |change: &dyn Fn(&mut Value), code: i32, words: &[&str]| {
        let mut manifest = good.clone();
        change(&mut manifest);
        write_manifest(&layout, &manifest);
        refused(&images, &images.image("1"), code, words);
    };
    case(
        &|m| m["artifactType"] = json!("application/vnd.example"),
        1,
        &["no delta", "vnd.example"],
    );
    case(
        &|m| drop(m.as_object_mut().unwrap().remove("artifactType")),
        1,
        &["no delta"],
    );
    let annotated = |name: &str, value: &str, code: i32, words: &[&str]| {
        case(&|m| m["annotations"][key(name)] = json!(value), code, words);
    };
    annotated("target", &other, 3, &["image-manifest", &other]);
    for name in [
        "target",
        "source-config",
        "source",
        "reused",
        "reused-diff-id",
    ] {
        let list = json!([bad]).to_string();
        let value = if name.starts_with("reused") {
            &*list
        } else {
            bad
        };
        annotated(name, value, 3, &[name]);
    }
    annotated("source-config", "", 3, &["source-config"]);
    annotated("reused", "{}", 3, &["reused", "JSON"]);
    annotated("reused", "[1]", 3, &["reused", "JSON"]);
    annotated("reused", "[]", 3, &["0 layers as reused"]);
    annotated("reused", "null", 3, &["0 layers as reused"]);
    annotated(
        "reused",
        &json!([other]).to_string(),
        3,
        &[&other, "does not have"],
    );
    annotated(
        "reused-diff-id",
        &json!([other]).to_string(),
        3,
        &[&other, "diff_id"],
    );
    case(
        &|m| {
            drop(
                m["annotations"]
                    .as_object_mut()
                    .unwrap()
                    .remove(&key("target")),
            )
        },
        3,
        &["target"],
    );
    // The manifest, the configuration, a tar-diff and a layer as it is.
    let removed = |index: usize, words: &[&str]| {
        case(
            &|m| drop(m["layers"].as_array_mut().unwrap().remove(index)),
            3,
            words,
        );
    };
    removed(0, &["0 entries `image-manifest`"]);
    removed(1, &["0 entries `image-config`"]);
    removed(2, &["says nothing of the layer"]);
    let twice = |index: usize, words: &[&str]| {
        case(
            &|m| {
                let entry = m["layers"][index].clone();
                m["layers"].as_array_mut().unwrap().push(entry);
            },
            3,
            words,
        );
    };
    twice(0, &["2 entries `image-manifest`"]);
    twice(1, &["2 entries `image-config`"]);
    // What is said twice is said once; but not by two blobs.
    case(
        &|m| {
            let mut entry = m["layers"][2].clone();
            entry["digest"] = json!(other);
            m["layers"].as_array_mut().unwrap().push(entry);
        },
        3,
        &["two entries for the layer"],
    );
    let layer = |index: usize, field: &str, value: &str, words: &[&str]| {
        case(
            &|m| m["layers"][index]["annotations"][field] = json!(value),
            3,
            words,
        );
    };
    layer(2, &key("to"), &other, &[&other, "does not have"]);
    layer(2, &key("to"), bad, &["delta.to"]);
    layer(2, &key("to"), "", &["delta.to"]);
    layer(3, &key("to"), &other, &[&other]);
    layer(2, "dev.lithify.delta.tar-size", "-1", &["tar-size", "-1"]);
    layer(
        2,
        &key("content"),
        "unknown",
        &["says nothing of the layer"],
    );
    case(
        &|m| m["layers"][2]["mediaType"] = json!(WHOLE),
        3,
        &["tar-diff is there as it is"],
    );
    case(
        &|m| {
            let layers = m["layers"].as_array_mut().unwrap();
            let entry = json!({ "mediaType": "text/plain", "digest": other, "size": 5 });
            layers.extend(vec![entry; 1100]);
        },
        1,
        &["1104 layers", "`layers`"],
    );
    case(
        &|m| m["layers"][0]["size"] = json!(1),
        3,
        &["is not what its descriptor says"],
    );
    // Sizes that no sum can hold.
    let mut manifest = good.clone();
    for layer in 2..4 {
        manifest["layers"][layer]["size"] = json!(i64::MAX);
    }
    write_manifest(&layout, &manifest);
    let delta = format!("oci:{}:delta", images.place.text("delta"));
    let described = images.json(&["delta", "inspect", &delta]);
    assert_eq!(described["delta_bytes"], u64::MAX);
    refused(&images, &images.image("1"), 3, &[]);
    // Entries of others are no reason to refuse it.
    let mut manifest = good.clone();
    manifest["layers"].as_array_mut().unwrap().push(json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": other,
        "size": 5,
        "annotations": { key("content"): "cosign-signature" },
    }));
    // Nor is what oci-delta does with a layer that the target has twice.
    let again = manifest["layers"][2].clone();
    manifest["layers"].as_array_mut().unwrap().push(again);
    write_manifest(&layout, &manifest);
    let out = images.place.text("out.erofs");
    run::ok(&mut images.applying(&delta, &images.image("1"), &["-o", &out]));
}

/// The target that the delta holds is an image, and the one that it names.
#[test]
fn targets_that_are_others_are_refused() {
    let images = Images::foreign();
    images.delta(&[]);
    let layout = images.path("delta");
    let good = read_manifest(&layout);
    let read = |index: usize| -> Value {
        let digest = good["layers"][index]["digest"].as_str().unwrap();
        serde_json::from_slice(&fs::read(blob(&layout, digest)).unwrap()).unwrap()
    };
    // Another document, with digests that are right.
    let case = |target: &Value, config: &Value, words: &[&str]| {
        let mut manifest = good.clone();
        let (target, config) = (target.to_string(), config.to_string());
        let (target_digest, config_digest) = (
            write_blob(&layout, target.as_bytes()),
            write_blob(&layout, config.as_bytes()),
        );
        for (index, digest, bytes) in [(0, &target_digest, &target), (1, &config_digest, &config)] {
            manifest["layers"][index]["digest"] = json!(digest);
            manifest["layers"][index]["size"] = json!(bytes.len());
        }
        manifest["annotations"][key("target")] = json!(target_digest);
        write_manifest(&layout, &manifest);
        refused(&images, &images.image("1"), 3, words);
    };
    let (target, config) = (read(0), read(1));
    let with_config = |config: &Value| {
        let mut target = target.clone();
        let bytes = config.to_string();
        target["config"]["digest"] = json!(digest(bytes.as_bytes()));
        target["config"]["size"] = json!(bytes.len());
        target
    };
    let mut other = config.clone();
    other["author"] = json!("other");
    case(&target, &other, &["image-config"]);
    let mut more = config.clone();
    more["rootfs"]["diff_ids"]
        .as_array_mut()
        .unwrap()
        .push(json!(digest(b"")));
    case(&with_config(&more), &more, &["3 layers", "4 diff ids"]);
    let mut swapped = config.clone();
    swapped["rootfs"]["diff_ids"]
        .as_array_mut()
        .unwrap()
        .swap(0, 1);
    case(&with_config(&swapped), &swapped, &["diff_id"]);
    let mut swapped = config.clone();
    swapped["rootfs"]["diff_ids"]
        .as_array_mut()
        .unwrap()
        .swap(1, 2);
    case(&with_config(&swapped), &swapped, &["diff_id"]);
    case(&json!([]), &config, &[]);
    case(
        &json!({ "schemaVersion": 2, "manifests": [] }),
        &config,
        &[],
    );
}

#[test]
fn blobs_that_are_damaged_missing_or_others_are_refused() {
    let images = Images::foreign();
    images.delta(&[]);
    let layout = images.path("delta");
    let good = read_manifest(&layout);
    let base = images.image("1");
    // The manifest, the configuration, a tar-diff and a layer as it is.
    for index in 0..4 {
        let path = blob(&layout, good["layers"][index]["digest"].as_str().unwrap());
        let bytes = fs::read(&path).unwrap();
        let mut damaged = bytes.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&path, &damaged).unwrap();
        refused(&images, &base, 3, &[]);
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        refused(&images, &base, 3, &[]);
        fs::remove_file(&path).unwrap();
        refused(&images, &base, 1, &["missing"]);
        fs::write(&path, &bytes).unwrap();
    }
    // A tar-diff of something else, with a digest that is right.
    let image = images.image("1");
    let [tar, _] = new();
    for (content, words) in [
        // Another tar.
        (noise(77, 3000), &["diff_id"][..]),
        (Vec::new(), &[]),
        (tar[..tar.len() - 1].to_vec(), &[]),
    ] {
        fs::write(images.path("other.tar"), tar_of(&content)).unwrap();
        let (tar, file) = (
            images.place.text("other.tar"),
            images.place.text("other.tardiff"),
        );
        images.ok(&["delta", "tar", "create", &image, &tar, "-o", &file]);
        let bytes = fs::read(images.path("other.tardiff")).unwrap();
        let mut manifest = good.clone();
        manifest["layers"][2]["digest"] = json!(write_blob(&layout, &bytes));
        manifest["layers"][2]["size"] = json!(bytes.len());
        write_manifest(&layout, &manifest);
        refused(&images, &base, 3, words);
    }
    // Bytes that are none at all.
    for bytes in [
        &b""[..],
        b"tardf1\n\0",
        b"tardf3\n\0garbage",
        &noise(5, 100),
    ] {
        let mut manifest = good.clone();
        manifest["layers"][2]["digest"] = json!(write_blob(&layout, bytes));
        manifest["layers"][2]["size"] = json!(bytes.len());
        write_manifest(&layout, &manifest);
        let delta = format!("oci:{}:delta", images.place.text("delta"));
        let out = images.place.text("out.erofs");
        let output = run::output(&mut images.applying(&delta, &base, &["-o", &out]));
        assert!(
            matches!(output.status.code(), Some(1 | 3)),
            "{}",
            stderr(&output)
        );
        assert!(!images.path("out.erofs").exists());
    }
}

fn tar_of(content: &[u8]) -> Vec<u8> {
    crate::common::layer([lithify_testkit::TarEntry::file("other", content)])
}

/// A hint that is wrong costs the manifest, not the truth.
#[test]
fn a_wrong_way_of_compression_is_found() {
    let images = Images::new();
    let delta = images.delta(&[]);
    let layout = images.path("delta");
    let good = read_manifest(&layout);
    let field = "dev.lithify.delta.compression";
    let said = good["layers"][2]["annotations"][field].as_str().unwrap();
    assert_eq!(said, "gzip-6;v1");
    let (base, out) = (
        images.image("1"),
        format!("oci:{}:2", images.place.text("out")),
    );
    let mut manifest = good.clone();
    manifest["layers"][2]["annotations"][field] = json!("gzip-1;v1");
    write_manifest(&layout, &manifest);
    let output = run::output(&mut images.applying(&delta, &base, &["-o", &out]));
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    // As after any copy that fails, what arrived whole is there for the next one; the image is not.
    let index = fs::read(images.path("out/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["manifests"], json!([]));
    // Nothing is compressed on the way to a filesystem.
    let file = images.place.text("out.erofs");
    run::ok(&mut images.applying(&delta, &base, &["-o", &file]));
    // A way that this version does not know.
    manifest["layers"][2]["annotations"][field] = json!("gzip-6;v999");
    write_manifest(&layout, &manifest);
    let said = images.json(&["delta", "apply", &delta, "--base", &base, "-o", &out]);
    assert_eq!(said["delta"]["exact"], false);
    // One that has the size of another: a tar-diff says how long its tar is, and nobody believes it.
    manifest["layers"][2]["annotations"]["dev.lithify.delta.tar-size"] = json!("5");
    write_manifest(&layout, &manifest);
    run::ok(&mut images.applying(&delta, &base, &["-o", &file]));
}

/// The image that is not the old one has other files, or none.
#[test]
fn another_base_is_found() {
    let images = Images::foreign();
    let delta = images.delta(&[]);
    let [changed, added] = new();
    images.put("3", &[crate::common::deltas::shared(), changed, added]);
    refused(&images, &images.image("3"), 3, &["libfoo.so.1.2"]);
    let other = images.image("nothing");
    let out = images.place.text("out.erofs");
    let output = run::output(&mut images.applying(&delta, &other, &["-o", &out]));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}
