//! What is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use super::Demand;
use crate::snapshot::hex;

/// Everything a registry knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) repositories: BTreeMap<String, Repository>,
    pub(super) files: BTreeMap<String, Arc<Vec<u8>>>,
    pub(super) uploads: BTreeMap<String, Upload>,
    pub(super) uploads_begun: u64,
    pub(super) tls: bool,
    pub(super) demand: Option<Demand>,
    pub(super) referrers: bool,
    pub(super) mounts: bool,
    pub(super) absolute: bool,
    pub(super) least_chunk: u64,
    pub(super) page: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            repositories: BTreeMap::new(),
            files: BTreeMap::new(),
            uploads: BTreeMap::new(),
            uploads_begun: 0,
            tls: false,
            demand: None,
            referrers: true,
            mounts: true,
            absolute: false,
            least_chunk: 0,
            page: 100,
        }
    }
}

impl State {
    pub(super) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.into()).or_default()
    }
}

/// A blob on its way in.
#[derive(Debug, Default)]
pub(super) struct Upload {
    pub(super) bytes: Vec<u8>,
    /// A chunk was so short that it must be the last.
    pub(super) ended: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Arc<Vec<u8>>,
}

/// One repository: by digest what it holds, by tag which digest.
#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) blobs: BTreeMap<String, Arc<Vec<u8>>>,
    pub(super) manifests: BTreeMap<String, Manifest>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Repository {
    pub(super) fn put(&mut self, tag: Option<&str>, manifest: Manifest) -> String {
        let digest = digest(&manifest.bytes);
        if let Some(tag) = tag {
            self.tags.insert(tag.into(), digest.clone());
        }
        self.manifests.insert(digest.clone(), manifest);
        digest
    }

    /// The manifest a tag or digest names, with its digest.
    pub(super) fn find(&self, reference: &str) -> Option<(&str, &Manifest)> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        let (digest, manifest) = self.manifests.get_key_value(digest)?;
        Some((digest, manifest))
    }

    /// The first digest a manifest names that is not here. What is fetched elsewhere (`urls`) need not be.
    pub(super) fn lacks(&self, manifest: &Value) -> Option<String> {
        let list = |key: &str| manifest[key].as_array().into_iter().flatten();
        let blobs = list("layers").chain(manifest.get("config"));
        let missing_blob = blobs
            .filter(|d| d.get("urls").is_none())
            .filter_map(|d| d["digest"].as_str())
            .find(|d| !self.blobs.contains_key(*d));
        let missing_manifest = list("manifests")
            .filter_map(|d| d["digest"].as_str())
            .find(|d| !self.manifests.contains_key(*d));
        missing_blob.or(missing_manifest).map(str::to_owned)
    }

    /// Descriptors of the manifests about another one (distribution-spec, "Listing Referrers").
    pub(super) fn referrers(&self, subject: &str, artifact_type: Option<&str>) -> Vec<Value> {
        let described = self.manifests.iter().filter_map(|(digest, manifest)| {
            let parsed: Value = serde_json::from_slice(&manifest.bytes).ok()?;
            if parsed["subject"]["digest"] != subject {
                return None;
            }
            // Without a type of its own, an artifact is what its config is.
            let artifact = match &parsed["artifactType"] {
                Value::String(kind) => kind.clone(),
                _ => parsed["config"]["mediaType"].as_str()?.to_owned(),
            };
            let mut descriptor = json!({
                "mediaType": manifest.media_type,
                "digest": digest,
                "size": manifest.bytes.len(),
                "artifactType": artifact,
            });
            if let Some(annotations) = parsed.get("annotations") {
                descriptor["annotations"] = annotations.clone();
            }
            Some(descriptor)
        });
        described
            .filter(|d| artifact_type.is_none_or(|wanted| d["artifactType"] == wanted))
            .collect()
    }
}

/// `sha256:HEX` of bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Whether bytes have a digest, by SHA-256 or SHA-512.
pub(super) fn is_digest(text: &str, bytes: &[u8]) -> bool {
    match text.split_once(':') {
        Some(("sha256", hash)) => hash == hex(&Sha256::digest(bytes)),
        Some(("sha512", hash)) => hash == hex(&Sha512::digest(bytes)),
        _ => false,
    }
}
