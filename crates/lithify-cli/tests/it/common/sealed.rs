//! Layouts with digests of composefs beside an image.

use std::fs;
use std::path::{Path, PathBuf};

use lithify_testkit::{Compression, Layout, TarEntry, digest, run};
use serde_json::{Value, json};

use super::{layer, lithify, lithify_output, stderr};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const SEAL: &str = "application/vnd.composefs.metadata.v1";
pub(crate) const EMPTY: &str =
    "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Bytes of a length, others for each length.
pub(crate) fn data(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + length) as u8).collect()
}

/// An image of two layers, by the rules of `cfsctl` another one than as it is.
pub(crate) fn sample() -> Layout {
    let base = layer([
        TarEntry::directory("usr")
            .mode(0o750)
            .mtime(1_600_000_000, 0),
        TarEntry::directory("usr/bin"),
        TarEntry::file("usr/bin/long", data(70_000))
            .mode(0o755)
            .xattr("security.capability", data(20))
            .xattr("user.note", "n"),
        TarEntry::file("usr/bin/short", data(64)),
        TarEntry::file("usr/bin/gone", data(4096)),
        TarEntry::symlink("bin", "usr/bin"),
        TarEntry::directory("run"),
        TarEntry::file("run/lock", data(100)),
    ]);
    let upper = layer([
        TarEntry::directory("usr")
            .mode(0o755)
            .mtime(1_600_000_001, 5),
        TarEntry::directory("usr/bin"),
        TarEntry::whiteout("usr/bin/gone"),
        TarEntry::file("usr/bin/new", data(65)),
        TarEntry::hard_link("usr/bin/same", "usr/bin/new"),
    ]);
    Layout::new()
        .layer(&base, Compression::None)
        .layer(&upper, Compression::None)
}

/// A layout, changed by hand.
pub(crate) struct Sealed(pub(crate) PathBuf);

impl Sealed {
    pub(crate) fn new(dir: &Path, image: &Layout) -> Self {
        let path = dir.join("layout");
        image.write(&path);
        Self(path)
    }

    pub(crate) fn name(&self) -> String {
        format!("oci:{}:latest", self.0.display())
    }

    pub(crate) fn path(&self, digest: &str) -> PathBuf {
        self.0.join("blobs").join(digest.replace(':', "/"))
    }

    pub(crate) fn read(&self, digest: &str) -> Vec<u8> {
        fs::read(self.path(digest)).unwrap()
    }

    pub(crate) fn json(&self, digest: &str) -> Value {
        serde_json::from_slice(&self.read(digest)).unwrap()
    }

    pub(crate) fn add(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        fs::write(self.path(&digest), bytes).unwrap();
        digest
    }

    pub(crate) fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.0.join("index.json")).unwrap()).unwrap()
    }

    /// Puts a manifest into the index, in the place of another one if there is one.
    pub(crate) fn put(&self, old: Option<&str>, manifest: &Value) -> String {
        let bytes = manifest.to_string().into_bytes();
        let digest = self.add(&bytes);
        let mut index = self.index();
        let entries = index["manifests"].as_array_mut().unwrap();
        let found = entries
            .iter()
            .position(|e| Some(&e["digest"]) == old.map(Value::from).as_ref());
        assert_eq!(found.is_some(), old.is_some());
        let at = found.unwrap_or_else(|| {
            entries.push(json!({ "mediaType": MANIFEST, "artifactType": SEAL }));
            entries.len() - 1
        });
        entries[at]["digest"] = digest.as_str().into();
        entries[at]["size"] = bytes.len().into();
        fs::write(self.0.join("index.json"), index.to_string()).unwrap();
        digest
    }

    /// The digest of the image's manifest.
    pub(crate) fn image(&self) -> String {
        let index = self.index();
        let mut entries = index["manifests"].as_array().unwrap().iter();
        let named = entries.find(|e| !e["annotations"].is_null()).unwrap();
        named["digest"].as_str().unwrap().to_owned()
    }

    /// Publishes digests beside the image; returns those of the artifacts.
    pub(crate) fn seal(&self, algorithms: &str) -> Vec<String> {
        let name = self.name();
        let args = [
            "push",
            "--as",
            "composefs",
            "--algorithm",
            algorithms,
            "--json",
            &name,
            &name,
        ];
        let said = run::ok(lithify().arg("-q").args(args));
        let said: Value = serde_json::from_slice(&said).unwrap();
        assert_eq!(said["digest"], self.image());
        let manifests = said["manifests"].as_array().unwrap()[1..].iter();
        let manifests = manifests.inspect(|m| assert_eq!(m["form"], SEAL));
        manifests
            .map(|m| m["digest"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn verify(&self) -> Value {
        let said = run::ok(lithify().args(["-q", "verify", "--sealed", "--json", &self.name()]));
        serde_json::from_slice(&said).unwrap()
    }

    /// Standard error of a check that fails.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32) -> String {
        let output = lithify_output(["-q", "verify", "--sealed", &self.name()]);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{error}");
        error
    }
}

/// The key and the value of a layer's annotation.
pub(crate) fn annotation(layer: &Value) -> (&str, &str) {
    let annotations = layer["annotations"].as_object().unwrap();
    assert_eq!(annotations.len(), 1);
    let (key, value) = annotations.iter().next().unwrap();
    (key, value.as_str().unwrap())
}
