//! Opening an image of a docker-archive.
//!
//! `manifest.json` lists images, each with the path of its config, its tags and the paths of its layers,
//! lowest first (moby, `image/spec/v1.2.md`). The paths are names within the archive.

use std::collections::BTreeMap;
use std::sync::Arc;

use lithify_digest::{Algorithm, Digest};
use serde::Deserialize;

use super::budget::Budget;
use super::content::LayerStore;
use super::{Image, LayerDescriptor, LayerKind, Listed, ListedPlatform, OpenOptions};
use crate::archive::{Archive, Extent};
use crate::blob::{self, Blob, BlobName, Expected};
use crate::error::DockerArchiveError;
use crate::manifest::{self, ImageConfig};
use crate::platform::{Distinct, Rank};
use crate::reference::Reference;
use crate::source::Selector;
use crate::{Error, Limits};

/// One image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

impl Entry {
    fn tags(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or(&[])
    }

    fn layers(&self) -> &[String] {
        self.layers.as_deref().unwrap_or(&[])
    }
}

/// A config, verified if its name is a digest.
struct Config {
    digest: Digest,
    raw: Vec<u8>,
    parsed: ImageConfig,
}

pub(super) fn open(
    archive: &Archive,
    selector: Option<&Selector>,
    options: &OpenOptions,
) -> Result<Image, Error> {
    let limits = &options.limits;
    let entries = read_entries(archive, limits)?;
    if entries.is_empty() {
        return Err(Error::Empty);
    }
    let mut configs = Configs::new(archive, limits);
    let wanted = options.platform_or_host();
    let mut best: Option<(Rank, &Entry, Digest)> = None;
    let mut several_fit = false;
    let mut there = Distinct::default();
    let mut absent = Vec::new();
    for entry in named(&entries, &mut configs, selector)? {
        let config = match configs.read(&entry.config) {
            // Platforms may be listed and left out; that matters if no other fits.
            Err(Error::Blob(missing @ blob::Error::Missing { .. })) => {
                absent.push(missing);
                continue;
            }
            result => result?,
        };
        let platform = config.parsed.platform();
        match (wanted.rank(&platform), &best) {
            (None, _) => there.add(platform),
            (Some(rank), Some((known, ..))) if rank > *known => {}
            (Some(rank), Some((known, _, digest))) if rank == *known => {
                several_fit |= *digest != config.digest;
            }
            (Some(rank), _) => {
                best = Some((rank, entry, config.digest));
                several_fit = false;
            }
        }
    }
    match best {
        Some(_) if several_fit => Err(several(&entries)),
        Some((_, entry, _)) => load(archive, entry, configs.read(&entry.config)?, limits),
        None => Err(match absent.pop() {
            Some(missing) if there.is_empty() => missing.into(),
            popped => Error::Platform {
                wanted: Box::new(wanted),
                there: there.in_order(),
                absent: absent.len() + usize::from(popped.is_some()),
            },
        }),
    }
}

/// Every image of the archive.
pub(super) fn list(archive: &Archive, limits: &Limits) -> Result<Vec<Listed>, Error> {
    let mut configs = Configs::new(archive, limits);
    let listed = |entry: &Entry| {
        let config = configs.read(&entry.config)?;
        let platform = Some(config.parsed.platform());
        Ok(Listed {
            names: entry.tags().to_vec(),
            digest: config.digest,
            media_type: None,
            platforms: vec![ListedPlatform {
                platform,
                digest: config.digest,
                present: true,
            }],
        })
    };
    read_entries(archive, limits)?.iter().map(listed).collect()
}

fn read_entries(archive: &Archive, limits: &Limits) -> Result<Vec<Entry>, Error> {
    const PATH: &str = "manifest.json";
    let Some(blob) = open_path(archive, PATH)? else {
        let hint = match (
            archive.contains("index.json"),
            archive.contains("repositories"),
        ) {
            (true, _) => "; this is an OCI layout, use oci-archive:FILE",
            (false, true) => return Err(DockerArchiveError::Legacy.into()),
            (false, false) => "",
        };
        return Err(DockerArchiveError::NoManifest { hint }.into());
    };
    let expected = Expected {
        size: None,
        digest: None,
        limit: limits.manifest_bytes,
        option: "manifest_bytes",
    };
    let json = blob::read(blob, BlobName::Path(PATH.to_owned()), expected)?;
    let refused = |source| DockerArchiveError::Json { source };
    manifest::check_docker_keys(&json).map_err(refused)?;
    let entries: Option<Vec<Entry>> = serde_json::from_slice(&json).map_err(|source| {
        refused(manifest::Error::Json {
            what: "list of images",
            source,
        })
    })?;
    let entries = entries.unwrap_or_default();
    let (found, limit) = (entries.len(), limits.index_entries);
    if found > limit {
        return Err(Error::IndexEntries { limit });
    }
    Ok(entries)
}

/// The entries `selector` may mean, at least one.
fn named<'e>(
    entries: &'e [Entry],
    configs: &mut Configs<'_>,
    selector: Option<&Selector>,
) -> Result<Vec<&'e Entry>, Error> {
    let (found, wanted): (Vec<&Entry>, String) = match selector {
        None => {
            // Several entries may be one image: under more tags, or for several platforms.
            let [first, rest @ ..] = entries else {
                return Err(Error::Empty);
            };
            let one = |e: &Entry| e.config == first.config || e.tags() == first.tags();
            if !rest.iter().all(one) {
                return Err(several(entries));
            }
            (entries.iter().collect(), String::new())
        }
        Some(Selector::Index(n)) => (entries.get(*n).into_iter().collect(), format!("@{n}")),
        Some(Selector::Name(name)) => {
            let wanted = name.parse::<Reference>().ok();
            let same = |tag: &String| {
                tag == name
                    || wanted.as_ref().is_some_and(|wanted| {
                        tag.parse::<Reference>()
                            .is_ok_and(|tag| tag.names_same_image(wanted))
                    })
            };
            (
                entries
                    .iter()
                    .filter(|entry| entry.tags().iter().any(same))
                    .collect(),
                name.clone(),
            )
        }
        Some(Selector::Digest(digest)) => {
            let mut found = Vec::new();
            for entry in entries {
                if configs.read(&entry.config)?.digest == *digest {
                    found.push(entry);
                }
            }
            (found, digest.to_string())
        }
    };
    if found.is_empty() {
        return Err(Error::NoSuchImage {
            wanted,
            there: tags(entries),
        });
    }
    Ok(found)
}

