//! `index.json`, of which everything stays that is not changed.

use std::io;
use std::time::Duration;

use lithify_digest::Digest;
use lithify_oci::Platform;
use lithify_oci::layout::{CONTAINERD_NAME, REF_NAME};
use lithify_oci::manifest::{Descriptor, Index};
use serde_json::{Map, Value, json};

use super::INDEX_ANNOTATION;
use crate::error::{Context as _, Error};
use crate::store::OCI_INDEX;
use crate::{Store, sys};

/// Longest `index.json`, in bytes.
pub(crate) const INDEX_FILE_LIMIT: usize = 4 << 20;

/// What is wrong with the list of images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// There is none.
    #[error("it is missing")]
    Missing,
    /// More bytes than it may have.
    #[error("it has more than {INDEX_FILE_LIMIT} bytes")]
    TooLarge,
    /// Not a regular file.
    #[error("it is not a regular file")]
    NotAFile,
    /// Not JSON.
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    /// Not an index.
    #[error("it is not an image index: expected an object with a list `manifests`")]
    Form,
}

/// An image with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tagged {
    /// Its name.
    pub name: String,
    /// Its manifest or index, with all annotations of the entry.
    pub descriptor: Descriptor,
    /// The index its manifest was chosen from.
    pub index: Option<Digest>,
}

impl Tagged {
    fn new(descriptor: Descriptor) -> Option<Self> {
        let name = name_of(&descriptor)?.to_owned();
        let index = descriptor.annotations.get(INDEX_ANNOTATION);
        let index = index.and_then(|text| text.parse().ok());
        Some(Self {
            name,
            descriptor,
            index,
        })
    }

    /// Whether other tools or this one find it by this name.
    pub(super) fn goes_by(&self, name: &str) -> bool {
        self.name == name || self.ref_name() == Some(name)
    }

    /// What other tools find it by. It differs from the name when another platform has that.
    #[must_use]
    pub fn ref_name(&self) -> Option<&str> {
        let name = self.descriptor.annotations.get(REF_NAME);
        name.map(String::as_str)
    }
}

/// The name of an entry. `ref.name` is what tools change when they copy an entry, so the whole reference beside it counts
/// only if the two fit.
fn name_of(descriptor: &Descriptor) -> Option<&str> {
    let text = |key: &str| {
        let text = descriptor.annotations.get(key).map(String::as_str);
        text.filter(|name| !name.is_empty())
    };
    let (Some(whole), Some(short)) = (text(CONTAINERD_NAME), text(REF_NAME)) else {
        return text(CONTAINERD_NAME).or(text(REF_NAME));
    };
    let platform = || {
        short
            .strip_prefix(whole)
            .is_some_and(|r| r.starts_with('@'))
    };
    let tag = || whole.strip_suffix(short).is_some_and(|r| r.ends_with(':'));
    match (descriptor.platform.is_some() && platform()) || tag() {
        true => Some(whole),
        false => Some(short),
    }
}

/// The name of a platform's image where another platform has the name itself. By the grammar of names in image layouts
/// (image-spec, `annotations.md`), and no reference: what is behind its `@` is no digest.
fn platform_name(name: &str, platform: &Platform) -> String {
    let text = platform.to_string();
    let words = |part: &str| {
        part.split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-")
    };
    let parts: Vec<_> = text
        .split('/')
        .map(words)
        .filter(|p| !p.is_empty())
        .collect();
    format!("{name}@{}", parts.join("/"))
}

/// The bytes of `index.json`.
pub(crate) fn read_index(store: &Store) -> Result<Vec<u8>, Error> {
    let path = store.at(OCI_INDEX);
    let bad = |e| Err(store.index_error(e));
    let file = match sys::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return bad(IndexError::Missing),
        Err(e) if crate::lookup::is_odd(&e) => return bad(IndexError::NotAFile),
        Err(e) => return Err(Error::io("open", &path, e)),
    };
    if !file.metadata().context("look at", &path)?.is_file() {
        return bad(IndexError::NotAFile);
    }
    match sys::read_limited(file, INDEX_FILE_LIMIT).context("read", &path)? {
        Some(bytes) => Ok(bytes),
        None => bad(IndexError::TooLarge),
    }
}

