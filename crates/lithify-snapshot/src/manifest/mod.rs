//! Manifests of snapshots, and their identity.
//!
//! A manifest is a JSON object. All of it but the member `info` defines the snapshot: the SHA-256 of that, in the canonical form of
//! RFC 8785, is its identity. So it does not depend on when a snapshot was taken, what it is called, or by which name its image was
//! found.

mod error; // reasons why a manifest is not taken
mod id; // identities
mod read; // JSON to a manifest
mod write; // a manifest to JSON

use std::collections::BTreeMap;

use lithify_digest::Digest;
use lithify_oci::Platform;

pub use crate::json::JsonError;
pub use error::ManifestError;
pub use id::{ParseSnapshotIdError, SnapshotId};

use crate::content::ContentDigest;
use crate::json;

/// The schema that this version reads and writes.
pub const SCHEMA: &str = "lithify.snapshot/1";

/// Bytes that a manifest may have.
pub const MANIFEST_MAX: usize = 1 << 20;

/// The size that a disk may have, in bytes: the largest whole number that all readers of JSON have.
pub const DISK_MAX: u64 = json::NUMBER_MAX;

/// A snapshot.
///
/// ```
/// use lithify_snapshot::Manifest;
///
/// let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// let json = format!(r#"{{
///     "schema": "lithify.snapshot/1",
///     "image": {{ "manifest": "sha256:{digest}", "platform": "linux/amd64" }},
///     "disk": {{ "format": "raw", "filesystem": "ext4", "size": 1048576, "content": "fsverity-sha256-16:{digest}" }},
///     "info": {{ "name": "before-upgrade", "created": "2026-12-01T08:00:00Z" }}
/// }}"#);
/// let mut snapshot = Manifest::parse(json.as_bytes())?;
/// let id = snapshot.id();
/// // Its name is not part of the identity.
/// snapshot.info.name = None;
/// assert_eq!(snapshot.id(), id);
/// # Ok::<(), lithify_snapshot::manifest::ManifestError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The image that the disk belongs to.
    pub image: Image,
    /// The snapshot that the disk was changed from; `None` if it was a fresh disk.
    pub parent: Option<SnapshotId>,
    /// The disk.
    pub disk: Disk,
    /// Words of users, by their keys.
    pub labels: BTreeMap<String, String>,
    /// All that is not part of the identity.
    pub info: Info,
}

/// The image that a disk belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of its manifest, which names the same image for ever; a tag does not.
    pub manifest: Digest,
    /// Its platform.
    pub platform: Platform,
}

/// A writable disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The format that the machine had it in.
    pub format: DiskFormat,
    /// The type of its filesystem, such as `ext4`.
    pub filesystem: String,
    /// Its size as the machine sees it, in bytes.
    pub size: u64,
    /// The digest of what is on it.
    pub content: ContentDigest,
}

/// The format of a disk's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFormat {
    /// The bytes of the disk.
    Raw,
    /// QEMU's qcow2.
    Qcow2,
}

impl DiskFormat {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Raw, Self::Qcow2];

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// Words about a snapshot that are no part of its identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The name by which the image was found.
    pub reference: Option<String>,
    /// The time when the snapshot was taken, by RFC 3339 and in UTC, such as `2026-12-01T08:00:00Z`.
    pub created: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The machine that the disk was of, such as the name of a sandbox.
    pub source: Option<String>,
}
