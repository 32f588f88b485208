//! One repository: what it holds, wherever that is got from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lithify_digest::{Algorithm, Digest};
use lithify_oci::manifest::{Descriptor, media_type};

use crate::document::{Document, Head, Wanted};
use crate::error::{Error, Operation};
use crate::givers::Givers;
use crate::http::Failure;
use crate::manifest::{Manifest, ManifestName};
use crate::session::{Endpoint, Session, Shared, To};

/// All forms of manifests that are understood.
const MANIFESTS: [&str; 4] = [
    media_type::OCI_MANIFEST,
    media_type::OCI_INDEX,
    media_type::DOCKER_MANIFEST,
    media_type::DOCKER_LIST,
];

/// The limit's name in `lithify_oci::Limits`.
const MANIFEST_BYTES: &str = "manifest_bytes";

/// How many times the time of one answer (`answer`) a list may take that comes in pages.
const PAGES_TIME: u32 = 10;

/// A repository of a registry, with the mirrors configured for it.
#[derive(Clone, Debug)]
pub struct Repository {
    shared: Arc<Shared>,
    /// In the order to try; the registry itself is last.
    endpoints: Arc<[Endpoint]>,
    /// The endpoint that answered last.
    preferred: Arc<AtomicUsize>,
    /// Which endpoints gave the blobs that were read.
    givers: Arc<Givers>,
}

impl Repository {
    pub(crate) fn new(shared: Arc<Shared>, endpoints: Vec<Endpoint>) -> Self {
        Self {
            shared,
            endpoints: endpoints.into(),
            preferred: Arc::default(),
            givers: Arc::default(),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    pub(crate) fn session(&self, endpoint: usize) -> Session<'_> {
        Session {
            shared: &self.shared,
            endpoint: &self.endpoints[endpoint],
        }
    }

    /// The registry itself: what is written goes nowhere else.
    pub(crate) fn origin(&self) -> Session<'_> {
        self.session(self.endpoints.len() - 1)
    }

    pub(crate) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    pub(crate) fn prefer(&self, endpoint: usize) {
        self.preferred.store(endpoint, Ordering::Relaxed);
    }

    pub(crate) fn givers(&self) -> &Givers {
        &self.givers
    }

    /// Has a blob that was not what its digest says asked for anew when it is opened next: as a whole where it came in
    /// parts, since any of them may be what is wrong; else from the places after the one that gave it. Whether there is
    /// another way.
    pub fn distrust(&self, digest: &Digest) -> bool {
        match self.givers.wrong(digest, self.endpoints.len()) {
            Some(next) => {
                if next > self.preferred() {
                    self.prefer(next);
                }
                true
            }
            None => false,
        }
    }

    /// The hosts that gave a blob when it was read last; none where there is only one that could.
    #[must_use]
    pub fn given_by(&self, digest: &Digest) -> Vec<String> {
        if self.endpoints.len() == 1 {
            return Vec::new();
        }
        let endpoints = self.givers.endpoints(digest);
        let host = |index: usize| Some(self.endpoints.get(index)?.host.clone());
        endpoints.into_iter().filter_map(host).collect()
    }

    /// The registry's host and the repository's name there.
    #[must_use]
    pub fn name(&self) -> String {
        let origin = self.origin().endpoint;
        format!("{}/{}", origin.registry, origin.repository)
    }

    /// Most blobs to transfer with it at the same time, if that is configured.
    #[must_use]
    pub fn max_connections(&self) -> Option<usize> {
        let configured = self
            .endpoints
            .iter()
            .filter_map(|e| e.config.max_connections);
        configured.min().and_then(|n| usize::try_from(n).ok())
    }

