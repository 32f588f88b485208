//! What an image is and what was made of it, as data: the `--json` of the command and `image.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of this library, as artifacts and descriptions have it: who wrote them. Keys have that of the writer of their
/// format, which rises with the bytes it makes.
pub(crate) const WRITER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The file in the directory of a layered build that describes it, by which a new build knows that it may replace it.
pub(crate) const DESCRIPTION: &str = "image.json";

/// An image and the artifacts made of it. Fields that do not apply to a source are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    /// What refers to the manifest, by the word of its place; where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrers: Option<Vec<ReferrerDescription>>,
    /// The reasons why there may be more of them: what its place does not say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers_unlisted: Vec<String>,
    /// What a build wrote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// Layers a containerd cache did not get, which containerd converts itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// How the files of a layered build become one filesystem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<Stack>,
    /// How many artifacts a layered build made. `image.json` does not say: it is the same every time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built: Option<u64>,
    /// How many it found in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reused: Option<u64>,
}

/// How the files of a layered build become one filesystem. Paths are relative to its directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stack {
    /// The merged image: mounted with a `device=` option for each of `devices`, in their order, it is the filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsmeta: Option<String>,
    /// The layers' images, bottom first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Where each of `devices` starts on the disks, in bytes: for Linux before 6.4, which does not find them there by
    /// itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disk_offsets: Vec<u64>,
    /// The directories of an overlay, top first: each image mounted, in the order of `lowerdir`.
    pub overlay: Vec<String>,
}

/// An operating system and architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
    /// The filesystem it is an image of, if it is no tar: `erofs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<String>,
    /// Size of the blob in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Size of the tar in bytes, once it was decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tar_size: Option<u64>,
    /// Entries of the tar, once it was decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Of a host directory that a build wrote: what became of what was written beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedDescription>,
}

/// How a host directory compares with what was written about it when a build made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordedDescription {
    /// Files that got back what the directory could not hold.
    pub restored: u64,
    /// Files that are others now, and keep what they have in the directory.
    pub changed: u64,
    /// Files that are no longer there.
    pub gone: u64,
}

impl From<&lithify_hostfs::RecordedSummary> for RecordedDescription {
    fn from(summary: &lithify_hostfs::RecordedSummary) -> Self {
        Self {
            restored: summary.restored,
            changed: summary.changed,
            gone: summary.gone,
        }
    }
}

/// The dm-verity tree in an image file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verity {
    /// The root hash, in hexadecimal digits.
    #[serde(rename = "roothash")]
    pub root_hash: String,
    /// Where the superblock of the tree is in the file, in bytes.
    #[serde(rename = "hashoffset")]
    pub hash_offset: u64,
}

impl From<&lithify_verity::Sidecar> for Verity {
    fn from(sidecar: &lithify_verity::Sidecar) -> Self {
        Self {
            root_hash: sidecar.root.to_string(),
            hash_offset: sidecar.hash_offset,
        }
    }
}

/// Where an image file was taken from. Nothing but that place says that it is made of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ArtifactSource {
    /// Digest of the artifact's manifest.
    pub manifest: String,
    /// Its type.
    pub artifact_type: String,
}

/// A layer that is not in a containerd cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeftOut {
    /// Its position in the image, 0 is the bottom.
    pub layer: u64,
    /// What containerd asks for it by.
    pub diff_id: String,
    /// What it is an image of: itself over the lower layers of this image.
    pub chain_id: String,
    /// Why it was not put there.
    pub reason: LeftOutReason,
    /// An image of it that was in the cache before, from another build or tool, and stays: containerd takes that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// The reason a layer is not in a containerd cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LeftOutReason {
    /// It means something else on other lower layers, and the cache is for all images.
    DependsOnLowerLayers,
    /// The image has it more than once, and it does not mean the same each time.
    DiffersInThisImage,
}

/// What refers to an image, as far as its place says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Referrers {
    /// What is listed.
    pub listed: Vec<ReferrerDescription>,
    /// The reasons why there may be more.
    pub unlisted: Vec<String>,
}

/// A manifest that refers to an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ReferrerDescription {
    /// Digest of the manifest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The tag it was found by: `sha256-HEX.sig`, `.att` or `.sbom` of cosign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What else is said about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Something a build wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Artifact {
    /// Where; `-` is standard output.
    pub path: String,
    /// The format asked for; of a file in a layered build `erofs-layer`, `erofs-fsmeta`, `vmdk` …
    pub format: String,
    /// Size in bytes; for a directory, of the data of its files.
    pub size: u64,
    /// SHA-256 of the whole file, when it was asked for; directories have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The fs-verity digest of a composefs image, which is its name in its repository, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The name it has in its repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The hash tree behind the image, with `verity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verity: Option<Verity>,
    /// Where it was taken from, if it was not made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ArtifactSource>,
    /// The diff_id of the layer this is an image of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<String>,
    /// Its chain id, if the image is right only over the lower layers of this image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<String>,
    /// Files that lost an extended attribute the format cannot hold, by the attribute's name, escaped; with
    /// [`BuildOptions::drop_xattrs`](crate::BuildOptions).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped_xattrs: BTreeMap<String, u64>,
    /// Options that change the bytes, by name.
    pub options: BTreeMap<String, String>,
    /// Version of the writer; empty where it is not known. Bytes may differ between versions, never within one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub writer_version: String,
    /// Counts that describe the result, by name: inodes, bytes of metadata, what could not be set …
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub statistics: BTreeMap<String, u64>,
}
