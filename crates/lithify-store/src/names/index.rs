//! `index.json`, of which everything stays that is not changed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use lithify_digest::Digest;
use lithify_oci::Platform;
use lithify_oci::layout::{CONTAINERD_NAME, REF_NAME};
use lithify_oci::manifest::{Descriptor, Index};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{INDEX_ANNOTATION, NAME_ANNOTATION, SUBJECT_ANNOTATION, TAG_ANNOTATION};
use crate::error::{Context as _, Error};
use crate::fault::{IndexError, MAX_INDEX};
use crate::store::OCI_INDEX;
use crate::{Store, sys};

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

/// The name of an entry. `ref.name` is what tools change when they copy an entry, and take away when they give its name
/// to another, so the whole name beside it counts only if the two fit.
fn name_of(descriptor: &Descriptor) -> Option<&str> {
    let text = |key: &str| {
        let text = descriptor.annotations.get(key).map(String::as_str);
        text.filter(|name| !name.is_empty())
    };
    let short = text(REF_NAME)?;
    let of_platform = |name: &str| {
        let rest = short.strip_prefix(name);
        descriptor.platform.is_some() && rest.is_some_and(|r| r.starts_with('@'))
    };
    // containerd's exports have the tag alone in `ref.name`.
    let of_tag = |name: &str| name.strip_suffix(short).is_some_and(|r| r.ends_with(':'));
    let ours = text(NAME_ANNOTATION).filter(|name| of_platform(name));
    let theirs = || text(CONTAINERD_NAME).filter(|name| of_tag(name));
    ours.or_else(theirs).or(Some(short))
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

/// Reads `index.json` in some way.
pub(crate) fn read_as<T>(
    store: &Store,
    parse: impl Fn(&[u8]) -> Result<T, IndexError>,
) -> Result<T, Error> {
    let mut attempts = 0;
    loop {
        match parse(&read_index(store)?) {
            Ok(value) => return Ok(value),
            // skopeo writes it in place: half of it may be there.
            Err(IndexError::Json(_)) if attempts < 5 => {
                attempts += 1;
                store.cancel.wait(Duration::from_millis(5))?;
            }
            Err(e) => return Err(store.index_error(e)),
        }
    }
}

/// The bytes of `index.json`.
pub(super) fn read_index(store: &Store) -> Result<Vec<u8>, Error> {
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
    match sys::read_limited(file, MAX_INDEX).context("read", &path)? {
        Some(bytes) => Ok(bytes),
        None => bad(IndexError::TooLarge),
    }
}

/// `index.json`, as it stands: what is not changed stays byte for byte.
#[derive(Clone, Debug)]
pub(crate) struct Entries {
    /// Everything else.
    object: BTreeMap<String, Box<RawValue>>,
    manifests: Vec<Box<RawValue>>,
    changed: bool,
}

impl Entries {
    pub(crate) fn read(store: &Store) -> Result<Self, Error> {
        read_as(store, Self::parse)
    }

    pub(crate) fn parse(json: &[u8]) -> Result<Self, IndexError> {
        let mut object: BTreeMap<String, Box<RawValue>> = match serde_json::from_slice(json) {
            Ok(object) => object,
            Err(e) if e.is_data() => return Err(IndexError::Form),
            Err(e) => return Err(e.into()),
        };
        let manifests: Option<Vec<_>> = match object.remove("manifests") {
            Some(list) => serde_json::from_str(list.get()).map_err(|_| IndexError::Form)?,
            None => None,
        };
        Ok(Self {
            object,
            // `umoci init` writes null.
            manifests: manifests.unwrap_or_default(),
            changed: false,
        })
    }

    /// An index of what can be understood of these bytes.
    pub(crate) fn salvage(json: &[u8]) -> Vec<u8> {
        let manifests = Self::parse(json).map_or_else(|_| Vec::new(), |entries| entries.manifests);
        let good = manifests.into_iter().filter(|e| descriptor(e).is_some());
        let media_type = r#""application/vnd.oci.image.index.v1+json""#;
        let index = Self {
            object: [("mediaType", media_type), ("schemaVersion", "2")]
                .map(|(key, value)| (key.to_owned(), raw(value.to_owned())))
                .into(),
            manifests: good.collect(),
            changed: true,
        };
        index.to_bytes()
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut object: BTreeMap<&str, Cow<'_, str>> = self
            .object
            .iter()
            .map(|(key, value)| (key.as_str(), value.get().into()))
            .collect();
        object.entry("schemaVersion").or_insert("2".into());
        let list: Vec<_> = self.manifests.iter().map(|m| m.get()).collect();
        object.insert("manifests", format!("[{}]", list.join(",")).into());
        let members = object
            .iter()
            .map(|(key, value)| format!("{}:{value}", Value::from(*key)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into_bytes()
    }

    /// For those who hold the lock of the store.
    pub(crate) fn write(&self, store: &Store) -> Result<(), Error> {
        if !self.changed {
            return Ok(());
        }
        let bytes = self.to_bytes();
        match bytes.len() <= MAX_INDEX {
            true => store.write_plain(OCI_INDEX, &bytes),
            false => Err(store.index_error(IndexError::TooLarge)),
        }
    }

    /// Those with names, sorted by name and platform. Entries that cannot be understood are another tool's.
    pub(crate) fn tagged(&self) -> Vec<Tagged> {
        let mut all: Vec<_> = self.manifests.iter().filter_map(|e| tagged(e)).collect();
        all.sort_by(|a, b| {
            let key = |t: &Tagged| (t.name.clone(), t.descriptor.platform.clone());
            key(a).cmp(&key(b))
        });
        all
    }

    /// Enters a manifest without a name, because it refers to `subject` or has a tag that does, unless it is there.
    pub(crate) fn enter_referrer(
        &mut self,
        subject: &Digest,
        tag: Option<&str>,
        manifest: &Descriptor,
    ) {
        let tag_of = |d: &Descriptor| {
            tag.is_some() && d.annotations.get(TAG_ANNOTATION).map(String::as_str) == tag
        };
        let there = |entry: &RawValue| {
            descriptor(entry)
                .is_some_and(|d| d.digest == manifest.digest && (tag.is_none() || tag_of(&d)))
        };
        if self.manifests.iter().any(|entry| there(entry)) {
            return;
        }
        self.manifests.retain(|entry| {
            !(Referrer::of(entry).is_some() && descriptor(entry).is_some_and(|d| tag_of(&d)))
        });
        let mut entry = manifest.clone();
        let annotations = &mut entry.annotations;
        // Its own annotations are in the manifest; here they could be taken for a name.
        annotations.clear();
        annotations.insert(SUBJECT_ANNOTATION.to_owned(), subject.to_string());
        if let Some(tag) = tag {
            annotations.insert(TAG_ANNOTATION.to_owned(), tag.to_owned());
        }
        self.manifests.push(write_entry(&entry));
        self.changed = true;
    }

    /// The manifests without names.
    pub(crate) fn nameless(&self) -> Vec<Descriptor> {
        let all = self.manifests.iter().filter_map(|e| descriptor(e));
        all.filter(|d| name_of(d).is_none()).collect()
    }

    /// The index without the manifests that are there because of what they refer to, and those.
    pub(crate) fn without_referrers(mut self) -> (Vec<u8>, Vec<Referrer>) {
        let mut referrers = Vec::new();
        self.manifests.retain(|entry| {
            let referrer = Referrer::of(entry);
            let stays = referrer.is_none();
            referrers.extend(referrer);
            stays
        });
        (self.to_bytes(), referrers)
    }

    /// Whether there are manifests that are there because of what they refer to.
    pub(crate) fn has_referrers(&self) -> bool {
        self.manifests
            .iter()
            .any(|entry| Referrer::of(entry).is_some())
    }

    /// Removes manifests that are there because of what they refer to, but are not needed.
    pub(crate) fn retain_referrers(&mut self, needed: &std::collections::BTreeSet<Digest>) {
        let before = self.manifests.len();
        self.manifests
            .retain(|entry| Referrer::of(entry).is_none_or(|r| needed.contains(&r.digest)));
        self.changed |= self.manifests.len() != before;
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
        let texts = |all: &[Box<RawValue>]| {
            let texts = all.iter().map(|entry| entry.get().to_owned());
            texts.collect::<Vec<_>>()
        };
        let before = texts(&self.manifests);
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
        self.changed |= texts(&self.manifests) != before;
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
        self.manifests.retain(|entry| {
            let entry = serde_json::from_str::<Value>(entry.get()).unwrap_or_default();
            entry["digest"].as_str() != Some(&text)
        });
        if self.manifests.len() != before {
            self.changed = true;
            for name in names {
                self.settle(&name);
            }
        }
    }

    /// Gives the name itself to one platform: this host's, or whichever had it, or the first; and others their own names.
    fn settle(&mut self, name: &str) {
        self.manifests.retain(|entry| !is_lost(entry));
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
                let mut descriptor = tagged.descriptor;
                let annotations = &mut descriptor.annotations;
                annotations.insert(REF_NAME.to_owned(), ref_name.clone());
                // Who looks for the name in the layout should find all platforms (lithify-oci does).
                match ref_name == name {
                    true => annotations.remove(CONTAINERD_NAME),
                    false => annotations.insert(CONTAINERD_NAME.to_owned(), name.to_owned()),
                };
                self.manifests[at] = write_entry(&descriptor);
            }
            used.insert(ref_name);
        }
    }
}

/// A manifest that is there because of what it refers to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referrer {
    pub(crate) digest: Digest,
    pub(crate) subject: Digest,
}

