//! What refers to a manifest: signatures, root hashes, filesystems made of it (distribution-spec 1.1, "Listing Referrers").
//!
//! Registries without that API have the same list under a tag made of the digest, which those who push keep up to
//! date ("Referrers Tag Schema"). Both are the registry's word: whoever uses what is listed reads the manifest by its
//! digest and looks at its `subject`.

use lithify_digest::Digest;
use lithify_oci::manifest::{Descriptor, Document, Index, media_type};

use crate::error::{Error, Operation};
use crate::http::url::encode;
use crate::manifest::ManifestName;
use crate::repository::{Repository, read_manifest};

/// Most referrers of one manifest.
const MAX_REFERRERS: usize = 10_000;
/// Longest list under a tag, in bytes. Registries take manifests of 4 MiB at most.
const MAX_LIST: u64 = 4 << 20;
/// How often an entry is put into a list under a tag that others write at the same time.
const TRIES: usize = 2;

/// What the API for referrers says.
enum Listed {
    Found(Vec<Descriptor>),
    /// It is not there, or does not answer as it should.
    NoApi(Error),
}

/// What is under the tag for referrers.
enum Tagged {
    Nothing,
    /// The list, and the text it was read from, which may say more.
    List(Index, Vec<u8>),
    /// The manifest the tag is made of: some registries take it for its digest.
    Subject,
}

