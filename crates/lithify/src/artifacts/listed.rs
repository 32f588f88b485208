//! Artifacts that are listed as referring to an image.

use std::collections::BTreeSet;
use std::sync::Arc;

use lithify_digest::Digest;
use lithify_oci::manifest::{Descriptor, ImageManifest};
use lithify_oci::{Content, Located};

use crate::Error;
use crate::session::Session;

/// Reads artifacts that a list says to be of a type and to refer to an image. A list is no proof: those that are something else
/// are passed over.
pub(crate) fn read_listed<'a>(
    name: &'a str,
    content: &'a Arc<dyn Content>,
    subject: &'a Digest,
    artifact_type: &'static str,
    listed: impl IntoIterator<Item = Descriptor> + 'a,
    session: &'a Session,
) -> impl Iterator<Item = Result<(Descriptor, ImageManifest), Error>> + 'a {
    let mut seen = BTreeSet::new();
    listed.into_iter().filter_map(move |entry| {
        if !seen.insert(entry.digest) {
            return None;
        }
        let located = Located::new(Arc::clone(content), entry.clone(), Vec::new());
        let bytes = match located.read_manifest(&entry, &session.limits.image) {
            Ok(bytes) => bytes?,
            Err(e) => return Some(Err(Error::opening(name, e))),
        };
        let Ok(manifest) = ImageManifest::parse(&bytes, Some(&entry.media_type)) else {
            log::warn!(
                "{}: it is listed as an artifact, but is none; passed over",
                entry.digest
            );
            return None;
        };
        let refers = manifest.subject.as_ref().map(|s| s.digest) == Some(*subject);
        let is_wanted = refers && manifest.artifact_type.as_deref() == Some(artifact_type);
        if !is_wanted {
            log::info!(
                "{}: it is something else than it is listed as",
                entry.digest
            );
        }
        is_wanted.then_some(Ok((entry, manifest)))
    })
}
