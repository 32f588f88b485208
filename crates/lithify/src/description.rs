//! What an image is and what was made of it, as data: the `--json` of the command and `image.json`.

use std::collections::BTreeMap;

use serde::Serialize;

/// An image and the artifacts made of it. Fields that do not apply to a source are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// The name the image was opened by.
    pub reference: String,
    /// Digest of the manifest; a `docker save` archive has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<String>,
    /// Media type of the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Digest of the configuration, also known as the image id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<String>,
    /// What the image runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformDescription>,
    /// When the image was made, as it says itself (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The image's run-time configuration (`Env`, `Entrypoint`, `Cmd`, …), every field as it stands in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
    /// The layers, bottom first.
    pub layers: Vec<LayerDescription>,
    /// What a build wrote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
}

/// An operating system and architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlatformDescription {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Such as `10.0.17763.1040`.
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Such as `win32k`.
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}

/// A layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LayerDescription {
    /// Digest of the blob; layers of a `docker save` archive have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Digest of the uncompressed tar; of the whole content for a host directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<String>,
    /// Media type of the blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Size of the blob in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Size of the tar in bytes, once it was decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tar_size: Option<u64>,
    /// Entries of the tar, once it was decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
}

/// Something a build wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Artifact {
    /// Where; `-` is standard output.
    pub path: String,
    /// `erofs`, `dir` or `tar`.
    pub format: String,
    /// Size in bytes; for a directory, of the data of its files.
    pub size: u64,
    /// SHA-256 of the whole file, when it was asked for; directories have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Options that change the bytes, by name.
    pub options: BTreeMap<String, String>,
    /// Version of the writer. Bytes may differ between versions, never within one.
    pub writer_version: String,
    /// Counts that describe the result, by name: inodes, bytes of metadata, what could not be set …
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub statistics: BTreeMap<String, u64>,
}