impl Repository {
    /// The manifests whose `subject` is `digest`, each once; with `artifact_type`, only those of that type.
    ///
    /// The registry itself is asked, not its mirrors: they list what they happen to have. Where it has no such API, the
    /// list under the tag is read. A manifest nothing refers to, or that does not exist, has an empty list: so it is where
    /// neither the API nor the tag is there. An API that refuses, or answers with a page, and a tag that is not there say
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Answer`] for a list that is none or too long, and anything a registry may do wrong. With one that
    /// [is a refusal](Error::is_refusal), it is not known what refers to the manifest.
    pub fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let mut found = match self.referrers_by_api(digest, artifact_type)? {
            Listed::Found(found) => found,
            Listed::NoApi(why) => {
                log::info!(
                    "{}: it does not list referrers ({why}); reading the tag",
                    self.name()
                );
                let mut found = match self.referrers_by_tag(digest)? {
                    Tagged::List(index, _) => index.manifests,
                    // An API that may be there, and does not say, is not made up for by a tag that is not there.
                    _ if !why.is_no_such_api() => return Err(why),
                    Tagged::Nothing | Tagged::Subject => Vec::new(),
                };
                found.retain(|d| artifact_type.is_none_or(|t| is_type(d, t)));
                found
            }
        };
        let mut seen = std::collections::HashSet::new();
        found.retain(|d| seen.insert(d.digest));
        Ok(found)
    }

    fn referrers_by_api(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Listed, Error> {
        let operation = Operation::Referrers(Box::new(*digest));
        let mut path = format!("referrers/{digest}");
        if let Some(wanted) = artifact_type {
            path.push_str("?artifactType=");
            path.push_str(&encode(wanted));
        }
        let mut found = Vec::new();
        let mut any = false;
        let pages = self.pages(&path, &operation, |page| {
            // A page of another kind is that of a proxy or of a server that answers 200 to everything. One that does not say
            // its kind is what it is.
            any |= page.head.media_type == media_type::OCI_INDEX;
            let index = match &*page.head.media_type {
                media_type::OCI_INDEX => Index::parse(&page.bytes).ok(),
                "" => match Document::parse(&page.bytes, None) {
                    Ok(Document::Index(index)) => Some(index),
                    _ => None,
                },
                _ => None,
            };
            let index = index.ok_or("no image index in it")?;
            any = true;
            let applied = page
                .head
                .filters
                .split(',')
                .any(|f| f.trim() == "artifactType");
            let fits = |d: &Descriptor| match artifact_type {
                None => true,
                Some(wanted) => is_type(d, wanted) || (applied && d.artifact_type.is_none()),
            };
            found.extend(index.manifests.into_iter().filter(fits));
            match found.len() > MAX_REFERRERS {
                true => Err("more than 10000 referrers"),
                false => Ok(()),
            }
        });
        match pages {
            Ok(()) => Ok(Listed::Found(found)),
            // Half a list is none.
            Err(error) if any || !error.is_refusal() => Err(error),
            Err(error) => Ok(Listed::NoApi(error)),
        }
    }

    fn referrers_by_tag(&self, digest: &Digest) -> Result<Tagged, Error> {
        let operation = Operation::Referrers(Box::new(*digest));
        let session = self.origin();
        let name = ManifestName::Tag(fallback_tag(digest));
        let manifest = match read_manifest(&session, &name, &operation, MAX_LIST) {
            Ok(manifest) => manifest,
            Err(Error::NotFound { .. }) => return Ok(Tagged::Nothing),
            Err(e) => return Err(e),
        };
        if manifest.descriptor.digest == *digest {
            return Ok(Tagged::Subject);
        }
        let answer = |problem| Error::Answer {
            host: session.endpoint.host.clone(),
            operation: operation.clone(),
            problem,
        };
        let declared = &manifest.descriptor.media_type;
        if !declared.is_empty() && declared != media_type::OCI_INDEX {
            return Err(answer("no image index under the tag for referrers"));
        }
        let index = Index::parse(&manifest.bytes)
            .map_err(|_| answer("no image index under the tag for referrers"))?;
        match index.manifests.len() > MAX_REFERRERS {
            true => Err(answer("more than 10000 referrers")),
            false => Ok(Tagged::List(index, manifest.bytes.to_vec())),
        }
    }

    /// Lists a manifest that was put among the referrers of its subject, under the tag. For registries whose answer to
    /// it had [`Stored::lists_referrers`](crate::Stored::lists_referrers) false; `referrer` should have the
    /// manifest's artifact type and annotations.
    ///
    /// Such lists are read, changed and put: of two who do so at once, one may lose. So it is read again, and once more
    /// tried.
    ///
    /// # Errors
    /// [`Error::Answer`] when the tag is no list, or the entry is lost each time; and anything a registry may do wrong.
    pub fn list_referrer(&self, subject: &Digest, referrer: &Descriptor) -> Result<(), Error> {
        for attempt in 0..=TRIES {
            let (list, text) = match self.referrers_by_tag(subject)? {
                Tagged::List(list, text) => (list, text),
                Tagged::Nothing => (Index::new(Vec::new()), b"{}".to_vec()),
                Tagged::Subject => {
                    return Err(Error::Answer {
                        host: self.origin().endpoint.host.clone(),
                        operation: Operation::Referrers(Box::new(*subject)),
                        problem: "the manifest itself under the tag for its referrers",
                    });
                }
            };
            if list.manifests.iter().any(|d| d.digest == referrer.digest) {
                return Ok(());
            }
            if attempt == TRIES {
                break;
            }
            let bytes = with_entry(&text, referrer).map_err(|e| Error::Source {
                operation: Operation::Referrers(Box::new(*subject)),
                source: e.into(),
            })?;
            let digest = Digest::of(lithify_digest::Algorithm::Sha256, &bytes);
            let descriptor = Descriptor::new(media_type::OCI_INDEX, digest, bytes.len() as u64);
            let name = ManifestName::Tag(fallback_tag(subject));
            self.put_manifest(&name, &descriptor, &bytes)?;
        }
        Err(Error::Answer {
            host: self.origin().endpoint.host.clone(),
            operation: Operation::Referrers(Box::new(*subject)),
            problem: "lost what was put into the list of referrers; others write it at the same time, try again",
        })
    }
}

impl Error {
    /// Whether the registry says that it has no such API: not found, not a method, not implemented. Anything else, as 403 or
    /// a page, may come from a proxy or keep back a list that is there.
    fn is_no_such_api(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Status { status, .. } => matches!(status, 405 | 501),
            _ => false,
        }
    }
}

/// Writes the list in `text` with one more entry. Everything else in it stays, also members that are not known here: they
/// are another's.
fn with_entry(text: &[u8], referrer: &Descriptor) -> Result<Vec<u8>, serde_json::Error> {
    let mut list: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text)?;
    list.entry("schemaVersion").or_insert_with(|| 2.into());
    list.insert("mediaType".to_owned(), media_type::OCI_INDEX.into());
    let entry = serde_json::to_value(referrer)?;
    match list.get_mut("manifests") {
        Some(serde_json::Value::Array(entries)) => entries.push(entry),
        // A list of none may say so with `null`.
        _ => {
            list.insert("manifests".to_owned(), vec![entry].into());
        }
    }
    serde_json::to_vec(&list)
}

fn is_type(descriptor: &Descriptor, wanted: &str) -> bool {
    descriptor.artifact_type.as_deref() == Some(wanted)
}

/// The tag with a manifest's referrers: algorithm and digits, at most 32 and 64 of them.
fn fallback_tag(digest: &Digest) -> String {
    let text = digest.to_string();
    let (algorithm, hex) = text.split_once(':').unwrap_or(("", &text));
    let cut = |text: &str, length| text.chars().take(length).collect::<String>();
    format!("{}-{}", cut(algorithm, 32), cut(hex, 64))
}

#[cfg(test)]
mod tests {
    use lithify_digest::Algorithm;

    use super::*;

    #[test]
    fn tags_are_no_longer_than_tags_may_be() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        assert_eq!(fallback_tag(&digest), digest.to_string().replace(':', "-"));
        let digest = Digest::of(Algorithm::Sha512, b"x");
        assert_eq!(
            fallback_tag(&digest),
            format!("sha512-{}", &digest.hex()[..64])
        );
    }
}