/// `index.json`, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entries {
    /// Everything else.
    object: Map<String, Value>,
    manifests: Vec<Value>,
    changed: bool,
}

impl Entries {
    pub(crate) fn read(store: &Store) -> Result<Self, Error> {
        let mut attempts = 0;
        loop {
            match Self::parse(&read_index(store)?) {
                Ok(entries) => return Ok(entries),
                // skopeo writes it in place: half of it may be there.
                Err(IndexError::Json(_)) if attempts < 5 => {
                    attempts += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) => return Err(store.index_error(e)),
            }
        }
    }

    pub(crate) fn parse(json: &[u8]) -> Result<Self, IndexError> {
        let mut object = match serde_json::from_slice(json)? {
            Value::Object(object) => object,
            _ => return Err(IndexError::Form),
        };
        let manifests = match object.remove("manifests") {
            Some(Value::Array(manifests)) => manifests,
            // `umoci init` writes null.
            Some(Value::Null) | None => Vec::new(),
            Some(_) => return Err(IndexError::Form),
        };
        Ok(Self {
            object,
            manifests,
            changed: false,
        })
    }

    /// An index of what can be understood of these bytes.
    pub(crate) fn salvage(json: &[u8]) -> Vec<u8> {
        let manifests = Self::parse(json).map_or_else(|_| Vec::new(), |entries| entries.manifests);
        let good: Vec<_> = manifests
            .into_iter()
            .filter(|entry| descriptor(entry).is_some())
            .collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": good,
        });
        index.to_string().into_bytes()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut object = self.object.clone();
        object
            .entry("schemaVersion")
            .or_insert_with(|| Value::from(2));
        object.insert("manifests".into(), Value::Array(self.manifests.clone()));
        Value::Object(object).to_string().into_bytes()
    }

    /// For those who hold the lock of the store.
    pub(crate) fn write(&self, store: &Store) -> Result<(), Error> {
        if !self.changed {
            return Ok(());
        }
        let bytes = self.to_bytes();
        match bytes.len() <= INDEX_FILE_LIMIT {
            true => store.write_plain(OCI_INDEX, &bytes),
            false => Err(store.index_error(IndexError::TooLarge)),
        }
    }

    /// Those with names, sorted by name and platform. Entries that cannot be understood are another tool's.
    pub(crate) fn tagged(&self) -> Vec<Tagged> {
        let mut all: Vec<_> = self.manifests.iter().filter_map(tagged).collect();
        all.sort_by(|a, b| {
            let key = |t: &Tagged| (t.name.clone(), t.descriptor.platform.clone());
            key(a).cmp(&key(b))
        });
        all
    }

    /// Enters an image, in place of those returned.
    pub(crate) fn enter(
        &mut self,
        name: &str,
        descriptor: &Descriptor,
        index: Option<&Digest>,
    ) -> Vec<Tagged> {
        let platform = descriptor.platform.as_ref();
        let has_name = |t: &Tagged| t.goes_by(name);
        let of_name: Vec<_> = self.tagged().into_iter().filter(has_name).collect();
        if platform.is_some() && of_name.iter().any(|t| Some(&t.descriptor.digest) == index) {
            // The index this manifest belongs to leads to it already.
            return Vec::new();
        }
        let entry = make_entry(name, descriptor, index);
        // What has no platform stands for all of them.
        let gives_way = |t: &Tagged| {
            has_name(t)
                && (platform.is_none()
                    || t.descriptor.platform.is_none()
                    || t.descriptor.platform.as_ref() == platform)
        };
        let before = self.manifests.clone();
        let mut replaced = Vec::new();
        let mut entry = Some(entry);
        let mut manifests = Vec::new();
        for old in std::mem::take(&mut self.manifests) {
            match tagged(&old).filter(gives_way) {
                None => manifests.push(old),
                Some(tagged) => {
                    manifests.extend(entry.take());
                    replaced.push(tagged);
                }
            }
        }
        manifests.extend(entry);
        self.manifests = manifests;
        self.settle(name);
        self.changed |= self.manifests != before;
        replaced.retain(|t| t.descriptor.digest != descriptor.digest);
        replaced
    }

    /// Removes what has this name.
    pub(crate) fn remove(&mut self, name: &str, platform: Option<&Platform>) -> Vec<Tagged> {
        let mut removed = Vec::new();
        self.manifests.retain(|entry| {
            let goes = tagged(entry).filter(|t| {
                t.goes_by(name)
                    && (platform.is_none() || t.descriptor.platform.as_ref() == platform)
            });
            let stays = goes.is_none();
            removed.extend(goes);
            stays
        });
        let mut names: Vec<_> = removed.iter().map(|t| t.name.clone()).collect();
        names.push(name.to_owned());
        names.dedup();
        for name in names {
            self.settle(&name);
        }
        self.changed |= !removed.is_empty();
        removed
    }

    /// Removes the entries that lead to this blob.
    pub(crate) fn drop_digest(&mut self, digest: &Digest) {
        let names: Vec<_> = self.tagged().into_iter().map(|t| t.name).collect();
        let before = self.manifests.len();
        let text = digest.to_string();
        self.manifests
            .retain(|entry| entry["digest"].as_str() != Some(&text));
        if self.manifests.len() != before {
            self.changed = true;
            for name in names {
                self.settle(&name);
            }
        }
    }

    /// Gives the name itself to one platform: this host's, or whichever had it, or the first; and others their own names.
    fn settle(&mut self, name: &str) {
        let mut ours = Vec::new();
        let mut taken = false;
        for (at, entry) in self.manifests.iter().enumerate() {
            let Some(tagged) = tagged(entry) else {
                continue;
            };
            if tagged.name != name {
                continue;
            }
            match is_ours(&tagged) {
                Some(platform) => ours.push((at, platform, tagged)),
                // Another tool's; it is not for us to rename.
                None => taken |= tagged.ref_name() == Some(name),
            }
        }
        let host = Platform::host();
        let holder = ours
            .iter()
            .position(|(_, platform, _)| *platform == host)
            .or_else(|| ours.iter().position(|(_, _, t)| t.ref_name() == Some(name)))
            .unwrap_or(0);
        let mut used = std::collections::BTreeSet::new();
        for (n, (at, platform, tagged)) in ours.into_iter().enumerate() {
            let mut ref_name = match n == holder && !taken {
                true => name.to_owned(),
                false => platform_name(name, &platform),
            };
            if used.contains(&ref_name) {
                ref_name = format!("{ref_name}-{}", &tagged.descriptor.digest.hex()[..12]);
            }
            if tagged.ref_name() != Some(&ref_name) {
                self.manifests[at]["annotations"][REF_NAME] = Value::from(ref_name.clone());
            }
            used.insert(ref_name);
        }
    }
}

