//! Images that deltas are made of, and deltas that say something else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lithify_testkit::{Layout, Random, TarEntry, digest, run};
use serde_json::Value;

use super::layer;
use super::registries::Place;

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    Random::new(seed).bytes(length)
}

/// The layer that both images have.
pub(crate) fn shared() -> Vec<u8> {
    layer([
        TarEntry::directory("usr").mode(0o711),
        TarEntry::file("usr/both", noise(1, 30_000)),
        TarEntry::file("usr/hidden", noise(2, 30_000)),
    ])
}

/// The old image's own layer.
pub(crate) fn old() -> Vec<u8> {
    layer([
        TarEntry::whiteout("usr/hidden"),
        TarEntry::file("usr/libfoo.so.1.2", noise(3, 80_000)),
        TarEntry::file("usr/tool", noise(4, 60_000)),
    ])
}

/// The new image's own layers: the first has much of the old ones.
pub(crate) fn new() -> [Vec<u8>; 2] {
    let mut library = noise(3, 80_000);
    library.splice(100..110, *b"changed");
    let mut tool = noise(4, 60_000);
    tool[50_000] ^= 1;
    let changed = layer([
        TarEntry::file("usr/libfoo.so.1.10", library),
        TarEntry::file("usr/tool", tool),
        TarEntry::file("usr/hidden", noise(2, 30_000)),
    ]);
    let added = layer([TarEntry::file("added", noise(5, 5000))]);
    [changed, added]
}

/// Two images in a layout, and what is made of them.
pub(crate) struct Images {
    pub(crate) place: Place,
}

impl Images {
    /// No images.
    pub(crate) fn empty() -> Self {
        Self {
            place: Place::new(),
        }
    }

    /// Images whose layers were compressed by this command, so that it knows how to do that again.
    pub(crate) fn new() -> Self {
        let images = Self {
            place: Place::new(),
        };
        let [changed, added] = new();
        images.put_plain("1", &[shared(), old()]);
        images.put_plain("2", &[shared(), changed, added]);
        images
    }

    /// Returns the bytes of an image, by its tag, as EROFS: those that it also has out of a delta.
    pub(crate) fn erofs(&self, tag: &str) -> Vec<u8> {
        let out = self.place.text("expected.erofs");
        self.ok(&["build", &self.image(tag), "-o", &out]);
        fs::read(out).unwrap()
    }

    /// Images whose layers another program compressed.
    pub(crate) fn foreign() -> Self {
        let images = Self {
            place: Place::new(),
        };
        let [changed, added] = new();
        images.put("1", &[shared(), old()]);
        images.put("2", &[shared(), changed, added]);
        images
    }

    /// Puts an image with such layers into the layout, compressed by this command.
    pub(crate) fn put_plain(&self, tag: &str, layers: &[Vec<u8>]) {
        let layout = layers
            .iter()
            .fold(Layout::new(), |l, tar| l.gzip_layer(tar));
        let archive = self.place.path("archive.tar");
        fs::write(&archive, layout.docker_archive("localhost/image:1")).unwrap();
        let source = format!("docker-archive:{}", archive.display());
        self.ok(&["copy", &source, &self.image(tag)]);
    }

    /// Puts an image with such layers into the layout.
    pub(crate) fn put(&self, tag: &str, layers: &[Vec<u8>]) {
        let layout = layers
            .iter()
            .fold(Layout::new(), |l, tar| l.gzip_layer(tar));
        self.put_layout(tag, &layout);
    }

    /// Puts an image into the layout.
    pub(crate) fn put_layout(&self, tag: &str, layout: &Layout) {
        let archive = self.place.path("archive.tar");
        fs::write(&archive, layout.oci_archive()).unwrap();
        let source = format!("oci-archive:{}", archive.display());
        self.ok(&["copy", "--all-platforms", &source, &self.image(tag)]);
    }

    pub(crate) fn image(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.place.text("images"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let mut command = self.place.lithify();
        run::text(command.arg("-q").args(args))
    }

    /// Creates the delta of both images in a layout of its own; returns its name.
    pub(crate) fn delta(&self, more: &[&str]) -> String {
        let delta = format!("oci:{}:delta", self.place.text("delta"));
        let (old, new) = (self.image("1"), self.image("2"));
        self.ok(&[&["delta", "create", &old, &new, "-o", &delta], more].concat());
        delta
    }

    /// Runs what prints JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut command = self.place.lithify();
        let said = run::ok(command.arg("-q").args(args).arg("--json"));
        serde_json::from_slice(&said).unwrap()
    }

    /// The digest of an image's manifest, as other tools see it in `index.json`.
    pub(crate) fn manifest(&self, directory: &str, tag: &str) -> String {
        entry(&self.path(directory), tag)["digest"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// A command that applies a delta.
    pub(crate) fn applying(&self, delta: &str, base: &str, more: &[&str]) -> Command {
        let mut command = self.place.lithify();
        command.args(["-q", "delta", "apply", delta, "--base", base]);
        command.args(more);
        command
    }
}

/// The entry of `index.json` with a tag.
pub(crate) fn entry(layout: &Path, tag: &str) -> Value {
    let index = fs::read(layout.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let has_tag = |e: &&Value| e["annotations"]["org.opencontainers.image.ref.name"] == tag;
    entries.iter().find(has_tag).unwrap().clone()
}

/// The path of a blob in a layout.
pub(crate) fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// The only manifest that a layout's `index.json` names.
pub(crate) fn read_manifest(layout: &Path) -> Value {
    let digest = entry(layout, "delta")["digest"].clone();
    let bytes = fs::read(blob(layout, digest.as_str().unwrap())).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Puts another manifest in the place of the only one, with its own digest.
pub(crate) fn write_manifest(layout: &Path, manifest: &Value) {
    let bytes = manifest.to_string().into_bytes();
    let digest = digest(&bytes);
    fs::write(blob(layout, &digest), &bytes).unwrap();
    let mut entry = entry(layout, "delta");
    entry["digest"] = digest.into();
    entry["size"] = bytes.len().into();
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

/// Puts a blob into a layout; returns its digest.
pub(crate) fn write_blob(layout: &Path, bytes: &[u8]) -> String {
    let digest = digest(bytes);
    fs::write(blob(layout, &digest), bytes).unwrap();
    digest
}
