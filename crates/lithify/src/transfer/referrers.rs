//! What refers to an image: signatures, root hashes, filesystems made of it.

use lithify_digest::Digest;
use lithify_oci::manifest::{Descriptor, ImageManifest};

/// The subject of a manifest that has one, and how the manifest stands in a list of what refers to that.
pub(crate) fn of(manifest: &Descriptor, bytes: &[u8]) -> Option<(Digest, Descriptor)> {
    let parsed = ImageManifest::parse(bytes, Some(&manifest.media_type)).ok()?;
    let subject = parsed.subject.as_ref()?.digest;
    let mut entry = parsed.described(manifest.digest, manifest.size);
    entry.media_type.clone_from(&manifest.media_type);
    Some((subject, entry))
}
