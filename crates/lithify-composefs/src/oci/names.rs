//! Names of streams, tags and images.

use lithify_digest::Digest;

use crate::repository::{ErofsFormat, NameError};

const MANIFEST: &str = "oci-manifest-";
const CONFIG: &str = "oci-config-";
const LAYER: &str = "oci-layer-";
const BLOB: &str = "oci-blob-";

/// The directory of tags among the references to streams.
pub(super) const TAGS: &str = "oci";
/// The directory of what refers to images.
const REFERRERS: &str = "oci-referrers";

/// The spellings of characters that a tag's file name cannot have.
const ESCAPES: [(char, &str); 2] = [('%', "%25"), ('/', "%2F")];

/// Returns the name of a manifest's stream.
#[must_use]
pub fn manifest_stream(digest: &Digest) -> String {
    format!("{MANIFEST}{digest}")
}

/// Returns the name of a configuration's stream.
#[must_use]
pub fn config_stream(digest: &Digest) -> String {
    format!("{CONFIG}{digest}")
}

/// Returns the name of a layer's stream: by its diff_id, or the digest of its blob if it is no tar.
#[must_use]
pub fn layer_stream(digest: &Digest) -> String {
    format!("{LAYER}{digest}")
}

/// Returns the name of the stream of any other blob.
#[must_use]
pub fn blob_stream(digest: &Digest) -> String {
    format!("{BLOB}{digest}")
}

/// Returns the digest that the whole of a stream has by its name: for the check of a repository
/// ([`FsckOptions::promised`](crate::repository::FsckOptions::promised)).
#[must_use]
pub fn promised_digest(stream: &str) -> Option<Digest> {
    let digest = [MANIFEST, CONFIG, LAYER, BLOB]
        .iter()
        .find_map(|p| stream.strip_prefix(p))?;
    digest.parse().ok()
}

/// Returns the name by which a configuration's stream needs the image of a format once more, if it
/// was made by so called rules.
#[must_use]
pub fn profile_name(format: ErofsFormat, profile: &str) -> String {
    format!("{}.profile={profile}", image_name(format))
}

pub(super) fn manifest_of(stream: &str) -> Option<Digest> {
    stream.strip_prefix(MANIFEST)?.parse().ok()
}

/// Returns the name by which a configuration's stream needs the image of a format.
#[must_use]
pub const fn image_name(format: ErofsFormat) -> &'static str {
    match format {
        ErofsFormat::V0 | ErofsFormat::V1 => "composefs.image.v1",
        ErofsFormat::V2 => "composefs.image",
    }
}

/// Returns the name of the reference that a tag is.
///
/// # Errors
/// [`NameError`], also for a tag that begins with `@`, with which digests begin where tags may
/// stand.
pub fn tag_reference(tag: &str) -> Result<String, NameError> {
    let reserved = |reason| NameError::Reserved {
        name: tag.to_owned(),
        reason,
    };
    match tag {
        "" => return Err(NameError::Empty),
        "." | ".." => return Err(reserved("directories have it")),
        _ if tag.starts_with('@') => return Err(reserved("digests begin with `@`")),
        _ => {}
    }
    let mut name = format!("{TAGS}/");
    for c in tag.chars() {
        match ESCAPES.iter().find(|(escaped, _)| *escaped == c) {
            Some((_, spelled)) => name.push_str(spelled),
            None => name.push(c),
        }
    }
    Ok(name)
}

/// Returns the tag that a reference to a stream is, if it is one.
#[must_use]
pub fn reference_tag(reference: &str) -> Option<String> {
    let name = reference.strip_prefix(TAGS)?.strip_prefix('/')?;
    Some(tag_of(name))
}

/// Returns the tag of a reference's last component. What is no escape stands for itself.
pub(super) fn tag_of(mut name: &str) -> String {
    let mut tag = String::with_capacity(name.len());
    while let Some(c) = name.chars().next() {
        let escape = ESCAPES
            .iter()
            .find(|(_, spelled)| name.starts_with(spelled));
        let (plain, length) = match escape {
            Some((plain, spelled)) => (*plain, spelled.len()),
            None => (c, c.len_utf8()),
        };
        tag.push(plain);
        name = &name[length..];
    }
    tag
}

/// Returns the name of the reference by which an artifact is kept that refers to an image.
#[must_use]
pub fn referrer_reference(subject: &Digest, artifact: &Digest) -> String {
    format!("{REFERRERS}/{subject}/{artifact}")
}

#[cfg(test)]
mod tests {
    use lithify_digest::Algorithm;

    use super::*;

    #[test]
    fn tags_are_written_as_cfsctl_writes_them() {
        for (tag, name) in [
            ("a:1", "oci/a:1"),
            ("docker.io/library/a:1", "oci/docker.io%2Flibrary%2Fa:1"),
            ("100%", "oci/100%25"),
            ("%2F", "oci/%252F"),
            ("../../x", "oci/..%2F..%2Fx"),
        ] {
            assert_eq!(tag_reference(tag).unwrap(), name);
            assert_eq!(reference_tag(name).as_deref(), Some(tag));
        }
        for tag in ["", ".", "..", "@sha256:00"] {
            tag_reference(tag).unwrap_err();
        }
        assert_eq!(tag_of("a%2f%"), "a%2f%");
    }

    #[test]
    fn names_promise_digests() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        for name in [manifest_stream, config_stream, layer_stream, blob_stream] {
            assert_eq!(promised_digest(&name(&digest)), Some(digest));
        }
        for name in ["oci-layer-", "oci-layer-sha256:00", "other", ""] {
            assert_eq!(promised_digest(name), None);
        }
    }
}
