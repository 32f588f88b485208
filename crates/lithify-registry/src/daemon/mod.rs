//! Images of a daemon on this machine: the part of the Docker Engine API that `docker save` and `docker load` use.
//!
//! Docker and Podman both speak it on a unix socket. Nothing in it authenticates: who may open the socket may do
//! everything. A daemon is trusted no more than a registry: what it says is bounded, and what it sends is verified by
//! who reads the archive.

mod error; // why not
mod options; // where it is looked for
mod transport; // HTTP over a unix socket
mod version; // which API it speaks

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lithify_cancel::{CancelToken, Hook};
use lithify_escape::Escaped;
use lithify_oci::source::DaemonImage;
use serde::Deserialize;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, BodyReader, SendBody};

pub use error::{DaemonError, DaemonOperation};
pub use options::DaemonOptions;
pub use version::{ApiVersion, LEAST_VERSION};

use crate::Failure;
use crate::config::Timeouts;
use crate::http::USER_AGENT;
use crate::http::deadline::Deadline;
use crate::http::early::{Notes, Sendable};
use crate::http::pace::{Pace, Paced};

/// Most bytes of an answer that is read as a whole.
const ANSWER_BYTES: u64 = 4 << 20;
/// Most bytes of a daemon's words that are kept.
const MESSAGE_BYTES: usize = 1 << 10;

/// A daemon that answered.
pub struct Daemon {
    agent: Agent,
    /// Closes the connections when the work is stopped.
    hook: Arc<Hook>,
    socket: PathBuf,
    version: ApiVersion,
    timeouts: Timeouts,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon")
            .field("socket", &self.socket)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What a daemon says of an image. Hostile input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[non_exhaustive]
pub struct DaemonImageInfo {
    /// Digest of its config, or of its manifest where the daemon keeps those.
    pub id: String,
    /// The operating system it is for.
    pub os: String,
    /// The architecture it is for.
    pub architecture: String,
    /// The variant of that; often empty.
    pub variant: String,
}

impl Daemon {
    /// Finds the daemon's socket, and the newest version of the API that both sides know.
    ///
    /// # Errors
    /// [`DaemonError`]: no socket, no access to it, no answer, or none that is understood.
    pub fn connect(options: &DaemonOptions) -> Result<Self, DaemonError> {
        Self::connect_until(options, &CancelToken::new())
    }

    /// As [`connect`](Self::connect); everything that waits for the daemon fails once the work is stopped.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_until(
        options: &DaemonOptions,
        cancel: &CancelToken,
    ) -> Result<Self, DaemonError> {
        let socket = options.find(cancel)?;
        let timeouts = options.timeouts();
        let agent = transport::agent(&socket, &timeouts, cancel);
        let stopped = agent.clone();
        let mut daemon = Self {
            agent,
            hook: Arc::new(cancel.on_cancel(move || stopped.clone().shutdown())),
            socket,
            version: LEAST_VERSION,
            timeouts,
        };
        daemon.version = daemon.negotiate()?;
        log::debug!(
            "daemon at {}: API version {}",
            Escaped::path(&daemon.socket),
            daemon.version
        );
        Ok(daemon)
    }

    /// The socket it was found at.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The version of the API that is spoken.
    #[must_use]
    pub fn version(&self) -> ApiVersion {
        self.version
    }

    /// Asks about an image.
    ///
    /// # Errors
    /// [`DaemonError::NoSuchImage`], and whatever a daemon may do wrong.
    pub fn inspect(&self, image: &DaemonImage) -> Result<DaemonImageInfo, DaemonError> {
        let operation = DaemonOperation::Inspect(name(image));
        let path = format!("/images/{}/json", in_path(&name(image)));
        let bytes = self.read(&operation, self.get(&operation, &path)?)?;
        serde_json::from_slice(&bytes).map_err(|_| self.answer(operation, "no description of it"))
    }

