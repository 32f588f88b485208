//! `index.json` of a layout that is added to.

use serde_json::{Map, Value};

use crate::layout::REF_NAME;
use crate::manifest::{Descriptor, Index};

/// An `index.json` as it stands, with what this version knows nothing of.
#[derive(Debug)]
pub(super) struct Listed {
    document: Map<String, Value>,
    manifests: Vec<Value>,
}

/// Reads an `index.json`. A list that is `null` is what Go writes for an empty one.
pub(super) fn read(json: &[u8]) -> Result<Listed, serde_json::Error> {
    let mut document: Map<String, Value> = serde_json::from_slice(json)?;
    let manifests = document.remove("manifests").unwrap_or_default();
    let manifests: Option<Vec<Value>> = serde_json::from_value(manifests)?;
    Ok(Listed {
        document,
        manifests: manifests.unwrap_or_default(),
    })
}

/// The `index.json` of a layout nothing is in.
pub(super) fn empty() -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Index::new(Vec::new()))
}

impl Listed {
    /// Whether it lists nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.manifests.is_empty()
    }

    /// The document with these entries too. A name is taken from what had it; what has no name is there once, by its digest.
    pub(super) fn with(mut self, added: &[Descriptor]) -> Result<Vec<u8>, serde_json::Error> {
        let empty: Map<String, Value> = serde_json::from_slice(&empty()?)?;
        // What leaves its version out, or says 0 as Go does, is read as 2, but not by everyone.
        if let Some(version) = empty.get("schemaVersion") {
            self.document
                .insert("schemaVersion".to_owned(), version.clone());
        }
        let is_ours = self.manifests.is_empty()
            && self.document.len() + 1 == empty.len()
            && self
                .document
                .iter()
                .all(|(key, value)| empty.get(key) == Some(value));
        if is_ours {
            return serde_json::to_vec(&Index::new(added.to_vec()));
        }
        let name_of = |entry: &Value| entry["annotations"][REF_NAME].clone();
        let added: Vec<Value> = added
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?;
        let names: Vec<_> = added.iter().map(name_of).filter(Value::is_string).collect();
        self.manifests
            .retain(|entry| !names.contains(&name_of(entry)));
        for entry in added {
            let twice =
                |old: &Value| !name_of(&entry).is_string() && old["digest"] == entry["digest"];
            if !self.manifests.iter().any(twice) {
                self.manifests.push(entry);
            }
        }
        self.document
            .insert("manifests".to_owned(), self.manifests.into());
        serde_json::to_vec(&self.document)
    }
}
