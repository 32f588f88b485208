//! Layouts made document by document, for images that say things oddly.

use std::fs;
use std::path::Path;

use lithify_testkit::{digest, run};
use serde_json::{Value, json};

/// Media type of a plain layer.
pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image whose config and manifest are written as they are given.
pub(crate) struct Documents {
    pub(crate) config: Value,
    pub(crate) config_type: String,
    pub(crate) manifest_type: String,
    layers: Vec<Value>,
    blobs: Vec<Vec<u8>>,
}

impl Documents {
    /// An image without layers, whose config has this `rootfs`.
    pub(crate) fn new(rootfs: Value) -> Self {
        Self {
            config: json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs }),
            config_type: "application/vnd.oci.image.config.v1+json".to_owned(),
            manifest_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            layers: Vec::new(),
            blobs: Vec::new(),
        }
    }

    /// An image of layers that are plain tars, or are said to be.
    pub(crate) fn of(layers: &[Vec<u8>]) -> Self {
        let ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
        let image = Self::new(json!({ "type": "layers", "diff_ids": ids }));
        layers
            .iter()
            .fold(image, |image, layer| image.layer(TAR, layer, json!({})))
    }

    /// Adds a layer with more fields in its descriptor; the config does not change.
    pub(crate) fn layer(mut self, media_type: &str, blob: &[u8], more: Value) -> Self {
        let mut descriptor = described(media_type, blob);
        for (key, value) in more.as_object().unwrap() {
            descriptor[key] = value.clone();
        }
        self.layers.push(descriptor);
        self.blobs.push(blob.to_vec());
        self
    }

    /// Writes the layout into `dir` and returns its source name.
    pub(crate) fn write(&self, dir: &Path) -> String {
        let put = |blob: &[u8]| {
            let path = dir.join("blobs").join(digest(blob).replace(':', "/"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, blob).unwrap();
        };
        let config = self.config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.manifest_type,
            "config": described(&self.config_type, &config),
            "layers": self.layers,
        });
        let manifest = manifest.to_string().into_bytes();
        for blob in self.blobs.iter().chain([&config, &manifest]) {
            put(blob);
        }
        let mut entry = described(&self.manifest_type, &manifest);
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "t" });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        fs::write(dir.join("index.json"), index.to_string()).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        format!("oci:{}:t", dir.display())
    }

    /// Writes it as `ctr image export` does: the layout, and a `manifest.json` that names blobs in it.
    pub(crate) fn export(&self, dir: &Path) -> Vec<u8> {
        self.write(dir);
        let path = |blob: &[u8]| format!("blobs/{}", digest(blob).replace(':', "/"));
        let layers: Vec<_> = self.blobs.iter().map(|blob| path(blob)).collect();
        let config = path(self.config.to_string().as_bytes());
        let list = json!([{ "Config": config, "RepoTags": ["app:1"], "Layers": layers }]);
        fs::write(dir.join("manifest.json"), list.to_string()).unwrap();
        run::ok(run::command("tar").args(["-cf", "-", "-C"]).arg(dir).args([
            "blobs",
            "index.json",
            "manifest.json",
            "oci-layout",
        ]))
    }
}

fn described(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

/// The manifest and config of the only image of a layout.
pub(crate) fn documents(dir: &Path) -> (Value, Value) {
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap().replace(':', "/");
        read(&dir.join("blobs").join(digest))
    };
    let index = read(&dir.join("index.json"));
    let manifest = blob(&index["manifests"][0]["digest"]);
    let config = blob(&manifest["config"]["digest"]);
    (manifest, config)
}