    /// Starts `docker save`: the archive arrives while it is read.
    ///
    /// # Errors
    /// [`DaemonError::NoSuchImage`], and whatever a daemon may do wrong. The reader's errors hold a [`DaemonError`] too.
    pub fn save(&self, image: &DaemonImage) -> Result<SavedImage, DaemonError> {
        let operation = DaemonOperation::Save(name(image));
        let path = format!("/images/{}/get", in_path(&name(image)));
        let response = self.get(&operation, &path)?;
        Ok(SavedImage {
            _hook: Arc::clone(&self.hook),
            body: Paced {
                body: response.into_body().into_reader(),
                pace: Pace::receiving(&self.timeouts),
            },
            socket: self.socket.clone(),
            operation,
            received: 0,
        })
    }

    /// Runs `docker load` with an archive of `length` bytes; returns the names the daemon says it has it by.
    ///
    /// # Errors
    /// [`DaemonError::Load`] when it does not take the archive, and whatever a daemon may do wrong.
    pub fn load(&self, archive: &mut dyn Read, length: u64) -> Result<Vec<String>, DaemonError> {
        let operation = DaemonOperation::Load;
        let request = ureq::http::Request::builder()
            .method("POST")
            .uri(self.uri("/images/load?quiet=1"))
            .header("content-type", "application/x-tar")
            .header("content-length", length);
        let mut source = Sent {
            inner: archive,
            failed: None,
        };
        // Those of a request that was given up.
        Notes::take();
        let mut body = Sendable::new(&mut source, length);
        let sent = request
            .body(SendBody::from_reader(&mut body))
            .map_err(ureq::Error::from)
            .and_then(|request| self.agent.run(request));
        let unsent = Notes::take().unsent;
        let response = match (sent, source.failed) {
            // The reason is known better here than after its way through the client.
            (Err(_), Some(source)) => return Err(DaemonError::Source { source }),
            (Err(error), None) => return Err(self.transport(operation, error)),
            (Ok(response), _) => self.accepted(&operation, response)?,
        };
        let bytes = self.read(&operation, response)?;
        // One JSON value per line of progress; refusals come with status 200 too (moby, `api/server/httputils`).
        let mut names = Vec::new();
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<LoadLine>();
        for line in lines {
            let line = line.map_err(|_| self.answer(operation.clone(), "no JSON"))?;
            if let Some(message) = line.error {
                return Err(DaemonError::Load {
                    socket: self.socket.clone(),
                    message: shortened(message),
                });
            }
            let loaded = line.stream.as_deref().unwrap_or("").trim();
            names.extend(loaded.strip_prefix("Loaded image: ").map(str::to_owned));
        }
        // What lies behind the end of the archive need not be read; but then it says what it loaded.
        match unsent && names.is_empty() {
            true => Err(self.answer(operation, "a yes before it had the whole archive")),
            false => Ok(names),
        }
    }

    fn negotiate(&self) -> Result<ApiVersion, DaemonError> {
        let operation = DaemonOperation::Ping;
        let response = self.send(&operation, "http://localhost/_ping")?;
        let header = response.headers().get("api-version");
        let found = match header.and_then(|v| v.to_str().ok()) {
            Some(text) => text.to_owned(),
            // Before 1.13 only this said it.
            None => {
                let response = self.send(&operation, "http://localhost/version")?;
                let response = self.accepted(&operation, response)?;
                let bytes = self.read(&operation, response)?;
                serde_json::from_slice::<VersionAnswer>(&bytes)
                    .map_err(|_| self.answer(operation, "no version"))?
                    .api_version
            }
        };
        let refused = || DaemonError::Version {
            socket: self.socket.clone(),
            found: shortened(found.clone()),
        };
        let version: ApiVersion = found.parse().map_err(|_| refused())?;
        match version.major == LEAST_VERSION.major && version >= LEAST_VERSION {
            true => Ok(version),
            false => Err(refused()),
        }
    }

    fn uri(&self, path: &str) -> String {
        format!("http://localhost/v{}{path}", self.version)
    }

    fn get(&self, operation: &DaemonOperation, path: &str) -> Result<Response<Body>, DaemonError> {
        let response = self.send(operation, &self.uri(path))?;
        self.accepted(operation, response)
    }

    fn send(&self, operation: &DaemonOperation, uri: &str) -> Result<Response<Body>, DaemonError> {
        self.agent
            .get(uri)
            .call()
            .map_err(|e| self.transport(operation.clone(), e))
    }

