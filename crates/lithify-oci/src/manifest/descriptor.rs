//! Descriptors: media type, digest, size and what is said about them.

use std::collections::BTreeMap;

use lithify_digest::Digest;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::field::{null_default, string_map};
use crate::platform::Platform;

/// Bytes of all words of one platform. Real ones have some thirty; they are kept for every manifest of an index.
const MAX_PLATFORM: usize = 1024;

/// A reference from one document to another or to a blob (image-spec, `descriptor.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Descriptor {
    /// Media type of what it points to; empty if the document leaves it out.
    pub media_type: String,
    /// Digest of what it points to.
    #[serde(serialize_with = "as_text")]
    pub digest: Digest,
    /// Size in bytes of what it points to.
    pub size: u64,
    /// Where else the content is, for non-distributable layers. Never fetched from on its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations; in `index.json` they name the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The platform, in indexes. `None` if absent, `null` or without system and architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Type of the artifact it points to, in indexes of the image-spec 1.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor of `size` bytes with digest `digest`, and nothing else said about them.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// Whether this marks an attestation that BuildKit put beside the images of an index: platform
    /// `unknown/unknown` or the annotation `vnd.docker.reference.type` (BuildKit,
    /// `docs/attestations/attestation-storage.md`). Its media type is that of an image manifest.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(Platform::is_unknown)
            || self
                .annotations
                .get("vnd.docker.reference.type")
                .is_some_and(|t| t == "attestation-manifest")
    }
}

pub(super) fn as_text<S: serde::Serializer>(
    digest: &Digest,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

/// Refuses platforms longer than any real one.
pub(super) fn check_platform<'w>(
    words: impl Iterator<Item = &'w String>,
    field: &str,
) -> Result<(), Error> {
    let found = words.map(String::len).sum();
    if found > MAX_PLATFORM {
        return Err(Error::PlatformTooLong {
            field: field.to_owned(),
            found,
            limit: MAX_PLATFORM,
        });
    }
    Ok(())
}

/// A descriptor as it stands in JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawDescriptor {
    #[serde(default, deserialize_with = "null_default")]
    media_type: String,
    digest: String,
    size: i64,
    #[serde(default, deserialize_with = "null_default")]
    urls: Vec<String>,
    #[serde(default, deserialize_with = "string_map")]
    annotations: BTreeMap<String, String>,
    platform: Option<RawPlatform>,
    artifact_type: Option<String>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default, deserialize_with = "null_default")]
    os: String,
    #[serde(default, deserialize_with = "null_default")]
    architecture: String,
    #[serde(default, deserialize_with = "null_default")]
    variant: String,
    #[serde(default, rename = "os.version", deserialize_with = "null_default")]
    os_version: String,
    #[serde(default, rename = "os.features", deserialize_with = "null_default")]
    os_features: Vec<String>,
}

impl RawDescriptor {
    /// `field` names the descriptor in errors.
    pub(super) fn check(self, field: impl Fn() -> String) -> Result<Descriptor, Error> {
        let digest = self.digest.parse().map_err(|source| Error::Digest {
            field: format!("{}.digest", field()),
            source,
        })?;
        let size = u64::try_from(self.size).map_err(|_| Error::NegativeSize {
            field: format!("{}.size", field()),
            found: self.size,
        })?;
        if let Some(p) = &self.platform {
            let words = [&p.os, &p.architecture, &p.variant, &p.os_version];
            let words = words.into_iter().chain(&p.os_features);
            check_platform(words, &format!("{}.platform", field()))?;
        }
        // Podman and Apple's tools write an empty platform; the config tells more than half of one.
        let platform = self
            .platform
            .filter(|p| !p.os.is_empty() && !p.architecture.is_empty())
            .map(|p| {
                Platform::new(&p.os, &p.architecture, Some(&p.variant))
                    .with_os_version(&p.os_version)
                    .with_os_features(p.os_features)
            });
        Ok(Descriptor {
            media_type: self.media_type,
            digest,
            size,
            urls: self.urls,
            annotations: self.annotations,
            platform,
            artifact_type: self.artifact_type.filter(|t| !t.is_empty()),
        })
    }
}