    /// The host that answered last.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.endpoints[self.preferred()].host
    }

    /// Reads a manifest or index of `limit` bytes at most. `None` if there is none of that name.
    ///
    /// # Errors
    /// [`Error::Digest`] when it is not what its digest says, and anything a registry may do wrong.
    pub fn manifest(&self, name: &ManifestName, limit: u64) -> Result<Option<Manifest>, Error> {
        let operation = self.manifest_operation(name);
        self.ask_in_turn(name, |session| {
            read_manifest(session, name, &operation, limit)
        })
    }

    /// Reads a manifest or index as [`manifest`](Self::manifest) does, of the registry itself, not of its mirrors: what is
    /// there before something else is put there.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest).
    pub fn own_manifest(&self, name: &ManifestName, limit: u64) -> Result<Option<Manifest>, Error> {
        let operation = self.manifest_operation(name);
        match read_manifest(&self.origin(), name, &operation, limit) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn manifest_operation(&self, name: &ManifestName) -> Operation {
        let repository = &self.origin().endpoint.repository;
        Operation::Manifest(match name {
            ManifestName::Tag(tag) => format!("{repository}:{tag}"),
            ManifestName::Digest(digest) => format!("{repository}@{digest}"),
        })
    }

    /// What a manifest is, without reading it, as far as the registry tells. `None` if there is none of that name.
    ///
    /// # Errors
    /// Anything a registry may do wrong.
    pub fn resolve(&self, name: &ManifestName, limit: u64) -> Result<Option<Descriptor>, Error> {
        let operation = self.manifest_operation(name);
        let wanted = Wanted {
            operation: &operation,
            headers: &accept(),
            limit: (limit, MANIFEST_BYTES),
        };
        self.ask_in_turn(name, |session| {
            let head = session.head(To::Repository(&format!("manifests/{name}")), &wanted)?;
            if let (ManifestName::Digest(wanted), Some(found)) = (name, head.digest)
                && *wanted != found
                && wanted.algorithm() == found.algorithm()
            {
                return Err(Error::Digest {
                    host: session.endpoint.host.clone(),
                    operation: operation.clone(),
                    found: Box::new(found),
                });
            }
            let digest = match name {
                ManifestName::Digest(digest) => Some(*digest),
                ManifestName::Tag(_) => head.digest,
            };
            // A mirror may be a page for browsers, which has a length, too.
            let is_manifest =
                !session.endpoint.mirror || MANIFESTS.contains(&head.media_type.as_str());
            match (digest, head.length) {
                (Some(digest), Some(size)) if is_manifest => {
                    Ok(Descriptor::new(&head.media_type, digest, size))
                }
                // A registry that does not say has to be read.
                _ => Ok(read_manifest(session, name, &operation, limit)?.descriptor),
            }
        })
    }

    /// The tags, in the registry's order.
    ///
    /// # Errors
    /// Anything a registry may do wrong; more than a million tags are one of the things.
    pub fn tags(&self) -> Result<Vec<String>, Error> {
        #[derive(serde::Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        const MAX_TAGS: usize = 1_000_000;

        let operation = Operation::Tags;
        let mut tags = Vec::new();
        self.pages("tags/list?n=1000", &operation, |page| {
            let page: Page =
                serde_json::from_slice(&page.bytes).map_err(|_| "no list of tags in it")?;
            tags.extend(page.tags.unwrap_or_default());
            match tags.len() > MAX_TAGS {
                true => Err("more than a million tags"),
                false => Ok(()),
            }
        })?;
        Ok(tags)
    }

    /// Reads a list that may come in several pages (distribution-spec, "Listing Tags": the `Link` header). Each page has the
    /// time of an answer; all of them together have [`PAGES_TIME`] times that.
    pub(crate) fn pages(
        &self,
        path: &str,
        operation: &Operation,
        mut page: impl FnMut(&Document) -> Result<(), &'static str>,
    ) -> Result<(), Error> {
        const MAX_PAGE: u64 = 16 << 20;
        const MAX_PAGES: usize = 10_000;

        let session = self.origin();
        let answer = |problem| Error::Answer {
            host: session.endpoint.host.clone(),
            operation: operation.clone(),
            problem,
        };
        let wanted = Wanted {
            operation,
            headers: &[],
            limit: (MAX_PAGE, "page_bytes"),
        };
        let longest = session.endpoint.profile.timeouts.answer * PAGES_TIME;
        let (mut next, begun) = (None, Instant::now());
        for _ in 0..MAX_PAGES {
            let to = match &next {
                None => To::Repository(path),
                Some(url) => To::Url(url),
            };
            let document = session.document(to, &wanted)?;
            page(&document).map_err(answer)?;
            let Head {
                next: link, url, ..
            } = document.head;
            let Some(link) = link else { return Ok(()) };
            let to = url
                .join(&link)
                .map_err(|e| session.location(operation, e.into()))?;
            session
                .check_location(&url, &to)
                .map_err(|e| session.location(operation, e))?;
            if to == url {
                return Err(answer("a next page that is this one"));
            }
            if begun.elapsed() > longest {
                return Err(session.transport(operation, Failure::late(), 1));
            }
            next = Some(to);
        }
        Err(answer("more pages than any list has"))
    }

    /// Asks one endpoint after the other. `None` if the last one does not have it.
    fn ask_in_turn<T>(
        &self,
        name: &ManifestName,
        mut ask: impl FnMut(&Session<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let last = self.endpoints.len() - 1;
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if !endpoint.serves(name) {
                continue;
            }
            if endpoint.mirror {
                log::info!("{name}: asking the mirror {}", endpoint.host);
            } else {
                log::info!("{name}: asking {}", endpoint.host);
            }
            match ask(&self.session(index)) {
                Ok(found) => {
                    self.prefer(index);
                    return Ok(Some(found));
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) if index < last => log::info!("{error}; going on with the next place"),
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

pub(crate) fn accept() -> [(&'static str, String); 1] {
    [("accept", MANIFESTS.join(", "))]
}

pub(crate) fn read_manifest(
    session: &Session<'_>,
    name: &ManifestName,
    operation: &Operation,
    limit: u64,
) -> Result<Manifest, Error> {
    let wanted = Wanted {
        operation,
        headers: &accept(),
        limit: (limit, MANIFEST_BYTES),
    };
    let Document { bytes, head } =
        session.document(To::Repository(&format!("manifests/{name}")), &wanted)?;
    // What was asked for decides; where nothing was, the registry's word has to be true.
    let expected = match name {
        ManifestName::Digest(digest) => Some(*digest),
        ManifestName::Tag(_) => head.digest,
    };
    let algorithm = expected.map_or(Algorithm::Sha256, |d| d.algorithm());
    let found = Digest::of(algorithm, &bytes);
    if expected.is_some_and(|expected| expected != found) {
        return Err(Error::Digest {
            host: session.endpoint.host.clone(),
            operation: operation.clone(),
            found: Box::new(found),
        });
    }
    // The registry may have what we do not understand, and saying so is for others; who stands in for it and has something
    // else, such as a page for browsers, does not have it.
    if session.endpoint.mirror
        && let Err(error) = lithify_oci::manifest::Document::parse(&bytes, Some(&head.media_type))
    {
        log::info!("{}: {error}", session.endpoint.host);
        return Err(Error::Answer {
            host: session.endpoint.host.clone(),
            operation: operation.clone(),
            problem: "no manifest",
        });
    }
    let descriptor = Descriptor::new(&head.media_type, found, bytes.len() as u64);
    Ok(Manifest { descriptor, bytes })
}
