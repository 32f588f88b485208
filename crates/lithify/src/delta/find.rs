//! The cheapest deltas from what the store has to an image of a registry.

use std::ffi::OsStr;

use lithify_digest::Digest;
use lithify_oci::source::Source;
use lithify_oci::{Located, Reference};

use super::apply::DeltaTarget;
use super::artifact::Artifact;
use super::policy::DeltaPolicy;
use super::route::{Shelf, route};
use crate::Error;
use crate::error::DeltaError;
use crate::place::store;
use crate::session::Session;

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
    /// Finds the cheapest deltas whose first old image the store has.
    pub(super) fn find(&self, session: &Session) -> Result<Option<DeltaTarget>, Error> {
        let artifacts = match self.from {
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
                vec![artifact]
            }
            None => {
                let source = Source::Docker(self.reference.clone());
                let shelf = Shelf {
                    name: self.name,
                    place: &self.reference.name(),
                    source: &source,
                    content: &self.located.content,
                };
                let had = |config: &Digest| Ok(store::with_config(config, session)?.is_some());
                match route(&shelf, &[], self.manifest, &had, session)? {
                    Some((artifacts, _)) => artifacts,
                    None => return Ok(None),
                }
            }
        };
        let Some(first) = artifacts.first() else {
            return Ok(None);
        };
        match store::with_config(&first.delta.source_config, session)? {
            Some(base) => DeltaTarget::on_image(artifacts, base, session).map(Some),
            None => Ok(None),
        }
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
