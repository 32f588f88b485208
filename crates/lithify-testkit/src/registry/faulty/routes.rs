//! Paths and methods of the distribution specification, "Endpoints".

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::repository::{Manifest, State, is_digest};
use super::uploads;
use crate::registry::lock::lock;
use crate::registry::server::Service;
use crate::registry::{Answer, Kind, Request};

#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) state: Mutex<State>,
}

/// What a path names.
enum Route<'a> {
    Base,
    Catalog,
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    /// With the id of an upload, empty where one is to begin.
    Upload(&'a str, &'a str),
    Tags(&'a str),
    Referrers(&'a str, &'a str),
    Token,
    Other,
}

fn route(path: &str) -> Route<'_> {
    if path == "/token" {
        return Route::Token;
    }
    let Some(rest) = path.strip_prefix("/v2") else {
        return Route::Other;
    };
    match rest.trim_start_matches('/') {
        "" => Route::Base,
        "_catalog" => Route::Catalog,
        rest => {
            // A repository's name may itself hold these words: the last one counts.
            if let Some((name, id)) = rest.rsplit_once("/blobs/uploads") {
                Route::Upload(name, id.trim_matches('/'))
            } else if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
                Route::Blob(name, digest)
            } else if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
                Route::Manifest(name, reference)
            } else if let Some((name, digest)) = rest.rsplit_once("/referrers/") {
                Route::Referrers(name, digest)
            } else if let Some(name) = rest.strip_suffix("/tags/list") {
                Route::Tags(name)
            } else {
                Route::Other
            }
        }
    }
}

impl Service for Registry {
    fn kind(&self, request: &Request) -> Kind {
        match route(&request.path) {
            Route::Base => Kind::Base,
            Route::Manifest(..) => Kind::Manifest,
            Route::Blob(..) => Kind::Blob,
            Route::Upload(..) => Kind::Upload,
            Route::Tags(_) => Kind::Tags,
            Route::Referrers(..) => Kind::Referrers,
            Route::Token => Kind::Token,
            Route::Other if lock(&self.state).files.contains_key(&request.path) => Kind::File,
            Route::Other | Route::Catalog => Kind::Other,
        }
    }

    fn answer(&self, request: &Request, body: Vec<u8>) -> Answer {
        let mut state = lock(&self.state);
        let route = route(&request.path);
        let scope = match route {
            Route::Manifest(name, _)
            | Route::Blob(name, _)
            | Route::Upload(name, _)
            | Route::Tags(name)
            | Route::Referrers(name, _) => Some((name, action(&request.method))),
            _ => None,
        };
        let guarded = !matches!(route, Route::Token | Route::Other);
        let refused = state.demand.as_ref().filter(|_| guarded);
        if let Some(refusal) = refused.and_then(|d| d.refuse(request, scope)) {
            return refusal;
        }
        let answer = match route {
            Route::Base => Answer::status(200).json(&json!({})),
            Route::Catalog => {
                let names: Vec<_> = state.repositories.keys().collect();
                Answer::status(200).json(&json!({ "repositories": names }))
            }
            Route::Manifest(name, reference) => {
                manifest(&mut state, request, name, reference, body)
            }
            Route::Blob(name, digest) => blob(&mut state, request, name, digest),
            Route::Upload(name, id) => uploads::answer(&mut state, request, name, id, body),
            Route::Tags(name) => tags(&state, request, name),
            Route::Referrers(name, digest) => referrers(&state, request, name, digest),
            Route::Token => Answer::status(200).json(&json!({
                "token": "faulty-token", "access_token": "faulty-token", "expires_in": 300,
            })),
            Route::Other => match state.files.get(&request.path) {
                Some(bytes) => Answer::status(200)
                    .header("Accept-Ranges", "bytes")
                    .shared(Arc::clone(bytes))
                    .ranged(request.range()),
                None => Answer::status(404).body("404 page not found\n"),
            },
        };
        answer.header("Docker-Distribution-Api-Version", "registry/2.0")
    }
}

fn action(method: &str) -> &'static str {
    match method {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "push",
    }
}

fn unsupported() -> Answer {
    Answer::error(405, "UNSUPPORTED", "the operation is unsupported")
}

