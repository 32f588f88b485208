//! A delta of images, opened.

use std::ffi::OsStr;

use lithify_oci::blob::{self, BlobName};
use lithify_oci::delta::{ARTIFACT_TYPE, Delta, LayerWay};
use lithify_oci::manifest::{Descriptor, Document, ImageConfig, ImageManifest, Index};
use lithify_oci::source::Source;
use lithify_oci::{Located, Platform};

use crate::Error;
use crate::artifacts::read_listed;
use crate::error::DeltaError;
use crate::name::shown;
use crate::place;
use crate::session::Session;

/// A delta, and the target's documents that it holds.
#[derive(Debug)]
pub(super) struct Artifact {
    /// Its name, as it was given.
    pub(super) name: String,
    pub(super) source: Source,
    /// Its parts.
    pub(super) located: Located,
    /// Its manifest.
    pub(super) descriptor: Descriptor,
    pub(super) delta: Delta,
    /// The target's manifest, byte for byte.
    pub(super) manifest: Vec<u8>,
    /// The target's configuration, byte for byte.
    pub(super) config: Vec<u8>,
    /// The target's layers, bottom first.
    pub(super) layers: Vec<LayerWay>,
    /// The platform of the target.
    pub(super) platform: Platform,
}

impl Artifact {
    /// Opens a delta wherever it is. Of an index it is the one for the platform asked for.
    pub(super) fn open(given: &OsStr, session: &Session) -> Result<Self, Error> {
        let name = shown(given);
        let source = Source::parse(given)?;
        let located = place::of(&name, &source)?.locate(&name, session)?;
        Self::of(name, source, located, session)
    }

    /// Opens the delta that a manifest or index is.
    pub(super) fn of(
        name: String,
        source: Source,
        located: Located,
        session: &Session,
    ) -> Result<Self, Error> {
        let limits = &session.limits.image;
        let mut descriptor = located.root.clone();
        let mut manifest = None;
        for _ in 0..limits.index_depth {
            match document(&name, &located, &descriptor, session)? {
                Document::Index(index) => descriptor = choose(&name, &index, session)?,
                Document::Manifest(found) => {
                    manifest = Some(found);
                    break;
                }
                _ => break,
            }
        }
        let limit = limits.index_depth;
        let mut manifest = manifest
            .ok_or_else(|| Error::opening(&*name, lithify_oci::Error::IndexDepth { limit }))?;
        if !Delta::is_one(&manifest)
            && let Some((entry, found)) = beside(&name, &located, &descriptor, session)?
        {
            (descriptor, *manifest) = (entry, found);
        }
        let refused = |source| DeltaError::artifact(&name, source);
        let delta = Delta::parse(&manifest, limits).map_err(refused)?;
        let read = |descriptor: &Descriptor, what: fn(Box<_>) -> BlobName| {
            let read = located.read_config(descriptor, limits);
            let bytes = read.map_err(|e| Error::opening(&*name, e))?;
            bytes.ok_or_else(|| {
                let name_of_blob = what(Box::new(descriptor.digest));
                Error::opening(&*name, blob::Error::Missing { name: name_of_blob })
            })
        };
        let manifest = read(&delta.manifest, BlobName::Manifest)?;
        let config = read(&delta.config, BlobName::Config)?;
        // Its own type counts: oci-delta calls one of Docker's by the type of the OCI too.
        let target = ImageManifest::parse(&manifest, None);
        let target = target.map_err(|e| refused(e.into()))?;
        let mut delta = delta;
        if let Some(media_type) = &target.media_type {
            delta.manifest.media_type.clone_from(media_type);
        }
        let layers = delta.layers_of(&target, &config, limits).map_err(refused)?;
        let platform = ImageConfig::parse(&config).map_err(|e| refused(e.into()))?;
        Ok(Self {
            name,
            source,
            located,
            descriptor,
            delta,
            manifest,
            config,
            layers,
            platform: platform.platform(),
        })
    }

    /// Returns a session that opens images for the target's platform, unless it says one.
    pub(super) fn session_for_base(&self, session: &Session) -> Session {
        let platform = session.platform.clone();
        Session {
            platform: platform.or_else(|| Some(self.platform.clone())),
            ..session.clone()
        }
    }
}

/// Finds the delta that refers to an image, where there is one.
fn beside(
    name: &str,
    located: &Located,
    image: &Descriptor,
    session: &Session,
) -> Result<Option<(Descriptor, ImageManifest)>, Error> {
    let content = &located.content;
    let listed = match content.referrers(&image.digest, Some(ARTIFACT_TYPE)) {
        Ok(listed) => listed,
        Err(blob::Error::Unlisted { .. }) => return Ok(None),
        Err(error) => return Err(Error::opening(name, error)),
    };
    let found = read_listed(name, content, &image.digest, ARTIFACT_TYPE, listed, session);
    let mut found = found.collect::<Result<Vec<_>, Error>>()?;
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(DeltaError::Several {
            name: name.to_owned(),
            deltas: found
                .iter()
                .map(|(entry, _)| entry.digest.to_string())
                .collect(),
        }
        .into()),
    }
}

/// Reads a manifest or an index.
fn document(
    name: &str,
    located: &Located,
    descriptor: &Descriptor,
    session: &Session,
) -> Result<Document, Error> {
    let limits = &session.limits.image;
    let read = located.read_manifest(descriptor, limits);
    let manifest_name = || BlobName::Manifest(Box::new(descriptor.digest));
    let bytes = read.map_err(|e| Error::opening(name, e))?;
    let bytes = bytes.ok_or_else(|| {
        let name_of_blob = manifest_name();
        Error::opening(name, blob::Error::Missing { name: name_of_blob })
    })?;
    Document::parse(&bytes, Some(&descriptor.media_type)).map_err(|source| {
        let name_of_blob = manifest_name();
        Error::opening(
            name,
            lithify_oci::Error::Manifest {
                name: name_of_blob,
                source,
            },
        )
    })
}

/// Chooses the delta for the platform asked for.
fn choose(name: &str, index: &Index, session: &Session) -> Result<Descriptor, Error> {
    let wanted = session.platform.clone().unwrap_or_else(Platform::host);
    let is_delta = |entry: &&Descriptor| entry.artifact_type.as_deref() == Some(ARTIFACT_TYPE);
    let deltas: Vec<&Descriptor> = index.manifests.iter().filter(is_delta).collect();
    let ranked = deltas.iter().filter_map(|entry| {
        let rank = wanted.rank(entry.platform.as_ref()?)?;
        Some((rank, *entry))
    });
    let best = ranked.min_by_key(|(rank, _)| *rank);
    best.map(|(_, entry)| entry.clone()).ok_or_else(|| {
        let there = deltas.iter().filter_map(|entry| entry.platform.as_ref());
        DeltaError::Platform {
            name: name.to_owned(),
            wanted: wanted.to_string(),
            there: there.map(ToString::to_string).collect(),
        }
        .into()
    })
}