impl Referrer {
    /// What got a name counts by that.
    fn of(entry: &RawValue) -> Option<Self> {
        let descriptor = descriptor(entry)?;
        let subject = descriptor.annotations.get(SUBJECT_ANNOTATION)?;
        match name_of(&descriptor) {
            Some(_) => None,
            None => Some(Self {
                digest: descriptor.digest,
                subject: subject.parse().ok()?,
            }),
        }
    }
}

/// The platform of an entry made here.
fn is_ours(tagged: &Tagged) -> Option<Platform> {
    match tagged.descriptor.annotations.get(NAME_ANNOTATION) == Some(&tagged.name) {
        true => tagged.descriptor.platform.clone(),
        false => None,
    }
}

/// Whether an entry was made here and another tool gave its name to another since.
fn is_lost(entry: &RawValue) -> bool {
    descriptor(entry).is_some_and(|d| {
        d.annotations.contains_key(NAME_ANNOTATION) && !d.annotations.contains_key(REF_NAME)
    })
}

fn make_entry(name: &str, descriptor: &Descriptor, index: Option<&Digest>) -> Box<RawValue> {
    let mut descriptor = descriptor.clone();
    let annotations = &mut descriptor.annotations;
    annotations.remove(INDEX_ANNOTATION);
    annotations.remove(CONTAINERD_NAME);
    for key in [REF_NAME, NAME_ANNOTATION] {
        annotations.insert(key.to_owned(), name.to_owned());
    }
    if let Some(index) = index {
        annotations.insert(INDEX_ANNOTATION.to_owned(), index.to_string());
    }
    write_entry(&descriptor)
}

fn write_entry(descriptor: &Descriptor) -> Box<RawValue> {
    #[expect(
        clippy::expect_used,
        reason = "a descriptor has strings, numbers and lists of them, and no keys but strings"
    )]
    serde_json::value::to_raw_value(descriptor).expect("a descriptor can be written as JSON")
}

fn raw(json: String) -> Box<RawValue> {
    #[expect(clippy::expect_used, reason = "called with constants only")]
    RawValue::from_string(json).expect("this is JSON")
}

fn tagged(entry: &RawValue) -> Option<Tagged> {
    descriptor(entry).and_then(Tagged::new)
}

/// An entry, if it is one by lithify's rules.
fn descriptor(entry: &RawValue) -> Option<Descriptor> {
    let json = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entry.get());
    let index = Index::parse(json.as_bytes()).ok()?;
    index.manifests.into_iter().next()
}

#[cfg(test)]
mod tests;