/// The platform of an entry made here.
fn is_ours(tagged: &Tagged) -> Option<Platform> {
    let whole = tagged.descriptor.annotations.get(CONTAINERD_NAME);
    match whole == Some(&tagged.name) {
        true => tagged.descriptor.platform.clone(),
        false => None,
    }
}

fn make_entry(name: &str, descriptor: &Descriptor, index: Option<&Digest>) -> Value {
    let mut descriptor = descriptor.clone();
    let annotations = &mut descriptor.annotations;
    annotations.remove(INDEX_ANNOTATION);
    for key in [REF_NAME, CONTAINERD_NAME] {
        annotations.insert(key.to_owned(), name.to_owned());
    }
    if let Some(index) = index {
        annotations.insert(INDEX_ANNOTATION.to_owned(), index.to_string());
    }
    // A descriptor has strings, numbers and lists of them, and no keys but strings.
    serde_json::to_value(&descriptor).unwrap_or_default()
}

fn tagged(entry: &Value) -> Option<Tagged> {
    descriptor(entry).and_then(Tagged::new)
}

/// An entry, if it is one by lithify's rules.
fn descriptor(entry: &Value) -> Option<Descriptor> {
    let json = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
    let index = Index::parse(json.as_bytes()).ok()?;
    index.manifests.into_iter().next()
}