fn manifest(
    state: &mut State,
    request: &Request,
    name: &str,
    reference: &str,
    body: Vec<u8>,
) -> Answer {
    let unknown = || Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    match request.method.as_str() {
        "GET" | "HEAD" => {
            let Some(repository) = state.repositories.get(name) else {
                return Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
            };
            let Some((digest, manifest)) = repository.find(reference) else {
                return unknown();
            };
            Answer::status(200)
                .header("Content-Type", &manifest.media_type)
                .header("Docker-Content-Digest", digest)
                .header("ETag", format!("\"{digest}\""))
                .shared(Arc::clone(&manifest.bytes))
        }
        "PUT" => put_manifest(state, request, name, reference, body),
        "DELETE" => {
            let repository = state.repository(name);
            let removed = if reference.contains(':') {
                repository.tags.retain(|_, digest| digest != reference);
                repository.manifests.remove(reference).is_some()
            } else {
                repository.tags.remove(reference).is_some()
            };
            if removed {
                Answer::status(202)
            } else {
                unknown()
            }
        }
        _ => unsupported(),
    }
}

fn put_manifest(
    state: &mut State,
    request: &Request,
    name: &str,
    reference: &str,
    body: Vec<u8>,
) -> Answer {
    let invalid = |why: &str| Answer::error(400, "MANIFEST_INVALID", why);
    let Ok(parsed) = serde_json::from_slice::<Value>(&body) else {
        return invalid("a manifest is JSON");
    };
    let Some(media_type) = request.header("content-type") else {
        return invalid("a manifest has a type");
    };
    if parsed
        .get("mediaType")
        .is_some_and(|stated| stated != media_type)
    {
        return invalid("the type in the manifest is that of the request");
    }
    let by_digest = reference.contains(':');
    if by_digest && !is_digest(reference, &body) {
        return Answer::error(400, "DIGEST_INVALID", "the manifest has another digest");
    }
    if let Some(missing) = state.repository(name).lacks(&parsed) {
        return Answer::error(404, "MANIFEST_BLOB_UNKNOWN", &missing);
    }
    let manifest = Manifest {
        media_type: media_type.into(),
        bytes: Arc::new(body),
    };
    let tag = (!by_digest).then_some(reference);
    let digest = state.repository(name).put(tag, manifest);
    let mut answer = Answer::status(201)
        .header("Location", format!("/v2/{name}/manifests/{digest}"))
        .header("Docker-Content-Digest", &digest);
    if let Some(subject) = parsed["subject"]["digest"]
        .as_str()
        .filter(|_| state.referrers)
    {
        answer = answer.header("OCI-Subject", subject);
    }
    answer
}

fn blob(state: &mut State, request: &Request, name: &str, digest: &str) -> Answer {
    let unknown = || Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    match request.method.as_str() {
        "GET" | "HEAD" => {
            let repository = state.repositories.get(name);
            let Some(bytes) = repository.and_then(|r| r.blobs.get(digest)) else {
                return unknown();
            };
            let range = request.range().filter(|_| request.method == "GET");
            Answer::status(200)
                .header("Content-Type", "application/octet-stream")
                .header("Accept-Ranges", "bytes")
                .header("Docker-Content-Digest", digest)
                .header("ETag", format!("\"{digest}\""))
                .shared(Arc::clone(bytes))
                .ranged(range)
        }
        "DELETE" => match state.repository(name).blobs.remove(digest) {
            Some(_) => Answer::status(202),
            None => unknown(),
        },
        _ => unsupported(),
    }
}

fn tags(state: &State, request: &Request, name: &str) -> Answer {
    let Some(repository) = state.repositories.get(name) else {
        return Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let asked = request.parameter("n").and_then(|n| n.parse().ok());
    let page = asked.unwrap_or(state.page).min(state.page);
    let last = request.parameter("last").unwrap_or_default();
    let mut rest = repository.tags.keys().filter(|tag| tag.as_str() > last);
    let tags: Vec<_> = rest.by_ref().take(page).collect();
    let mut answer = Answer::status(200);
    if let (Some(_), Some(last)) = (rest.next(), tags.last()) {
        let next = format!("</v2/{name}/tags/list?n={page}&last={last}>; rel=\"next\"");
        answer = answer.header("Link", next);
    }
    answer.json(&json!({ "name": name, "tags": tags }))
}

fn referrers(state: &State, request: &Request, name: &str, digest: &str) -> Answer {
    if !state.referrers {
        return Answer::status(404).body("404 page not found\n");
    }
    let wanted = request.parameter("artifactType");
    let repository = state.repositories.get(name);
    let manifests = repository.map_or_else(Vec::new, |r| r.referrers(digest, wanted));
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
    let answer = Answer::status(200).header("Content-Type", media_type);
    let answer = match wanted {
        Some(_) => answer.header("OCI-Filters-Applied", "artifactType"),
        None => answer,
    };
    answer.body(index.to_string())
}
