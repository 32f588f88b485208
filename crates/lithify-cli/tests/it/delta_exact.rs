//! Compression of the layers that come out of deltas.

use std::fs;

use lithify_testkit::{Compression, Layout, TarEntry, digest, run};
use serde_json::Value;

use crate::common::deltas::{Images, blob, entry, new, noise, read_manifest};
use crate::common::{layer, names, stderr};

/// Signatures are of the manifest, and that is of compressed blobs.
#[test]
fn an_image_comes_back_byte_for_byte_where_its_compression_is_known() {
    let images = Images::new();
    let delta = images.delta(&[]);
    assert_eq!(images.json(&["delta", "inspect", &delta])["exact"], true);
    let (wanted, base) = (images.manifest("images", "2"), images.image("1"));
    let out = format!("oci:{}:2", images.place.text("out"));
    let said = images.json(&[
        "delta", "apply", &delta, "--base", &base, "--exact", "-o", &out,
    ]);
    assert_eq!(said["digest"], wanted);
    assert_eq!(said["delta"]["exact"], true);
    assert_eq!(images.manifest("out", "2"), wanted);
    // Every blob, and no other.
    let of = |tag: &str| -> Vec<String> {
        let directory = images.path("images");
        let manifest = entry(&directory, tag)["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        let parsed: Value =
            serde_json::from_slice(&fs::read(blob(&directory, &manifest)).unwrap()).unwrap();
        let mut all = vec![
            manifest,
            parsed["config"]["digest"].as_str().unwrap().to_owned(),
        ];
        let layers = parsed["layers"].as_array().unwrap();
        all.extend(
            layers
                .iter()
                .map(|l| l["digest"].as_str().unwrap().to_owned()),
        );
        all.sort();
        all
    };
    let expected: Vec<String> = of("2").iter().map(|d| d.replace("sha256:", "")).collect();
    assert_eq!(names(&images.path("out/blobs/sha256")), expected);
    for digest in of("2") {
        let read = |name: &str| fs::read(blob(&images.path(name), &digest)).unwrap();
        assert!(read("out") == read("images"), "{digest}");
    }
    // Into an archive and the store too.
    let archive = format!("oci-archive:{}:2", images.place.text("out.tar"));
    for out in [&*archive, "store:localhost/image:2"] {
        let args = [
            "delta", "apply", &delta, "--base", &base, "--exact", "-o", out,
        ];
        assert_eq!(images.json(&args)["digest"], wanted, "{out}");
        images.ok(&["verify", out]);
    }
}

/// Many builders are written in Go. The blob here was made by `compress/gzip` of Go 1.19.8, at its default level.
#[test]
fn layers_that_go_compressed_come_back_byte_for_byte() {
    let images = Images::empty();
    let blob = include_bytes!("data/go-layer.tar.gz");
    let mut tar = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&blob[..]);
    std::io::Read::read_to_end(&mut decoder, &mut tar).unwrap();
    let diff_id = digest(&tar);
    let layer_blob = lithify_testkit::Blob {
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        bytes: blob.to_vec(),
    };
    let mut older = tar.clone();
    older[5000..5010].fill(b'-');
    images.put("1", &[older]);
    images.put_layout("2", &Layout::new().blob(layer_blob, &diff_id));
    let delta = images.delta(&[]);
    let manifest = read_manifest(&images.path("delta"));
    let layer = &manifest["layers"][2];
    assert_eq!(
        layer["annotations"]["dev.lithify.delta.compression"],
        "go-gzip-6"
    );
    let out = format!("oci:{}:2", images.place.text("out"));
    run::ok(&mut images.applying(&delta, &images.image("1"), &["--exact", "-o", &out]));
    assert_eq!(images.manifest("out", "2"), images.manifest("images", "2"));
}

#[test]
fn layers_that_others_compressed_are_compressed_again() {
    let images = Images::foreign();
    let delta = images.delta(&[]);
    let (wanted, base) = (images.manifest("images", "2"), images.image("1"));
    let out = format!("oci:{}:2", images.place.text("out"));
    let mut command = images.applying(&delta, &base, &["--exact", "-o", &out]);
    let refused = run::output(&mut command);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("--exact"), "{}", stderr(&refused));
    assert!(!images.path("out").exists());
    let args = ["delta", "apply", &delta, "--base", &base, "-o", &out];
    let said = images.json(&args);
    assert_eq!(said["delta"]["exact"], false);
    assert_eq!(said["delta"]["target"], wanted);
    let digest = images.manifest("out", "2");
    assert_ne!(digest, wanted);
    // What the configuration names is the same: the image's files.
    let inspect = |name: &str| images.json(&["inspect", name]);
    let (made, original) = (inspect(&out), inspect(&images.image("2")));
    assert_eq!(made["config_digest"], original["config_digest"]);
    let diff_ids = |image: &Value| -> Vec<Value> {
        let layers = image["layers"].as_array().unwrap();
        layers.iter().map(|l| l["diff_id"].clone()).collect()
    };
    assert_eq!(diff_ids(&made), diff_ids(&original));
    images.ok(&["verify", &out]);
    // Layers that are there as they are keep their digests, and the rest is compressed the same way each time.
    assert_eq!(made["layers"][0]["digest"], original["layers"][0]["digest"]);
    assert_eq!(made["layers"][2]["digest"], original["layers"][2]["digest"]);
    let again = format!("oci:{}:2", images.place.text("again"));
    images.ok(&["delta", "apply", &delta, "--base", &base, "-o", &again]);
    assert_eq!(images.manifest("again", "2"), digest);
}

/// oci-delta (commit 9da00062) labels every layer that it has as it is as gzip, and gives those it makes again gzip blobs under the old type.
#[test]
fn layers_keep_their_compression() {
    let images = Images::foreign();
    let tars = new();
    let layout = Layout::new()
        .layer(&tars[0], Compression::None)
        .layer(&tars[1], Compression::Zstd)
        .layer(
            &layer([TarEntry::file("n", noise(9, 2000))]),
            Compression::None,
        );
    images.put_layout("2", &layout);
    let delta = images.delta(&[]);
    let manifest = read_manifest(&images.path("delta"));
    let types = manifest["layers"].as_array().unwrap()[2..].iter();
    let types: Vec<_> = types.map(|l| l["mediaType"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "application/vnd.tar-diff",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            // The headers of a tar compress.
            "application/vnd.tar-diff",
        ]
    );
    // A layer without compression is its own tar.
    let out = format!("oci:{}:2", images.place.text("out"));
    run::ok(&mut images.applying(&delta, &images.image("1"), &["--exact", "-o", &out]));
    assert_eq!(images.manifest("out", "2"), images.manifest("images", "2"));
}
