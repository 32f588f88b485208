//! The cheapest way to an image, said and not taken.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use lithify_digest::Digest;
use serde::Serialize;

use super::artifact::Artifact;
use super::inspect::total;
use super::route::{Shelf, route};
use crate::Error;
use crate::Image;
use crate::error::DeltaError;
use crate::name::shown;
use crate::session::Session;

/// The cheapest way from images to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeltaPlan {
    /// The name of the image that is wanted.
    pub name: String,
    /// Digest of its manifest.
    pub target: String,
    /// Bytes of its layers that no image which is there has: what is transferred without deltas.
    pub changed_bytes: u64,
    /// The deltas, in the order they are applied; none where there are none, or where they are not cheaper.
    pub deltas: Vec<DeltaPlanStep>,
    /// Bytes of the deltas.
    pub delta_bytes: u64,
}

/// A delta of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeltaPlanStep {
    /// Its name.
    pub name: String,
    /// Digest of its manifest.
    pub digest: String,
    /// Digest of the configuration of the image that it is for.
    pub source_config: String,
    /// Digest of the manifest of the image that it makes.
    pub target: String,
    /// Bytes of what it has for layers.
    pub bytes: u64,
}

/// Says by which deltas an image is had at the least cost where others are there. Deltas are looked for among what refers to the image
/// in its place, to the images that these are for, and so on; `others` are deltas that are elsewhere. Nothing is transferred but
/// documents.
///
/// # Errors
/// What is wrong with the images, or with one of `others`.
pub fn plan_delta<S: AsRef<OsStr>>(
    have: &[S],
    want: impl AsRef<OsStr>,
    others: &[S],
    session: &Session,
) -> Result<DeltaPlan, Error> {
    plan(have, want.as_ref(), others, session).map_err(|e| session.reason(e))
}

fn plan<S: AsRef<OsStr>>(
    have: &[S],
    want: &OsStr,
    others: &[S],
    session: &Session,
) -> Result<DeltaPlan, Error> {
    let image = Image::open(want, session)?;
    let no_manifest = |name: &str| {
        Error::from(DeltaError::NoManifest {
            name: name.to_owned(),
        })
    };
    let described = image.oci().and_then(|oci| {
        let (manifest, content) = (oci.manifest_digest()?, oci.content()?);
        Some((oci, manifest, content))
    });
    let (oci, manifest, content) = described.ok_or_else(|| no_manifest(image.name()))?;
    let for_have = Session {
        platform: Some(oci.platform().clone()),
        ..session.clone()
    };
    let (mut configs, mut tars) = (BTreeSet::new(), BTreeSet::new());
    for name in have {
        let image = Image::open(name, &for_have)?;
        let oci = image.oci().ok_or_else(|| no_manifest(image.name()))?;
        configs.insert(*oci.config_digest());
        tars.extend(oci.layers().iter().map(|layer| layer.diff_id));
    }
    let others: Result<Vec<_>, _> = others
        .iter()
        .map(|name| Artifact::open(name.as_ref(), &for_have))
        .collect();
    let missing = oci.layers().iter().filter(|l| !tars.contains(&l.diff_id));
    let mut plan = DeltaPlan {
        name: shown(want),
        target: manifest.to_string(),
        changed_bytes: total(missing.filter_map(|layer| layer.size)),
        deltas: Vec::new(),
        delta_bytes: 0,
    };
    let shelf = Shelf {
        name: image.name(),
        place: image.name(),
        source: image.source(),
        content,
    };
    let had = |config: &Digest| Ok(configs.contains(config));
    if let Some((deltas, bytes)) = route(&shelf, &others?, manifest, &had, session)?
        && bytes < plan.changed_bytes
    {
        plan.delta_bytes = bytes;
        plan.deltas = deltas.iter().map(step).collect();
    }
    Ok(plan)
}

fn step(artifact: &Artifact) -> DeltaPlanStep {
    let layers = artifact.delta.layers.iter();
    DeltaPlanStep {
        name: artifact.name.clone(),
        digest: artifact.descriptor.digest.to_string(),
        source_config: artifact.delta.source_config.to_string(),
        target: artifact.delta.target.to_string(),
        bytes: total(layers.map(|layer| layer.blob.size)),
    }
}
