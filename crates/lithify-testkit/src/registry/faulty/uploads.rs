//! Blobs on their way in (distribution-spec, "Pushing Blobs").

use std::sync::Arc;

use super::repository::{State, Upload, is_digest};
use crate::registry::{Answer, Request};

/// Answers a request for `/v2/NAME/blobs/uploads/ID`.
pub(super) fn answer(
    state: &mut State,
    request: &Request,
    name: &str,
    id: &str,
    body: Vec<u8>,
) -> Answer {
    if request.method == "POST" && id.is_empty() {
        return begin(state, request, name, body);
    }
    let least_chunk = state.least_chunk;
    let Some(upload) = state.uploads.get_mut(id) else {
        return Answer::error(
            404,
            "BLOB_UPLOAD_UNKNOWN",
            "blob upload unknown to registry",
        );
    };
    // A client must keep what a location holds beyond the path.
    if matches!(request.method.as_str(), "PATCH" | "PUT") && request.parameter("_state") != Some(id)
    {
        return Answer::error(
            400,
            "BLOB_UPLOAD_INVALID",
            "the location's query is to be kept",
        );
    }
    match request.method.as_str() {
        "GET" => progress(204, state, request, name, id),
        "PATCH" => {
            if !follows(request, upload.bytes.len(), body.len()) {
                return progress(416, state, request, name, id);
            }
            // Only the last chunk may be short, so none may come after one that was.
            if upload.ended {
                return Answer::error(400, "SIZE_INVALID", "the chunk before was too short");
            }
            upload.ended = (body.len() as u64) < least_chunk;
            upload.bytes.extend_from_slice(&body);
            progress(202, state, request, name, id)
        }
        "PUT" => {
            if !follows(request, upload.bytes.len(), body.len()) {
                return progress(416, state, request, name, id);
            }
            let mut bytes = std::mem::take(&mut upload.bytes);
            bytes.extend_from_slice(&body);
            state.uploads.remove(id);
            finish(state, request, name, bytes)
        }
        "DELETE" => {
            state.uploads.remove(id);
            Answer::status(204)
        }
        _ => Answer::error(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

fn begin(state: &mut State, request: &Request, name: &str, body: Vec<u8>) -> Answer {
    if let (Some(digest), true) = (request.parameter("mount"), state.mounts) {
        let from = request.parameter("from");
        let blob = from.and_then(|from| state.repositories.get(from)?.blobs.get(digest).cloned());
        if let Some(blob) = blob {
            state.repository(name).blobs.insert(digest.into(), blob);
            return created(name, digest);
        }
    }
    if request.parameter("digest").is_some() {
        return finish(state, request, name, body);
    }
    state.uploads_begun += 1;
    let id = format!("upload-{}", state.uploads_begun);
    state.uploads.insert(id.clone(), Upload::default());
    let answer = progress(202, state, request, name, &id);
    match state.least_chunk {
        0 => answer,
        least => answer.header("OCI-Chunk-Min-Length", least),
    }
}

fn finish(state: &mut State, request: &Request, name: &str, bytes: Vec<u8>) -> Answer {
    let digest = request.parameter("digest").unwrap_or_default();
    if !is_digest(digest, &bytes) {
        return Answer::error(
            400,
            "DIGEST_INVALID",
            "provided digest did not match uploaded content",
        );
    }
    let blobs = &mut state.repository(name).blobs;
    blobs.insert(digest.into(), Arc::new(bytes));
    created(name, digest)
}

fn created(name: &str, digest: &str) -> Answer {
    Answer::status(201)
        .header("Location", format!("/v2/{name}/blobs/{digest}"))
        .header("Docker-Content-Digest", digest)
}

/// Whether a chunk that says where it belongs belongs to the end of what is there: `Content-Range: FIRST-LAST`.
fn follows(request: &Request, so_far: usize, length: usize) -> bool {
    request.header("content-range").is_none_or(|range| {
        let (first, last) = range.split_once('-').unwrap_or_default();
        first.parse() == Ok(so_far) && last.parse() == Ok((so_far + length).saturating_sub(1))
    })
}

fn progress(status: u16, state: &State, request: &Request, name: &str, id: &str) -> Answer {
    let length = state.uploads.get(id).map_or(0, |u| u.bytes.len());
    let origin = match request.header("host") {
        Some(host) if state.absolute && state.tls => format!("https://{host}"),
        Some(host) if state.absolute => format!("http://{host}"),
        _ => String::new(),
    };
    Answer::status(status)
        .header(
            "Location",
            format!("{origin}/v2/{name}/blobs/uploads/{id}?_state={id}"),
        )
        .header("Docker-Upload-UUID", id)
        .header("Range", format!("0-{}", length.saturating_sub(1)))
}
