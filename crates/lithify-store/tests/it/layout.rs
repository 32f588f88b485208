//! The store is an OCI image layout to programs no one here wrote.

use std::fs;

use crate::common::{assert_clean, build, flip, image, open, store_index, store_parts};
use lithify_oci::Platform;
use lithify_store::{FsckOptions, GcOptions, Problem, Store};
use lithify_testkit::{Layout, Tar, TarEntry, require, run, temp_dir};

#[test]
fn an_empty_store_is_an_image_layout() {
    if !require::tool("umoci") {
        return;
    }
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    build(&store, 1, 1000);
    let list = run::text(
        run::command("umoci")
            .args(["ls", "--layout"])
            .arg(store.path()),
    );
    assert_eq!(list.trim(), "");
    // Its collection leaves everything that is not its own.
    run::ok(
        run::command("umoci")
            .args(["gc", "--layout"])
            .arg(store.path()),
    );
    assert_clean(&store);
    assert_eq!(store.entries().unwrap().len(), 1);
}

#[test]
fn other_tools_put_images_into_the_store() {
    if !require::tool("umoci") || !require::tool("skopeo") {
        return;
    }
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    let mut tar = Tar::new();
    tar.add(TarEntry::file("etc/motd", "hello\n"));
    let image = tmp.path().join("image");
    Layout::new().gzip_layer(&tar.finish()).write(&image);
    let name = |path: &std::path::Path, tag: &str| format!("oci:{}:{tag}", path.display());
    run::ok(
        run::command("skopeo")
            .args(["--insecure-policy", "copy"])
            .arg(name(&image, "latest"))
            .arg(name(store.path(), "example")),
    );
    let list = run::text(
        run::command("umoci")
            .args(["ls", "--layout"])
            .arg(store.path()),
    );
    assert_eq!(list.trim(), "example");
    run::ok(
        run::command("skopeo")
            .arg("inspect")
            .arg(name(store.path(), "example")),
    );
    assert_clean(&store);
    assert!(store.df().unwrap().blobs.apparent > 0);
    // A changed blob, and one that is gone, are found.
    let blobs = crate::common::files(&store.path().join("blobs/sha256"));
    assert_eq!(blobs.len(), 3);
    for blob in &blobs {
        flip(blob, 10, 1, true);
        let report = store.fsck(&FsckOptions::new()).unwrap();
        let found = |f: &lithify_store::Finding| matches!(f.problem, Problem::Blob { .. });
        assert!(report.findings.iter().any(found), "{report:?}");
        flip(blob, 10, 1, true);
    }
    let index = fs::read_to_string(store.path().join("index.json")).unwrap();
    let manifest = blobs
        .iter()
        .find(|b| index.contains(b.file_name().unwrap().to_str().unwrap()))
        .unwrap();
    let aside = tmp.path().join("aside");
    fs::rename(manifest, &aside).unwrap();
    let report = store.fsck(&FsckOptions::new().repair(true)).unwrap();
    assert!(!report.is_clean());
    fs::rename(&aside, manifest).unwrap();
    assert_clean(&store);
}

