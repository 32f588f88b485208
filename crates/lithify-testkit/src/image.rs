//! Small OCI layouts.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::snapshot::hex;
use crate::tar::{Tar, TarEntry};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one member, without name and time.
    Gzip,
    /// Zstandard, one frame.
    Zstd,
}

impl Compression {
    /// Compresses bytes, the same way on every machine.
    ///
    /// # Panics
    /// Never: any bytes can be compressed.
    #[must_use]
    pub fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => gzip(bytes),
            Self::Zstd => zstd::encode_all(bytes, 3).expect("zstd compresses any bytes"),
        }
    }
}

/// Raw deflate (RFC 1951) at a level from 0 (stored) to 10.
#[must_use]
pub fn deflate(bytes: &[u8], level: u8) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec(bytes, level)
}

/// Bytes of an image layout with what a descriptor says of them.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The media type.
    pub media_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// An image under construction: layers and a config, written as an OCI image layout or an archive of one.
#[derive(Clone, Debug)]
pub struct Layout {
    layers: Vec<Blob>,
    diff_ids: Vec<String>,
    config: Value,
    tag: String,
}

impl Default for Layout {
    fn default() -> Self {
        Self::new()
    }
}

impl Layout {
    /// An image for linux/amd64 without layers, tagged `latest`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            layers: Vec::new(),
            diff_ids: Vec::new(),
            config: json!({ "created": "2020-01-01T00:00:00Z", "architecture": "amd64", "os": "linux", "config": {} }),
            tag: "latest".into(),
        }
    }

    /// Adds a layer.
    #[must_use]
    pub fn layer(self, tar: &[u8], compression: Compression) -> Self {
        let suffix = match compression {
            Compression::None => "",
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
        };
        let bytes = compression.compress(tar);
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        self.blob(Blob { media_type, bytes }, &digest(tar))
    }

    /// Adds a gzip layer.
    #[must_use]
    pub fn gzip_layer(self, tar: &[u8]) -> Self {
        self.layer(tar, Compression::Gzip)
    }

    /// Adds a layer blob as it is, with the diff id it is to be given: right or wrong.
    #[must_use]
    pub fn blob(mut self, blob: Blob, diff_id: &str) -> Self {
        self.layers.push(blob);
        self.diff_ids.push(diff_id.into());
        self
    }

    /// Sets a field of the image config's `config` object: `("Entrypoint", json!(["/hello"]))`.
    #[must_use]
    pub fn config(mut self, key: &str, value: Value) -> Self {
        self.config["config"][key] = value;
        self
    }

    /// Sets a field of the image config itself: `("architecture", json!("arm64"))`.
    #[must_use]
    pub fn image_config(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// Sets the tag.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.tag = tag.into();
        self
    }

    /// Writes the layout as a directory, which is made if missing.
    ///
    /// # Panics
    /// When the directory cannot be written.
    pub fn write(&self, dir: &Path) {
        for (path, bytes) in self.files() {
            let path = dir.join(path);
            let parent = path
                .parent()
                .expect("a file of the layout is below its directory");
            std::fs::create_dir_all(parent)
                .and_then(|()| std::fs::write(&path, bytes))
                .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        }
    }

    /// The layout as a tar (`oci-archive:`).
    #[must_use]
    pub fn oci_archive(&self) -> Vec<u8> {
        let mut tar = Tar::new();
        for (path, bytes) in self.files() {
            tar.add(TarEntry::file(path, bytes));
        }
        tar.finish()
    }

    /// The image as `docker save` of Docker before 25 wrote it: uncompressed layers beside a `manifest.json`.
    ///
    /// # Panics
    /// When a layer is compressed by zstd, which that format never had.
    #[must_use]
    pub fn docker_archive(&self, reference: &str) -> Vec<u8> {
        let mut tar = Tar::new();
        let mut names = Vec::new();
        for (layer, diff_id) in self.layers.iter().zip(&self.diff_ids) {
            let name = format!("{}/layer.tar", diff_id.trim_start_matches("sha256:"));
            let mut bytes = Vec::new();
            if layer.media_type.ends_with("+gzip") {
                std::io::copy(
                    &mut flate2::read::MultiGzDecoder::new(&layer.bytes[..]),
                    &mut bytes,
                )
                .expect("a layer of this builder can be read");
            } else {
                assert!(
                    !layer.media_type.ends_with("+zstd"),
                    "docker-archive has no zstd layers"
                );
                bytes.clone_from(&layer.bytes);
            }
            tar.add(TarEntry::file(&name, bytes));
            names.push(name);
        }
        let config = self.config_bytes();
        let config_name = format!("{}.json", digest(&config).trim_start_matches("sha256:"));
        tar.add(TarEntry::file(&config_name, config));
        let manifest = json!([{ "Config": config_name, "RepoTags": [reference], "Layers": names }]);
        tar.add(TarEntry::file("manifest.json", manifest.to_string()));
        tar.finish()
    }

    /// All files of the layout by path.
    #[must_use]
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let config = Blob {
            media_type: "application/vnd.oci.image.config.v1+json".into(),
            bytes: self.config_bytes(),
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor(),
            "layers": self.layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        let manifest = Blob {
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            bytes: manifest.to_string().into_bytes(),
        };
        let mut descriptor = manifest.descriptor();
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": self.tag });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [descriptor],
        });
        let mut files = vec![
            (
                "oci-layout".into(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
            ("index.json".into(), index.to_string().into_bytes()),
        ];
        let blobs = self.layers.iter().chain([&config, &manifest]);
        files.extend(blobs.map(|blob| {
            let name = format!("blobs/{}", digest(&blob.bytes).replace(':', "/"));
            (name, blob.bytes.clone())
        }));
        files
    }

    fn config_bytes(&self) -> Vec<u8> {
        let mut config = self.config.clone();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": self.diff_ids });
        config.to_string().into_bytes()
    }
}

impl Blob {
    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": digest(&self.bytes), "size": self.bytes.len() })
    }
}

/// `sha256:HEX` of bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// One gzip member without name and time (RFC 1952), the same on every machine.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let checksum = crc32fast::hash(bytes);
    // The trailer holds the length modulo 2^32.
    let length = bytes.len() as u32;
    let deflate = miniz_oxide::deflate::compress_to_vec(bytes, 6);
    [
        &HEADER[..],
        &deflate,
        &checksum.to_le_bytes(),
        &length.to_le_bytes(),
    ]
    .concat()
}
