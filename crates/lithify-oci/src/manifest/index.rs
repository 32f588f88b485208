//! Image indexes and Docker manifest lists.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::descriptor::{Descriptor, RawDescriptor};
use super::document;
use super::error::Error;
use super::field::{null_default, string_map};

/// A list of manifests, of one image for several platforms or of several images
/// (image-spec, `image-index.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Index {
    schema_version: u8,
    /// The document's own media type; not all say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests and further indexes, in order.
    pub manifests: Vec<Descriptor>,
    /// Annotations of the index itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawIndex {
    media_type: Option<String>,
    #[serde(default, deserialize_with = "null_default")]
    manifests: Vec<RawDescriptor>,
    #[serde(default, deserialize_with = "string_map")]
    annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index of these manifests.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        let media_type = Some(super::media_type::OCI_INDEX.to_owned());
        Self {
            schema_version: 2,
            media_type,
            manifests,
            annotations: BTreeMap::new(),
        }
    }

    /// Parses `index.json`, which no descriptor points to.
    ///
    /// # Errors
    /// [`Error`] for anything but an index; see the [module documentation](super).
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        match document::Document::parse_expecting(super::media_type::Kind::Index, json, None)? {
            document::Document::Index(index) => Ok(index),
            document::Document::Manifest(_) => Err(Error::Unrecognised),
        }
    }

    pub(super) fn parse_checked(json: &[u8]) -> Result<Self, Error> {
        let raw: RawIndex = serde_json::from_slice(json).map_err(|source| Error::Json {
            what: "index",
            source,
        })?;
        let manifests = raw
            .manifests
            .into_iter()
            .enumerate()
            .map(|(i, descriptor)| descriptor.check(|| format!("manifests[{i}]")))
            .collect::<Result<_, _>>()?;
        let (media_type, annotations) = (raw.media_type, raw.annotations);
        Ok(Self {
            schema_version: 2,
            media_type,
            manifests,
            annotations,
        })
    }
}
