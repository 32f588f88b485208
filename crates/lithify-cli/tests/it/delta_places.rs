//! Names of deltas: beside the new image, or their own.

use std::fs;

use lithify_testkit::registry::Faulty;
use lithify_testkit::run;
use serde_json::Value;

use crate::common::deltas::Images;
use crate::common::stderr;

const TYPE: &str = "application/vnd.io.github.containers.oci-delta.v1";

fn index(images: &Images, layout: &str) -> Vec<Value> {
    let bytes = fs::read(images.path(layout).join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

/// Creates the delta, which must fail; nothing is changed at the place.
#[track_caller]
fn refused(images: &Images, destination: &str, code: i32, word: &str) {
    let before = images.path("images/index.json");
    let before = fs::read(&before).unwrap();
    let (old, new) = (images.image("1"), images.image("2"));
    let output = run::output(images.place.lithify().args([
        "-q",
        "delta",
        "create",
        &old,
        &new,
        "-o",
        destination,
    ]));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(word), "{said}");
    assert!(fs::read(images.path("images/index.json")).unwrap() == before);
}

#[test]
fn a_delta_is_beside_its_image_in_a_layout() {
    let images = Images::new();
    let (old, new) = (images.image("1"), images.image("2"));
    let before = index(&images, "images");
    let said = images.json(&["delta", "create", &old, &new, "-o", &new]);
    let after = index(&images, "images");
    assert_eq!(after.len(), before.len() + 1);
    let digest = &said["digest"];
    let entry = after
        .iter()
        .find(|entry| entry["digest"] == *digest)
        .unwrap();
    assert_eq!(entry["artifactType"], TYPE);
    assert_eq!(entry.get("annotations"), None, "it has no name");
    assert_eq!(images.manifest("images", "2"), said["images"][0]["target"]);
    // It is found as what refers to the image, and by its digest.
    let described = images.json(&["inspect", "--referrers", &new]);
    assert!(
        described.to_string().contains(digest.as_str().unwrap()),
        "{described}"
    );
    let by_digest = format!(
        "oci:{}@{}",
        images.place.text("images"),
        digest.as_str().unwrap()
    );
    assert_eq!(
        images.json(&["delta", "inspect", &by_digest])["digest"],
        *digest
    );
    // It is meant by the image's name, where no other is.
    assert_eq!(images.json(&["delta", "inspect", &new])["digest"], *digest);
    // Again: nothing is there twice.
    images.ok(&["delta", "create", &old, &new, "-o", &new]);
    assert_eq!(index(&images, "images"), after);
    // A name of its own, which another delta may take, and an image not.
    let own = images.image("1-2");
    images.ok(&["delta", "create", &new, &new, "-o", &own]);
    let entries = index(&images, "images");
    assert_eq!(entries.len(), after.len() + 1, "it has one entry");
    assert_ne!(images.manifest("images", "1-2"), digest.as_str().unwrap());
    let several = run::output(
        images
            .place
            .lithify()
            .args(["-q", "delta", "inspect", &new]),
    );
    assert_eq!(several.status.code(), Some(2), "{}", stderr(&several));
    assert!(stderr(&several).contains(digest.as_str().unwrap()));
    images.ok(&["delta", "create", &new, &old, "-o", &own]);
    refused(&images, &old, 1, "another image");
    for place in [
        "store:localhost/delta:1",
        "docker-archive:x.tar:a:b",
        "composefs:x:y",
    ] {
        refused(&images, place, 2, "docker://NAME:TAG");
    }
    refused(&images, &images.place.text("file"), 2, "file");
}

#[test]
fn a_delta_is_beside_its_image_in_a_registry() {
    let images = Images::new();
    let registry = Faulty::start();
    let name = |tag: &str| format!("docker://{}/app:{tag}", registry.address());
    let (old, new) = (images.image("1"), images.image("2"));
    images.ok(&["copy", &new, &name("2")]);
    images.ok(&["copy", &old, &name("1")]);
    let said = images.json(&["delta", "create", &name("1"), &name("2"), "-o", &name("2")]);
    let digest = said["digest"].as_str().unwrap();
    let described = images.json(&["inspect", "--referrers", &name("2")]);
    assert!(described.to_string().contains(digest), "{described}");
    // The tag still is the image's.
    assert_eq!(described["manifest_digest"], images.manifest("images", "2"));
    // From the wire, both sides.
    let delta = format!("docker://{}/app@{digest}", registry.address());
    let out = format!("oci:{}:2", images.place.text("out"));
    run::ok(&mut images.applying(&delta, &name("1"), &["--exact", "-o", &out]));
    assert_eq!(images.manifest("out", "2"), images.manifest("images", "2"));
    // A tag of its own.
    images.ok(&["delta", "create", &old, &new, "-o", &name("1-2")]);
    assert_eq!(
        images.json(&["delta", "inspect", &name("1-2")])["target"],
        said["images"][0]["target"]
    );
    refused(&images, &name("1"), 1, "another image");
    let untagged = format!("docker://{}/other", registry.address());
    refused(&images, &untagged, 2, "needs a tag");
    // An image that none refers to, and a delta, which is no image.
    run::ok(&mut images.applying(&name("2"), &old, &["-o", &out]));
    let output = run::output(&mut images.applying(&name("1"), &old, &["-o", &out]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no delta"), "{}", stderr(&output));
    let output =
        run::output(
            images
                .place
                .lithify()
                .args(["-q", "build", &name("1-2"), "-o", "x.erofs"]),
        );
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("oci-delta"), "{}", stderr(&output));
}

/// A directory that was no layout before has none after something fails.
#[test]
fn what_fails_leaves_no_delta() {
    let images = Images::new();
    let archive = format!("oci-archive:{}", images.place.text("d.delta"));
    let layout = format!("oci:{}:d", images.place.text("d"));
    let tree = format!("rootfs:{}", images.place.text("images"));
    let (old, new) = (images.image("1"), images.image("2"));
    for out in [&archive, &layout] {
        for (old, new, word) in [
            (&tree, &new, "no manifest"),
            (&old, &tree, "no manifest"),
            (&old, &images.image("3"), "3"),
        ] {
            let output = run::output(
                images
                    .place
                    .lithify()
                    .args(["-q", "delta", "create", old, new, "-o", out]),
            );
            assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
            assert!(stderr(&output).contains(word), "{}", stderr(&output));
        }
    }
    assert!(!images.path("d.delta").exists() && !images.path("d").exists());
    // A layer of the new image that is damaged.
    let manifest = images.manifest("images", "2");
    let path = crate::common::deltas::blob(&images.path("images"), &manifest);
    let parsed: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let layer = parsed["layers"][1]["digest"].as_str().unwrap();
    let path = crate::common::deltas::blob(&images.path("images"), layer);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    for out in [&archive, &layout] {
        let output = run::output(
            images
                .place
                .lithify()
                .args(["-q", "delta", "create", &old, &new, "-o", out]),
        );
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert!(stderr(&output).contains(layer), "{}", stderr(&output));
    }
    assert!(!images.path("d.delta").exists());
    assert!(!images.path("d").exists() || index(&images, "d") == Vec::<Value>::new());
}
