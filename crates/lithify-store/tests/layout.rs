//! The store is an OCI image layout to programs no one here wrote.

#![allow(
    clippy::unwrap_used,
    reason = "tests state what they expect by panicking"
)]

mod common;

use std::fs;

use common::{assert_clean, build, flip, open};
use lithify_store::{FsckOptions, Problem};
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
    let blobs = common::files(&store.path().join("blobs/sha256"));
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
