//! Deltas of images: created, inspected, and applied to everything that has the old image's files.

use std::fs;

use lithify_testkit::{Compression, Layout, TarEntry, digest, run};
use serde_json::{Value, json};

use crate::common::deltas::{Images, blob, entry, new, noise, old, read_manifest, shared};
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

/// The images of the fleet are there in many forms.
#[test]
fn everything_that_has_the_files_is_a_base() {
    let images = Images::foreign();
    // No layer is shared, so that files are enough.
    images.put("1", &[old(), shared()]);
    images.put("2", &new());
    let delta = images.delta(&[]);
    let old = images.image("1");
    let mut bases = vec![old.clone()];
    for (format, name) in [
        ("dir", "rootfs:"),
        ("tar", "tar:"),
        ("erofs", ""),
        ("squashfs", ""),
        ("ext4", "ext4:"),
        ("erofs-layers", ""),
        ("squashfs-layers", ""),
        ("composefs", "composefs:"),
    ] {
        let place = format!("base.{format}");
        let out = match format {
            "composefs" => format!("{}:image", images.place.text(&place)),
            _ => images.place.text(&place),
        };
        images.ok(&["build", &old, "-f", format, "-o", &out]);
        bases.push(format!("{name}{out}"));
    }
    images.ok(&[
        "build",
        &old,
        "-o",
        &images.place.text("z.erofs"),
        "--compress",
        "lz4",
    ]);
    bases.push(images.place.text("z.erofs"));
    images.ok(&["copy", &old, "store:localhost/old:1"]);
    bases.push("store:localhost/old:1".to_owned());
    images.ok(&[
        "build",
        &images.image("2"),
        "-o",
        &images.place.text("expected.erofs"),
    ]);
    let expected = fs::read(images.path("expected.erofs")).unwrap();
    for base in &bases {
        let out = images.place.text("out.erofs");
        run::ok(&mut images.applying(&delta, base, &["-f", "erofs", "-o", &out]));
        assert!(fs::read(&out).unwrap() == expected, "{base}");
    }
    // The store is looked into unasked.
    let out = images.place.text("store.erofs");
    images.ok(&["delta", "apply", &delta, "-o", &out]);
    assert!(fs::read(&out).unwrap() == expected);
}

#[test]
fn a_shared_layer_is_not_in_a_file_tree() {
    let images = Images::foreign();
    let delta = images.delta(&[]);
    let tree = images.place.text("tree");
    images.ok(&["build", &images.image("1"), "-f", "dir", "-o", &tree]);
    let out = images.place.text("out.erofs");
    for base in [format!("rootfs:{tree}"), images.image("2")] {
        let is_tree = base.starts_with("rootfs:");
        let output = run::output(&mut images.applying(&delta, &base, &["-o", &out]));
        // The new image has the layer, but not the old image's files.
        let (code, word) = match is_tree {
            true => (1, "--base"),
            false => (3, "libfoo.so.1.2"),
        };
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
        assert!(!images.path("out.erofs").exists());
    }
    let output = run::output(
        images
            .place
            .lithify()
            .args(["-q", "delta", "apply", &delta, "-o", &out]),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--base"), "{}", stderr(&output));
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
    images.ok(&[
        "build",
        &images.image("2"),
        "-o",
        &images.place.text("expected.erofs"),
    ]);
    let expected = fs::read(images.path("expected.erofs")).unwrap();
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

/// An image under ostree has other objects, and one that `cfsctl` made has an empty /run.
#[test]
fn files_that_others_do_not_have_are_no_bases() {
    let images = Images::foreign();
    let content = noise(40, 20_000);
    images.put(
        "1",
        &[layer([
            TarEntry::file("run/state", &content),
            TarEntry::file("sysroot/ostree/repo/object", &content),
        ])],
    );
    images.put("2", &[layer([TarEntry::file("state", &content)])]);
    let delta = images.delta(&[]);
    let described = images.json(&["delta", "inspect", &delta]);
    assert!(
        described["delta_bytes"].as_u64().unwrap() > 20_000,
        "{described}"
    );
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

/// A base with the layers the delta wants, compressed otherwise: its tars are the same.
#[test]
fn a_shared_layer_may_be_compressed_otherwise() {
    let images = Images::foreign();
    let delta = images.delta(&[]);
    let other = Layout::new()
        .layer(&shared(), Compression::Zstd)
        .layer(&old(), Compression::None);
    images.put_layout("other", &other);
    let out = images.place.text("out.erofs");
    run::ok(&mut images.applying(&delta, &images.image("other"), &["-o", &out]));
    images.ok(&[
        "build",
        &images.image("2"),
        "-o",
        &images.place.text("expected.erofs"),
    ]);
    assert!(fs::read(&out).unwrap() == fs::read(images.path("expected.erofs")).unwrap());
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