    /// Takes an answer that means yes.
    fn accepted(
        &self,
        operation: &DaemonOperation,
        response: Response<Body>,
    ) -> Result<Response<Body>, DaemonError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let mut bytes = Vec::new();
        let body = response.into_body().into_reader();
        let _deadline = Deadline::after(self.timeouts.answer);
        // What it says besides is a courtesy.
        body.take(ANSWER_BYTES).read_to_end(&mut bytes).ok();
        let message = serde_json::from_slice::<Message>(&bytes)
            .map_or_else(|_| String::new(), |said| shortened(said.message));
        let socket = self.socket.clone();
        Err(match (status, operation) {
            (
                StatusCode::NOT_FOUND,
                DaemonOperation::Inspect(name) | DaemonOperation::Save(name),
            ) => DaemonError::NoSuchImage {
                socket,
                name: name.clone(),
            },
            _ => DaemonError::Status {
                socket,
                operation: operation.clone(),
                status: status.as_u16(),
                message,
            },
        })
    }

    /// The whole of a short answer.
    fn read(
        &self,
        operation: &DaemonOperation,
        response: Response<Body>,
    ) -> Result<Vec<u8>, DaemonError> {
        let mut bytes = Vec::new();
        let body = response.into_body().into_reader();
        let _deadline = Deadline::after(self.timeouts.answer);
        body.take(ANSWER_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| DaemonError::Transport {
                socket: self.socket.clone(),
                operation: operation.clone(),
                source: Box::new(Failure::of_body(e)),
            })?;
        match bytes.len() as u64 > ANSWER_BYTES {
            true => Err(self.answer(operation.clone(), "more bytes than it may have")),
            false => Ok(bytes),
        }
    }

    fn transport(&self, operation: DaemonOperation, error: ureq::Error) -> DaemonError {
        DaemonError::Transport {
            socket: self.socket.clone(),
            operation,
            source: Box::new(error.into()),
        }
    }

    fn answer(&self, operation: DaemonOperation, problem: &'static str) -> DaemonError {
        DaemonError::Answer {
            socket: self.socket.clone(),
            operation,
            problem,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionAnswer {
    api_version: String,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct LoadLine {
    error: Option<String>,
    stream: Option<String>,
}

/// An archive as `docker save` writes it, while it arrives.
pub struct SavedImage {
    _hook: Arc<Hook>,
    body: Paced<BodyReader<'static>>,
    socket: PathBuf,
    operation: DaemonOperation,
    received: u64,
}

impl fmt::Debug for SavedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedImage")
            .field("operation", &self.operation)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Read for SavedImage {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.body.read(buffer) {
            Ok(read) => {
                self.received += read as u64;
                Ok(read)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => Err(io::Error::other(DaemonError::BrokenOff {
                socket: self.socket.clone(),
                operation: self.operation.clone(),
                received: self.received,
                source: Box::new(Failure::of_body(e)),
            })),
        }
    }
}

/// What is being sent, and why it could not be read.
struct Sent<'a> {
    inner: &'a mut dyn Read,
    failed: Option<io::Error>,
}

impl Read for Sent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.failed = Some(e);
                    return Err(io::Error::other("the source cannot be read"));
                }
                read => return read,
            }
        }
    }
}

/// The name a daemon is asked for. One without a tag would mean all tags to `docker save`.
fn name(image: &DaemonImage) -> String {
    match image {
        DaemonImage::Name(reference) => reference.with_default_tag().to_string(),
        DaemonImage::Id(id) => id.to_string(),
        _ => String::new(),
    }
}

/// A name as part of a path: references have few characters that mean something there.
fn in_path(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._/:@".contains(&byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// A daemon's words, not too many.
fn shortened(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES {
        let end = (0..=MESSAGE_BYTES)
            .rev()
            .find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths() {
        assert_eq!(in_path("a/b:1@sha256:0"), "a/b:1@sha256:0");
        assert_eq!(in_path("[::1]:5/x?"), "%5B::1%5D:5/x%3F");
        let image = DaemonImage::Name("alpine".parse().unwrap());
        assert_eq!(name(&image), "alpine:latest");
    }

    #[test]
    fn words_are_cut_between_characters() {
        let text = shortened("é".repeat(MESSAGE_BYTES));
        assert_eq!(text.len(), MESSAGE_BYTES);
    }
}
