//! The place a delta goes to, and the name it gets there.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use lithify_oci::delta::ARTIFACT_TYPE;
use lithify_oci::manifest::{Descriptor, Document};
use lithify_oci::source::Source;

use super::options::DeltaOptions;
use crate::Error;
use crate::ErrorKind;
use crate::Image;
use crate::error::DeltaError;
use crate::name::shown;
use crate::place::{self, Writing};
use crate::session::Session;
use crate::transfer::{self, Target};

/// A place that takes deltas.
pub(super) struct Destination {
    pub(super) name: String,
    /// A path beside which scratch files have room.
    pub(super) beside: PathBuf,
    source: Source,
    target: Box<dyn Target>,
}

impl Destination {
    /// Finds the place a name says, and touches nothing there.
    pub(super) fn find(
        given: &OsStr,
        options: &DeltaOptions,
        session: &Session,
    ) -> Result<Self, Error> {
        let name = shown(given);
        let source = Source::parse_destination(given)?;
        let takes_deltas = matches!(
            source,
            Source::Oci { .. } | Source::OciArchive { .. } | Source::Docker(_)
        );
        if !takes_deltas {
            return Err(DeltaError::Destination { name }.into());
        }
        let writing = Writing {
            source: None,
            chunk: None,
            durable: options.durable,
            all_platforms: options.all_platforms,
        };
        let target = place::target_of(&name, &source, &writing, session)?;
        let beside = target.scratch();
        Ok(Self {
            name,
            beside,
            source,
            target,
        })
    }

    /// Opens the place, and returns how many blobs may go there at a time.
    pub(super) fn open(
        self,
        session: &Session,
    ) -> Result<(Box<dyn transfer::Destination>, NonZeroUsize), Error> {
        let nature = self.target.nature();
        let workers = place::at_a_time(None, [&self.source], nature, session)?;
        Ok((self.target.open()?, workers))
    }

    /// Looks at what has the name at the place: nothing, deltas, which are replaced, or the new image, for any of its platforms. If it is
    /// that, the delta is found by it, and its manifest is returned.
    pub(super) fn subject(
        &self,
        targets: &[&Image],
        session: &Session,
    ) -> Result<Option<Descriptor>, Error> {
        let is_named = match &self.source {
            Source::Oci { selector, .. } => selector.is_some(),
            Source::Docker(_) => true,
            // A file is replaced as a whole.
            _ => false,
        };
        if !is_named {
            return Ok(None);
        }
        let unnamed = || match &self.source {
            Source::Docker(name) if name.tag().is_none() && name.digest().is_none() => {
                Err(Error::from(DeltaError::NoTag {
                    name: self.name.clone(),
                }))
            }
            _ => Ok(None),
        };
        let located = match place::of(&self.name, &self.source)?.locate(&self.name, session) {
            Ok(located) => located,
            Err(e) if e.kind() == ErrorKind::NotFound => return unnamed(),
            Err(e) => return Err(e),
        };
        let limits = &session.limits.image;
        let root = located.root.clone();
        let read = located.read_manifest(&root, limits);
        let read = read.map_err(|e| Error::opening(&*self.name, e))?;
        let Some(bytes) = read else {
            return unnamed();
        };
        let document = Document::parse(&bytes, Some(&root.media_type));
        let other = || DeltaError::OtherImage {
            name: self.name.clone(),
            digest: Box::new(root.digest),
        };
        let is_delta = |found: Option<&str>| found == Some(ARTIFACT_TYPE);
        let leads_to: Vec<Descriptor> = match document {
            Ok(Document::Manifest(manifest)) if is_delta(manifest.artifact_type.as_deref()) => {
                return unnamed();
            }
            Ok(Document::Manifest(_)) => vec![root.clone()],
            Ok(Document::Index(index)) => {
                let mut entries = index.manifests.iter();
                if entries.all(|entry| is_delta(entry.artifact_type.as_deref())) {
                    return unnamed();
                }
                index.manifests
            }
            _ => return Err(other().into()),
        };
        let digests = targets
            .iter()
            .filter_map(|image| image.oci()?.manifest_digest());
        let digests: Vec<_> = digests.collect();
        let found = leads_to
            .iter()
            .find(|entry| digests.contains(&&entry.digest));
        match found {
            Some(found) => Ok(Some(Descriptor::new(
                &found.media_type,
                found.digest,
                found.size,
            ))),
            None => Err(other().into()),
        }
    }
}
