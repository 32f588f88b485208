//! The cheapest delta from what the store has to an image of a registry.

use std::ffi::OsStr;

use lithify_digest::Digest;
use lithify_oci::blob;
use lithify_oci::delta::{ARTIFACT_TYPE, Delta};
use lithify_oci::source::Source;
use lithify_oci::{Located, Reference};

use super::apply::DeltaTarget;
use super::artifact::Artifact;
use super::policy::DeltaPolicy;
use crate::Error;
use crate::artifacts::read_listed;
use crate::error::DeltaError;
use crate::place::store;
use crate::session::Session;

/// Most deltas of one image that are read.
const MAX_DELTAS: usize = 64;

/// An image of a registry that deltas are looked for.
pub(super) struct Wanted<'a> {
    /// The image's name.
    pub(super) name: &'a str,
    pub(super) reference: &'a Reference,
    /// The place of the image.
    pub(super) located: &'a Located,
    /// The digest of its manifest.
    pub(super) manifest: &'a Digest,
    /// The place of the delta, if it is not among what refers to the image.
    pub(super) from: Option<&'a OsStr>,
}

impl Wanted<'_> {
    /// Finds the smallest delta whose old image the store has.
    pub(super) fn find(&self, session: &Session) -> Result<Option<DeltaTarget>, Error> {
        let artifact = match self.from {
            Some(from) => {
                let artifact = Artifact::open(from, session)?;
                if artifact.delta.target != *self.manifest {
                    return Err(DeltaError::OtherTarget {
                        name: artifact.name,
                        found: Box::new(artifact.delta.target),
                        expected: Box::new(*self.manifest),
                    }
                    .into());
                }
                Some(artifact)
            }
            None => self.referring(session)?,
        };
        let Some(artifact) = artifact else {
            return Ok(None);
        };
        let Some(base) = store::with_config(&artifact.delta.source_config, session)? else {
            return Ok(None);
        };
        DeltaTarget::on_image(artifact, base, session).map(Some)
    }

    /// Finds the smallest delta among what refers to the image.
    fn referring(&self, session: &Session) -> Result<Option<Artifact>, Error> {
        let content = &self.located.content;
        let mut listed = match content.referrers(self.manifest, Some(ARTIFACT_TYPE)) {
            Ok(listed) => listed,
            Err(error @ blob::Error::Unlisted { .. }) => {
                log::warn!("{error}; no delta is looked for");
                return Ok(None);
            }
            Err(error) => return Err(Error::opening(self.name, error)),
        };
        if listed.len() > MAX_DELTAS {
            log::warn!(
                "{}: of {} deltas that refer to it, {MAX_DELTAS} are looked at",
                self.name,
                listed.len()
            );
            listed.truncate(MAX_DELTAS);
        }
        let limits = &session.limits.image;
        let mut best: Option<(u64, Artifact)> = None;
        let manifests = read_listed(
            self.name,
            content,
            self.manifest,
            ARTIFACT_TYPE,
            listed,
            session,
        );
        for found in manifests {
            let (entry, manifest) = found?;
            let delta = match Delta::parse(&manifest, limits) {
                Ok(delta) => delta,
                Err(e) => {
                    log::warn!("{}: {e}; passed over", entry.digest);
                    continue;
                }
            };
            let size = delta.layers.iter().map(|layer| layer.blob.size).sum();
            let is_better = best.as_ref().is_none_or(|(least, _)| size < *least);
            if !is_better || store::with_config(&delta.source_config, session)?.is_none() {
                continue;
            }
            let name = format!("{}@{}", self.reference.name(), entry.digest);
            let source = Source::Docker(self.reference.clone());
            let located = Located::new(content.clone(), entry, Vec::new());
            match Artifact::of(name, source, located, session) {
                Ok(artifact) => best = Some((size, artifact)),
                Err(e) if session.cancel.is_cancelled() => return Err(e),
                Err(e) => log::warn!("{}; passed over", e.report()),
            }
        }
        Ok(best.map(|(_, artifact)| artifact))
    }
}

/// Says that there is no delta, if there has to be one.
pub(super) fn none<T>(policy: DeltaPolicy, name: &str) -> Result<Option<T>, Error> {
    match policy {
        DeltaPolicy::Require => Err(DeltaError::NoDelta {
            name: name.to_owned(),
        }
        .into()),
        DeltaPolicy::Never | DeltaPolicy::Auto => Ok(None),
    }
}