/// What another program prints about an image of the store.
fn inspect(store: &Store, name: &str) -> serde_json::Value {
    let image = format!("oci:{}:{name}", store.path().display());
    let text = run::text(run::command("skopeo").arg("inspect").arg(image));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn other_tools_read_the_images_of_the_store() {
    if !require::tool("umoci") || !require::tool("skopeo") {
        return;
    }
    const NAME: &str = "docker.io/library/alpine:3.20";
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    build(&store, 1, 1000);
    let lease = store.lease().unwrap();
    // This host's platform last, to be sure that it is not the order that counts.
    let (own, other) = match Platform::host().architecture() {
        "arm64" => ("linux/arm64/v8", "linux/amd64"),
        _ => ("linux/amd64", "linux/arm64/v8"),
    };
    let images = [image(other, 1), image(own, 1)];
    let mut absent = images[0].manifest.clone();
    absent.digest = lithify_digest::Digest::of(lithify_digest::Algorithm::Sha256, b"absent");
    absent.platform = Some("linux/s390x".parse().unwrap());
    let mut listed = images.each_ref().map(|i| i.manifest.clone()).to_vec();
    listed.push(absent);
    let index = store_index(&lease, listed);
    for image in &images {
        store_parts(&lease, image);
        store
            .tag(NAME, &image.manifest, Some(&index.digest))
            .unwrap();
    }
    let by_digest = format!("docker.io/library/alpine@{}", index.digest);
    store
        .tag(&by_digest, &images[1].manifest, Some(&index.digest))
        .unwrap();
    drop(lease);
    let umoci = |args: &[&str]| run::text(run::command("umoci").args(args));
    let layout = store.path().to_str().unwrap();
    let other_name = format!("{NAME}@{other}");
    let list = umoci(&["ls", "--layout", layout]);
    let mut list: Vec<_> = list.lines().collect();
    list.sort_unstable();
    assert_eq!(list, [NAME, other_name.as_str(), by_digest.as_str()]);
    for (name, image) in [
        (NAME, &images[1]),
        (&other_name, &images[0]),
        (&by_digest, &images[1]),
    ] {
        let platform = image.manifest.platform.as_ref().unwrap();
        let found = inspect(&store, name);
        assert_eq!(found["Architecture"], platform.architecture(), "{name}");
        assert_eq!(found["Layers"].as_array().unwrap().len(), 3);
        let copy = tmp.path().join("copy");
        run::ok(
            run::command("skopeo")
                .args(["--insecure-policy", "copy"])
                .arg(format!("oci:{layout}:{name}"))
                .arg(format!("oci:{}:copy", copy.display())),
        );
        let bundle = tmp.path().join("bundle");
        let image = format!("{layout}:{name}");
        run::ok(
            run::command("umoci")
                .args(["unpack", "--rootless", "--image", &image])
                .arg(&bundle),
        );
        let motd = fs::read_to_string(bundle.join("rootfs/etc/motd")).unwrap();
        assert_eq!(motd, format!("{platform} 1\n"));
        fs::remove_dir_all(&bundle).unwrap();
        fs::remove_dir_all(&copy).unwrap();
    }
    // Its collection takes the index, which only its platforms' entries speak of, and nothing else.
    let before = store.all_blobs().unwrap().len();
    umoci(&["gc", "--layout", layout]);
    assert_eq!(store.all_blobs().unwrap().len(), before - 1);
    assert!(!store.has_blob(&index.digest, index.size).unwrap());
    assert_clean(&store);
    assert_eq!(store.find(&by_digest).unwrap().len(), 1);
    assert!(store.gc(&GcOptions::new()).unwrap().blobs.is_empty());
    // A tag it makes is a name of its own; one that is overwritten is overwritten here.
    umoci(&["tag", "--image", &format!("{layout}:{other_name}"), "mine"]);
    let mine = store.find("mine").unwrap();
    assert_eq!(mine[0].descriptor.digest, images[0].manifest.digest);
    assert_eq!(store.find(NAME).unwrap().len(), 2);
    let source = tmp.path().join("source");
    Layout::new()
        .image_config("author", "x".into())
        .write(&source);
    run::ok(
        run::command("skopeo")
            .args(["--insecure-policy", "copy"])
            .arg(format!("oci:{}:latest", source.display()))
            .arg(format!("oci:{layout}:{NAME}")),
    );
    let found = store.find(NAME).unwrap();
    assert!(
        !found
            .iter()
            .any(|t| t.descriptor.digest == images[1].manifest.digest)
    );
    assert_eq!(inspect(&store, NAME)["Layers"].as_array().unwrap().len(), 0);
    assert_clean(&store);
    // And the other way round.
    store.tag(NAME, &images[1].manifest, None).unwrap();
    assert_eq!(inspect(&store, NAME)["Layers"].as_array().unwrap().len(), 3);
    let names = umoci(&["ls", "--layout", layout]);
    assert_eq!(names.lines().filter(|n| *n == NAME).count(), 1, "{names}");
    store.gc(&GcOptions::new()).unwrap();
    assert_clean(&store);
}

#[test]
fn other_tools_read_a_whole_index_of_the_store() {
    if !require::tool("umoci") || !require::tool("skopeo") {
        return;
    }
    let tmp = temp_dir();
    let store = open(&tmp.path().join("store"));
    let lease = store.lease().unwrap();
    let images = ["linux/amd64", "linux/arm64/v8"].map(|p| image(p, 1));
    for image in &images {
        store_parts(&lease, image);
    }
    let index = store_index(&lease, images.each_ref().map(|i| i.manifest.clone()).into());
    store.tag("example.org/a/b:c", &index, None).unwrap();
    drop(lease);
    let layout = store.path().to_str().unwrap();
    for architecture in ["amd64", "arm64"] {
        let text = run::text(
            run::command("skopeo")
                .args(["--override-arch", architecture, "inspect"])
                .arg(format!("oci:{layout}:example.org/a/b:c")),
        );
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["Architecture"], architecture);
    }
    let before = store.all_blobs().unwrap().len();
    run::ok(run::command("umoci").args(["gc", "--layout", layout]));
    assert!(store.gc(&GcOptions::new()).unwrap().blobs.is_empty());
    assert_eq!(store.all_blobs().unwrap().len(), before);
    assert_clean(&store);
}
