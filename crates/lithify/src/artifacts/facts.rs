//! What an artifact says it is, as annotations of its manifest.
//!
//! Who finds it knows by them whether it is what a build would make, without reading it. They prove nothing: only
//! who trusts the registry with the image's files as such can use an artifact of it.

use std::collections::BTreeMap;

use lithify_digest::Digest;

use crate::Image;
use crate::image::layer_ids;

/// Format and options, as `BuildOptions::target_name` has them.
const TARGET: &str = "dev.lithify.target";
/// Digest of the image's configuration.
const CONFIG: &str = "dev.lithify.config";
/// The chain id of its topmost layer (image-spec, `config.md`): all its layers.
const CHAIN: &str = "dev.lithify.chain";
/// Version of the writer.
const WRITER: &str = "dev.lithify.writer";

/// What a filesystem was made of, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    target: String,
    config: String,
    chain: String,
}

impl Facts {
    /// What a build for that target makes of an image; `None` of one without layers or configuration.
    pub(crate) fn of(image: &Image, target: String) -> Option<Self> {
        let chain: Digest = layer_ids(image, false)?.last()?.chain_id;
        Some(Self {
            target,
            config: image.oci()?.config_digest().to_string(),
            chain: chain.to_string(),
        })
    }

    /// As annotations, with the version of this writer.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        let facts = [
            (TARGET, self.target.as_str()),
            (CONFIG, &self.config),
            (CHAIN, &self.chain),
            (WRITER, crate::description::WRITER_VERSION),
        ];
        let facts = facts.into_iter();
        facts.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// Whether annotations say the same.
    pub(crate) fn are_in(&self, annotations: &BTreeMap<String, String>) -> bool {
        let says = |key, value: &String| annotations.get(key) == Some(value);
        says(TARGET, &self.target) && says(CONFIG, &self.config) && says(CHAIN, &self.chain)
    }

    /// The version of the writer, by annotations.
    pub(crate) fn writer(annotations: &BTreeMap<String, String>) -> Option<&String> {
        annotations.get(WRITER)
    }
}