fn tags(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .flat_map(|entry| entry.tags().iter().cloned())
        .collect()
}

fn several(entries: &[Entry]) -> Error {
    let there = entries
        .iter()
        .enumerate()
        .flat_map(|(n, entry)| match entry.tags() {
            [] => vec![format!("@{n}")],
            tags => tags.to_vec(),
        });
    Error::Several {
        there: there.collect(),
    }
}

fn load(archive: &Archive, entry: &Entry, config: Config, limits: &Limits) -> Result<Image, Error> {
    let Config {
        digest,
        raw,
        parsed,
    } = config;
    let refused = |source| Error::Manifest {
        name: BlobName::Config(Box::new(digest)),
        source,
    };
    let (found, limit) = (entry.layers().len(), limits.layers);
    if found > limit {
        return Err(refused(manifest::Error::TooMany {
            what: "layers",
            found,
            limit,
            option: "layers",
        }));
    }
    manifest::check_layer_count(found, &parsed).map_err(refused)?;
    let mut layers = Vec::new();
    let mut extents = Vec::new();
    for (path, diff_id) in entry.layers().iter().zip(&parsed.diff_ids) {
        let name = || BlobName::Path(path.clone());
        let extent = archive
            .extent(path)
            .map_err(|source| blob::Error::Archive {
                name: name(),
                source,
            })?
            .ok_or_else(|| blob::Error::Missing { name: name() })?;
        layers.push(LayerDescriptor {
            digest: layout_digest(path),
            size: Some(extent.len),
            kind: LayerKind::Tar,
            media_type: None,
            compression: None,
            diff_id: *diff_id,
            foreign: false,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
        });
        extents.push(extent);
    }
    Ok(Image {
        names: entry.tags().to_vec(),
        manifest: None,
        config_digest: digest,
        raw_config: raw,
        platform: parsed.platform(),
        config: parsed,
        layers,
        content: None,
        store: Arc::new(Extents {
            archive: archive.clone(),
            extents,
        }),
    })
}

/// Reads the configs of an archive, within the bounds on that.
struct Configs<'a> {
    archive: &'a Archive,
    limits: &'a Limits,
    budget: Budget<'a>,
}

impl<'a> Configs<'a> {
    fn new(archive: &'a Archive, limits: &'a Limits) -> Self {
        Self {
            archive,
            limits,
            budget: Budget::new(limits),
        }
    }

    /// Reads the config `path`; if the name says its digest, that is verified.
    fn read(&mut self, path: &str) -> Result<Config, Error> {
        let name = || BlobName::Path(path.to_owned());
        let blob =
            open_path(self.archive, path)?.ok_or_else(|| blob::Error::Missing { name: name() })?;
        self.budget.bytes(blob.len())?;
        let named = config_digest(path);
        let expected = Expected {
            size: None,
            digest: named,
            limit: self.limits.config_bytes,
            option: "config_bytes",
        };
        let raw = blob::read(blob, name(), expected)?;
        let digest = named.unwrap_or_else(|| blob::image_id(&raw));
        let parsed = ImageConfig::parse(&raw).map_err(|source| Error::Manifest {
            name: BlobName::Config(Box::new(digest)),
            source,
        })?;
        Ok(Config {
            digest,
            raw,
            parsed,
        })
    }
}

fn open_path(archive: &Archive, path: &str) -> Result<Option<Blob>, blob::Error> {
    archive
        .open_entry(path)
        .map_err(|source| blob::Error::Archive {
            name: BlobName::Path(path.to_owned()),
            source,
        })
}

/// The digest in a config's name: `HEX.json` (Docker to 24, Podman, skopeo), `blobs/sha256/HEX`
/// (Docker from 25) or `sha256:HEX` (go-containerregistry).
fn config_digest(path: &str) -> Option<Digest> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let hex = path
        .strip_suffix(".json")
        .map(|hex| format!("{}:{hex}", Algorithm::Sha256));
    hex.and_then(|digest| digest.parse().ok())
        .or_else(|| layout_digest(path))
        .or_else(|| path.parse().ok())
}

/// The digest in a path of an OCI layout.
fn layout_digest(path: &str) -> Option<Digest> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// Layers that are ranges of the archive.
#[derive(Debug)]
struct Extents {
    archive: Archive,
    extents: Vec<Extent>,
}

impl LayerStore for Extents {
    fn open_layer(&self, index: usize) -> Result<Option<Blob>, blob::Error> {
        Ok(self
            .extents
            .get(index)
            .map(|extent| self.archive.blob(*extent)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_in_names() {
        let hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        for path in ["{}.json", "./{}.json", "blobs/sha256/{}", "sha256:{}"] {
            assert!(config_digest(&path.replace("{}", hex)).is_some(), "{path}");
        }
        for path in [
            "config.json",
            "{}",
            "x/{}.json",
            "blobs/md5/{}",
            "blobs/sha256/x/{}",
            "{}.tar",
        ] {
            assert!(config_digest(&path.replace("{}", hex)).is_none(), "{path}");
        }
    }
}
