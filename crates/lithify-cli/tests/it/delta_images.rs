//! Deltas of images: created and inspected.

use std::fs;

use lithify_testkit::{Layout, TarEntry, digest, run};
use serde_json::{Value, json};

use crate::common::deltas::{Images, blob, entry, new, old, read_manifest, shared};
use crate::common::{layer, names, stderr};

/// Sizes, digests and annotations of what is created, which others read.
#[test]
fn a_delta_is_an_artifact_whose_subject_is_the_new_image() {
    let images = Images::foreign();
    images.delta(&[]);
    let layout = images.path("delta");
    let manifest = read_manifest(&layout);
    let (old, new) = (
        images.manifest("images", "1"),
        images.manifest("images", "2"),
    );
    let document = |digest: &Value| -> Value {
        let path = blob(&images.path("images"), digest.as_str().unwrap());
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let target = document(&json!(new));
    let source = document(&json!(old));
    assert_eq!(manifest["schemaVersion"], 2);
    assert_eq!(
        manifest["artifactType"],
        "application/vnd.io.github.containers.oci-delta.v1"
    );
    assert_eq!(
        manifest["config"],
        json!({
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        })
    );
    let size = fs::read(blob(&images.path("images"), &new)).unwrap().len();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    assert_eq!(
        manifest["subject"],
        json!({ "mediaType": media_type, "digest": new, "size": size })
    );
    let shared_layer = &target["layers"][0]["digest"];
    let key = |name: &str| format!("io.github.containers.delta.{name}");
    let list = |value: &str| json!([value]).to_string();
    assert_eq!(
        manifest["annotations"],
        json!({
            key("target"): new,
            key("source"): old,
            key("source-config"): source["config"]["digest"],
            key("reused"): list(shared_layer.as_str().unwrap()),
            key("reused-diff-id"): list(&digest(&shared())),
        })
    );
    let layers = manifest["layers"].as_array().unwrap();
    let contents = layers
        .iter()
        .map(|l| l["annotations"][key("content")].as_str().unwrap());
    assert_eq!(
        contents.collect::<Vec<_>>(),
        [
            "image-manifest",
            "image-config",
            "image-layer",
            "image-layer"
        ]
    );
    assert_eq!(layers[0]["digest"], new);
    assert_eq!(layers[1]["digest"], target["config"]["digest"]);
    let [changed, _] = crate::common::deltas::new();
    assert_eq!(layers[2]["mediaType"], "application/vnd.tar-diff");
    assert_eq!(
        layers[2]["annotations"][key("to")],
        target["layers"][1]["digest"]
    );
    assert_eq!(
        layers[2]["annotations"]["dev.lithify.delta.tar-size"],
        changed.len().to_string()
    );
    // Noise of 5,000 bytes: a delta of it is not smaller.
    for field in ["mediaType", "digest", "size"] {
        assert_eq!(layers[3][field], target["layers"][2][field], "{field}");
    }
    assert_eq!(
        layers[3]["annotations"][key("to")],
        target["layers"][2]["digest"]
    );
    // Others take the only entry, in a layout as in an archive.
    let index = |bytes: &[u8]| -> usize {
        let index: Value = serde_json::from_slice(bytes).unwrap();
        index["manifests"].as_array().unwrap().len()
    };
    assert_eq!(index(&fs::read(layout.join("index.json")).unwrap()), 1);
    let archive = images.place.text("delta.tar");
    let (old, new) = (images.image("1"), images.image("2"));
    images.ok(&[
        "delta",
        "create",
        &old,
        &new,
        "-o",
        &format!("oci-archive:{archive}"),
    ]);
    assert_eq!(
        index(&run::ok(run::command("tar").args([
            "xOf",
            &archive,
            "index.json"
        ]))),
        1
    );
    // Nothing else is in there.
    let blobs = names(&layout.join("blobs/sha256"));
    assert_eq!(blobs.len(), 6, "{blobs:?}");
}

#[test]
fn a_delta_says_what_it_saves() {
    let images = Images::foreign();
    let delta = images.delta(&[]);
    let described = images.json(&["delta", "inspect", &delta]);
    let origins = described["layers"].as_array().unwrap().iter();
    let origins: Vec<_> = origins.map(|l| l["origin"].as_str().unwrap()).collect();
    assert_eq!(origins, ["reused", "patched", "whole"]);
    let number = |name: &str| described[name].as_u64().unwrap();
    let layers: u64 = described["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["size"].as_u64().unwrap())
        .sum();
    assert_eq!(number("target_bytes"), layers);
    assert_eq!(
        number("changed_bytes"),
        layers - described["layers"][0]["size"].as_u64().unwrap()
    );
    let files = names(&images.path("delta/blobs/sha256"));
    let path = |name: &String| images.path("delta/blobs/sha256").join(name);
    let there: u64 = files
        .iter()
        .map(|name| fs::metadata(path(name)).unwrap().len())
        .sum();
    // All but the two bytes of the empty configuration.
    assert_eq!(number("delta_bytes"), there - 2);
    assert_eq!(described["exact"], false);
    assert_eq!(
        described["digest"],
        entry(&images.path("delta"), "delta")["digest"]
    );
    let text = images.ok(&["delta", "inspect", &delta]);
    assert!(
        text.contains("in the old image") && text.contains("to be compressed again"),
        "{text}"
    );
}

/// The same inputs are the same artifact, whatever the threads.
#[test]
fn deltas_are_reproducible() {
    let images = Images::foreign();
    let mut digests = Vec::new();
    for more in [&["-j", "1"][..], &["-j", "2"], &["-j", "7", "--no-fsync"]] {
        images.delta(more);
        digests.push(entry(&images.path("delta"), "delta")["digest"].clone());
        fs::remove_dir_all(images.path("delta")).unwrap();
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

/// oci-delta calls targets of Docker's by the type of the OCI; the crate `oci-delta` knows no layers of Docker's types.
#[test]
fn images_of_docker_are_taken() {
    let images = Images::foreign();
    let directory = images.path("images");
    for tag in ["1", "2"] {
        let digest = images.manifest("images", tag);
        let mut manifest: Value =
            serde_json::from_slice(&fs::read(blob(&directory, &digest)).unwrap()).unwrap();
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        manifest["mediaType"] = json!(docker);
        manifest["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
        for layer in manifest["layers"].as_array_mut().unwrap() {
            layer["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
        }
        let bytes = manifest.to_string();
        let new = crate::common::deltas::write_blob(&directory, bytes.as_bytes());
        let path = directory.join("index.json");
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for entry in index["manifests"].as_array_mut().unwrap() {
            if entry["digest"] == digest.as_str() {
                entry["digest"] = json!(new);
                entry["size"] = json!(bytes.len());
                entry["mediaType"] = json!(docker);
            }
        }
        fs::write(&path, index.to_string()).unwrap();
    }
    let delta = images.delta(&[]);
    let layout = images.path("delta");
    let mut manifest = read_manifest(&layout);
    let types = manifest["layers"].as_array().unwrap()[2..].iter();
    let types: Vec<_> = types.map(|l| l["mediaType"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "application/vnd.tar-diff",
            "application/vnd.oci.image.layer.v1.tar+gzip"
        ]
    );
    let expected = images.erofs("2");
    let out = images.place.text("out.erofs");
    run::ok(&mut images.applying(&delta, &images.image("1"), &["-o", &out]));
    assert!(fs::read(&out).unwrap() == expected);
    // As oci-delta writes it.
    manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
    manifest["layers"][1]["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    crate::common::deltas::write_manifest(&layout, &manifest);
    run::ok(&mut images.applying(&delta, &images.image("1"), &["-o", &out]));
    assert!(fs::read(&out).unwrap() == expected);
    let place = format!("oci:{}:2", images.place.text("out"));
    run::ok(&mut images.applying(&delta, &images.image("1"), &["-o", &place]));
    images.ok(&["verify", &place]);
}

#[test]
fn images_that_are_the_same_have_nothing_different() {
    let images = Images::foreign();
    images.put("2", &[shared(), old()]);
    let delta = images.delta(&[]);
    let described = images.json(&["delta", "inspect", &delta]);
    assert_eq!(described["changed_bytes"], 0);
    let out = format!("oci:{}:2", images.place.text("out"));
    run::ok(&mut images.applying(&delta, &images.image("1"), &["--exact", "-o", &out]));
    // An image without layers, both ways.
    images.put("1", &[]);
    fs::remove_dir_all(images.path("delta")).unwrap();
    let delta = images.delta(&[]);
    let out = images.place.text("out.erofs");
    run::ok(&mut images.applying(&delta, &images.image("1"), &["-o", &out]));
    images.put("1", &[shared()]);
    images.put("2", &[]);
    fs::remove_dir_all(images.path("delta")).unwrap();
    let delta = images.delta(&[]);
    let out = format!("oci:{}:none", images.place.text("out"));
    run::ok(&mut images.applying(&delta, &images.image("1"), &["--exact", "-o", &out]));
}

#[test]
fn an_index_has_a_delta_for_each_platform() {
    let images = Images::foreign();
    for (tag, layers) in [
        ("1", vec![shared(), old()]),
        ("2", vec![shared(), new()[0].clone()]),
    ] {
        for architecture in ["amd64", "arm64"] {
            let layout = layers
                .iter()
                .fold(Layout::new(), |l, tar| l.gzip_layer(tar));
            let own = layer([TarEntry::file("usr/arch", architecture)]);
            let layout = layout
                .gzip_layer(&own)
                .image_config("architecture", json!(architecture));
            images.put_layout(&format!("{tag}-{architecture}"), &layout);
        }
        let directory = images.path("images");
        let entries: Vec<Value> = ["amd64", "arm64"]
            .iter()
            .map(|architecture| {
                let mut entry = entry(&directory, &format!("{tag}-{architecture}"));
                entry["annotations"] = json!({});
                entry["platform"] = json!({ "os": "linux", "architecture": architecture });
                entry
            })
            .collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries,
        });
        let bytes = index.to_string();
        let digest = crate::common::deltas::write_blob(&directory, bytes.as_bytes());
        let path = directory.join("index.json");
        let mut list: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        list["manifests"].as_array_mut().unwrap().push(json!({
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "digest": digest,
            "size": bytes.len(),
            "annotations": { "org.opencontainers.image.ref.name": format!("{tag}-all") },
        }));
        fs::write(&path, list.to_string()).unwrap();
    }
    let delta = format!("oci:{}:all", images.place.text("all"));
    let (old, new) = (images.image("1-all"), images.image("2-all"));
    let said = images.json(&[
        "delta",
        "create",
        &old,
        &new,
        "--all-platforms",
        "-o",
        &delta,
    ]);
    assert_eq!(said["images"].as_array().unwrap().len(), 2);
    let listed = fs::read(images.path("all/index.json")).unwrap();
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 1);
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        let described = images.json(&["delta", "inspect", &delta, "--platform", &platform]);
        let found = described["platform"].as_str().unwrap();
        assert!(found.starts_with(&platform), "{found}");
        let out = format!("oci:{}:{architecture}", images.place.text("out"));
        let args = [
            "delta",
            "apply",
            &delta,
            "--base",
            &old,
            "--platform",
            &platform,
            "-o",
            &out,
        ];
        images.ok(&args);
        let cat = images.ok(&["cat", &out, "/usr/arch", "--platform", &platform]);
        assert_eq!(cat, architecture);
    }
    let output = run::output(images.place.lithify().args([
        "-q",
        "delta",
        "inspect",
        &delta,
        "--platform",
        "linux/riscv64",
    ]));
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("linux/amd64, linux/arm64"), "{said}");
}
