//! Images whose layers are pushed as EROFS images, and the layouts they are pushed to.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::common::stores::lithify_at;
use crate::common::{image, layer};
use lithify_testkit::{Allow, Difference, Field, Layout, TarEntry, digest, run};
use serde_json::Value;

/// Layers that say nothing about the root but the lowest, take away, replace and reach through links.
pub(crate) fn layers() -> [Vec<u8>; 3] {
    [
        layer([
            TarEntry::directory(".")
                .mode(0o700)
                .owner(5, 6)
                .mtime(77, 8),
            TarEntry::directory("etc").mode(0o711),
            TarEntry::file("etc/gone", "x"),
            TarEntry::file("etc/kept", "kept").xattr("user.note", "v"),
            TarEntry::directory("data").mode(0o2755).owner(3, 4),
            TarEntry::file("data/a", b"text ".repeat(10_000)),
            TarEntry::hard_link("data/b", "data/a"),
            TarEntry::directory("full"),
            TarEntry::file("full/one", "1"),
            TarEntry::directory("run"),
            TarEntry::directory("var"),
            TarEntry::symlink("var/run", "/run"),
        ]),
        layer([
            TarEntry::whiteout("etc/gone"),
            TarEntry::file("var/run/app.pid", "7"),
            TarEntry::hard_link("data/c", "data/a"),
            TarEntry::opaque("full"),
            TarEntry::file("full/three", "3"),
        ]),
        layer([
            TarEntry::directory("new"),
            TarEntry::whiteout("new/nothing"),
            TarEntry::fifo("new/pipe"),
            TarEntry::file("new/big", vec![7; 200_000]),
        ]),
    ]
}

pub(crate) fn sample(dir: &Path) -> String {
    image(dir, layers())
}

/// Pushes into `dir/name` and returns the layout.
#[track_caller]
pub(crate) fn push(store: &Path, source: &str, layout: &Path, extra: &[&str]) -> Value {
    let mut command = lithify_at(store);
    command.args(["-q", "push", "--no-fsync", "--json", source]);
    command.arg(format!("oci:{}:v1", layout.display()));
    serde_json::from_slice(&run::ok(command.args(extra))).unwrap()
}

pub(crate) fn blob_path(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

pub(crate) fn document(layout: &Path, digest: &Value) -> Value {
    serde_json::from_slice(&fs::read(blob_path(layout, digest.as_str().unwrap())).unwrap()).unwrap()
}

pub(crate) fn blobs(layout: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<_> = fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|e| {
            let e = e.unwrap();
            let name = e.file_name().into_string().unwrap();
            (name, e.metadata().unwrap().size())
        })
        .collect();
    found.sort();
    found
}

pub(crate) fn links_of_an_overlay() -> Allow {
    Allow::nothing().also("links an overlay does not count", |d: &Difference| {
        d.field == Field::Links
    })
}

/// An image for two platforms, whose file `arch` says which it is.
/// An index over an image for amd64 and one for s390x.
pub(crate) fn two_platforms(dir: &Path) -> String {
    let of = |arch: &str| {
        let path = dir.join(arch);
        let file = layer([TarEntry::file("arch", arch)]);
        Layout::new()
            .image_config("architecture", serde_json::json!(arch))
            .gzip_layer(&file)
            .write(&path);
        path
    };
    // One index over both.
    let (amd64, s390x) = (of("amd64"), of("s390x"));
    let mut entries = Vec::new();
    for (arch, path) in [("amd64", &amd64), ("s390x", &s390x)] {
        let index: Value =
            serde_json::from_slice(&fs::read(path.join("index.json")).unwrap()).unwrap();
        let mut entry = index["manifests"][0].clone();
        entry.as_object_mut().unwrap().remove("annotations");
        entry["platform"] = serde_json::json!({"os": "linux", "architecture": arch});
        entries.push(entry);
        for (blob, _) in blobs(path) {
            let name = format!("blobs/sha256/{blob}");
            if !amd64.join(&name).exists() {
                fs::copy(path.join(&name), amd64.join(&name)).unwrap();
            }
        }
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let nested =
        serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    let nested = serde_json::to_vec(&nested).unwrap();
    fs::write(blob_path(&amd64, &digest(&nested)), &nested).unwrap();
    let top = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": media_type, "digest": digest(&nested), "size": nested.len(),
        "annotations": {"org.opencontainers.image.ref.name": "latest"}}]});
    fs::write(amd64.join("index.json"), top.to_string()).unwrap();
    format!("oci:{}:latest", amd64.display())
}
