//! Signatures that are at a destination already.
//!
//! cosign keeps all signatures of a manifest in one other, under a tag made of the first one's digest. Who puts another
//! manifest under that tag takes away the signatures that were there.

use std::collections::HashSet;
use std::sync::Arc;

use lithify_digest::Digest;
use lithify_oci::manifest::{Descriptor, ImageManifest};
use lithify_oci::{Content, Limits, Located};

use super::plan::Plan;
use crate::Error;
use crate::error::TransferError;

/// What has a tag at a destination.
pub(crate) struct There {
    pub(crate) digest: Digest,
    /// Its bytes; `None` if they are not there, so that nothing can be lost.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// Looks at what has the tags of a plan at its destination. Gives those that need not be put.
///
/// # Errors
/// [`TransferError::SignaturesThere`](crate::TransferError::SignaturesThere) when something would be lost.
pub(crate) fn already_there(
    plan: &Plan,
    mut look: impl FnMut(&str) -> Result<Option<There>, Error>,
) -> Result<HashSet<String>, Error> {
    let mut same = HashSet::new();
    for tag in &plan.tags {
        let Some(There { digest, bytes }) = look(&tag.tag)? else {
            continue;
        };
        if digest == tag.manifest {
            same.insert(tag.tag.clone());
            continue;
        }
        let mut documents = plan.documents.iter();
        let ours = documents.find(|(d, _)| d.digest == tag.manifest);
        let is_kept = match (bytes, ours) {
            (None, _) => true,
            (Some(there), Some((_, ours))) => holds_all(ours, &there),
            (Some(_), None) => false,
        };
        if !is_kept {
            return Err(Error::from(TransferError::SignaturesThere {
                tag: tag.tag.clone(),
                there: Box::new(digest),
                ours: Box::new(tag.manifest),
            }));
        }
    }
    Ok(same)
}

/// Whether a manifest has all that another one has: each signature is a layer, with what makes it one in its annotations.
fn holds_all(new: &[u8], old: &[u8]) -> bool {
    let parse = |bytes| ImageManifest::parse(bytes, None);
    match (parse(new), parse(old)) {
        (Ok(new), Ok(old)) => old.layers.iter().all(|layer| new.layers.contains(layer)),
        _ => false,
    }
}

/// What has a tag in a layout or the store.
pub(crate) fn in_content(
    name: &str,
    content: &Arc<dyn Content>,
    tag: &str,
    limits: &Limits,
) -> Result<Option<There>, Error> {
    let failed = |e: lithify_oci::blob::Error| Error::opening(name, e);
    let Some(descriptor) = content.tagged(tag).map_err(failed)? else {
        return Ok(None);
    };
    let Descriptor { digest, .. } = descriptor;
    let located = Located::new(Arc::clone(content), descriptor, Vec::new());
    let bytes = located
        .read_manifest(&located.root, limits)
        .map_err(failed)?;
    Ok(Some(There { digest, bytes }))
}
