//! Talking to one registry: with credentials, redirects and patience.

mod base; // where it is
mod endpoint; // where an image is
mod shared; // what all repositories share
mod sign_in; // credentials for a request
mod words; // what errors say

use std::io::Read;
use std::time::{Duration, Instant, SystemTime};

use ureq::http::Method;

use crate::auth::Scopes;
use crate::error::{Error, LocationError, Operation};
use crate::http::coding::Unexpected;
use crate::http::retry::{is_passing, retry_after};
use crate::http::url::{Url, is_loopback};
use crate::http::{Body, Failure, Profile, Request, Response};

/// Redirects followed at most; registries need one or two.
pub(crate) const MAX_REDIRECTS: usize = 10;
/// Most bytes of an error's body that are looked at.
const MAX_MESSAGE: u64 = 16 << 10;

pub(crate) use endpoint::Endpoint;
pub(crate) use shared::Shared;
pub use shared::{OnPause, Pause};
use sign_in::Signing;
use words::message;

/// What may be done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
}

/// One request and all it takes.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) to: To<'a>,
    pub(crate) headers: &'a [(&'static str, String)],
    pub(crate) body: CallBody<'a>,
    pub(crate) operation: &'a Operation,
    pub(crate) access: Access,
    /// A repository blobs are to be mounted from.
    pub(crate) from: Option<&'a str>,
    /// Tries that were made for the same thing before, by other requests.
    pub(crate) tried: u32,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    /// Below `/v2/REPOSITORY/`, already encoded.
    Repository(&'a str),
    /// Somewhere the registry said.
    Url(&'a Url),
}

/// What is sent, as often as needed.
#[derive(Clone, Copy)]
pub(crate) enum CallBody<'a> {
    Empty,
    Bytes(&'a [u8]),
    /// So many bytes of a reader that is opened for each try.
    Reader(&'a dyn OpenBody, u64),
}

/// Something to send, from its start.
pub(crate) trait OpenBody {
    fn open(&self) -> Result<Box<dyn Read + Send + '_>, Error>;
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({} {})", self.method, self.operation)
    }
}

/// An endpoint and the client's state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) endpoint: &'a Endpoint,
}

/// An answer, and where it came from after redirects.
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) url: Url,
    /// Which try it is the answer to, counted from 1.
    pub(crate) tries: u32,
}

/// Why a try gave no answer to use.
pub(crate) enum Outcome {
    /// Final.
    Failed(Error),
    /// May go away.
    Passing(Error, Option<Duration>),
}

impl Call<'_> {
    fn is_read_only(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// Whether this is a request for a part of something.
    fn asks_for_part(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == "range")
    }
}

/// Whether a status may mean that there are no parts to be had (RFC 9110, section 14.2, has servers ignore what they do not
/// know). Servers built on one Go package answer 416 to ranges without an end; others 400, 403 or 501. What is not there,
/// or wants credentials or patience, says so of the whole too.
fn refuses_part(status: u16) -> bool {
    matches!(status, 400..=499 | 501) && !matches!(status, 401 | 404 | 408 | 429)
}

impl Session<'_> {
    /// Makes a call, with as many tries as it takes. Answers are those of status 2xx, and where a part was asked for those that
    /// may mean that only the whole can be had ([`refuses_part`]); any other is an error.
    pub(crate) fn call(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let policy = &self.shared.retry;
        let mut tried = call.tried;
        loop {
            let (error, asked_for) = match self.call_once(call, tried) {
                Ok(answer) => return Ok(answer),
                Err(Outcome::Failed(error)) => return Err(error),
                Err(Outcome::Passing(error, asked_for)) => (error, asked_for),
            };
            tried += 1;
            if tried > policy.retries {
                return Err(error);
            }
            self.pause(&error, tried, asked_for)?;
        }
    }

    /// Makes a call that is the only one, after `tried` others for the same thing.
    pub(crate) fn call_once(&self, call: &Call<'_>, tried: u32) -> Result<Answer, Outcome> {
        self.shared.check_cancelled().map_err(Outcome::Failed)?;
        match self.attempt(call, tried + 1) {
            // Nobody is kept waiting for longer than allowed.
            Err(Outcome::Passing(_, Some(after)))
                if after > self.shared.retry.longest_retry_after =>
            {
                Err(Outcome::Failed(Error::RetryLater {
                    host: self.endpoint.host.clone(),
                    operation: call.operation.clone(),
                    after,
                    longest: self.shared.retry.longest_retry_after,
                }))
            }
            outcome => outcome,
        }
    }

    /// Waits after `tried` tries, the last of which ended in an error.
    pub(crate) fn pause(
        &self,
        error: &Error,
        tried: u32,
        asked_for: Option<Duration>,
    ) -> Result<(), Error> {
        let delay = self.shared.retry.delay(tried.saturating_sub(1));
        let delay = delay.max(asked_for.unwrap_or_default());
        self.shared.pause(error, delay)
    }

    /// One try: redirects and a challenge are part of it.
    fn attempt(&self, call: &Call<'_>, tries: u32) -> Result<Answer, Outcome> {
        let start = match call.to {
            To::Url(url) => url.clone(),
            To::Repository(path) => {
                let base = self.base().map_err(|e| match e {
                    Error::Transport { ref source, .. } if source.is_passing() => {
                        Outcome::Passing(e, None)
                    }
                    e => Outcome::Failed(e),
                })?;
                let path = format!("/v2/{}/{path}", self.endpoint.repository);
                let url = base
                    .join(&path)
                    .map_err(|e| Outcome::Failed(self.location(call.operation, e.into())))?;
                match &self.endpoint.config.namespace {
                    Some(namespace) => url.with_query("ns", namespace),
                    None => url,
                }
            }
        };
        let mut signing = Signing::new(self, call, &start)?;
        loop {
            let answer = self.follow(call, &signing, tries)?;
            let status = answer.response.status;
            match status {
                200..=299 if answer.response.unsent => {
                    // It cannot mean what it has not seen.
                    let error = self.transport(call.operation, Failure::unsent(), tries);
                    return Err(Outcome::Passing(error, None));
                }
                200..=299 => return Ok(answer),
                // Who asks for a part can do with the whole.
                _ if call.asks_for_part() && refuses_part(status) => return Ok(answer),
                401 | 403 | 404 => match signing.again(answer)? {
                    None => {}
                    Some(refused) => {
                        return Err(self.refused(call, refused.response, &signing, tries));
                    }
                },
                _ => {
                    return Err(self.refused(call, answer.response, &signing, tries));
                }
            }
        }
    }

    /// Sends the request and follows redirects, dropping the credentials where they lead elsewhere.
    fn follow(
        &self,
        call: &Call<'_>,
        signing: &Signing<'_>,
        tries: u32,
    ) -> Result<Answer, Outcome> {
        let start = signing.start();
        let mut url = start.clone();
        let (mut hops, begun) = (0, Instant::now());
        // Who was sent elsewhere and back again comes from elsewhere (CVE-2024-45336).
        let mut trusted = true;
        loop {
            let mut reader;
            let body = match call.body {
                CallBody::Empty => Body::Empty,
                CallBody::Bytes(bytes) => Body::Bytes(bytes),
                CallBody::Reader(open, length) => {
                    reader = open.open().map_err(Outcome::Failed)?;
                    Body::Reader(&mut reader, length)
                }
            };
            let request = Request {
                method: call.method.clone(),
                url: &url,
                authorization: signing.authorization(&url, trusted),
                headers: call.headers,
                body,
            };
            log::debug!("{} {url}", call.method);
            let started = Instant::now();
            let response = self
                .exchange(&url, request, call.operation, tries)
                .map_err(|e| match e {
                    Error::Transport { ref source, .. } if source.is_passing() => {
                        Outcome::Passing(e, None)
                    }
                    e => Outcome::Failed(e),
                })?;
            let elapsed = started.elapsed().as_millis();
            log::debug!("{} {url}: {} in {elapsed} ms", call.method, response.status);
            if response.status == 417 && response.asked {
                // Who does not know the question is sent the body without it (RFC 9110, section 15.5.18).
                self.shared.http.never_ask(&url);
                response.discard();
                continue;
            }
            // The others make a GET of anything (RFC 9110, section 15.4), which writes nothing.
            let redirects = match response.status {
                307 | 308 => true,
                301..=303 => call.is_read_only(),
                _ => false,
            };
            if !redirects {
                return Ok(Answer {
                    response,
                    url,
                    tries,
                });
            }
            let next = self
                .redirected(&url, &response)
                .map_err(|e| Outcome::Failed(self.location(call.operation, e)))?;
            response.discard();
            hops += 1;
            if hops > MAX_REDIRECTS {
                return Err(Outcome::Failed(Error::Redirects {
                    host: self.endpoint.host.clone(),
                    operation: call.operation.clone(),
                    limit: MAX_REDIRECTS,
                    last: next,
                }));
            }
            // Each hop has its own time to answer: all of them together have no more than one.
            if call.is_read_only() && begun.elapsed() > self.endpoint.profile.timeouts.answer {
                let error = self.transport(call.operation, Failure::late(), tries);
                return Err(Outcome::Passing(error, None));
            }
            log::debug!("redirected to {next}");
            trusted &= next.same_origin(start);
            url = next;
        }
    }

    pub(crate) fn exchange(
        &self,
        url: &Url,
        request: Request<'_>,
        operation: &Operation,
        tries: u32,
    ) -> Result<Response, Error> {
        // What is configured for the registry is for the registry alone.
        let elsewhere;
        let profile = if self.base_is(url) || url.authority() == self.endpoint.host {
            &self.endpoint.profile
        } else {
            elsewhere = Profile {
                timeouts: self.endpoint.profile.timeouts,
                ..self.shared.profile_of(url.authority())
            };
            &elsewhere
        };
        match self.shared.http.send(profile, request) {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(source)) => {
                self.shared.check_cancelled()?;
                Err(self.transport(operation, source, tries))
            }
            Err(source) => Err(Error::Tls {
                host: url.authority().to_owned(),
                source: Box::new(source),
            }),
        }
    }

    /// Whether a redirect may be followed, and to where.
    pub(crate) fn redirected(&self, from: &Url, response: &Response) -> Result<Url, LocationError> {
        let location = response.location().ok_or(LocationError::Missing {
            status: response.status,
        })?;
        let to = from.join(&location)?;
        self.check_location(from, &to)?;
        Ok(to)
    }

    /// Whether an address a registry gave may be used.
    pub(crate) fn check_location(&self, from: &Url, to: &Url) -> Result<(), LocationError> {
        if from.is_https() && !to.is_https() {
            return Err(LocationError::Downgrade {
                from: from.clone(),
                to: to.clone(),
            });
        }
        if is_loopback(to.host()) && !is_loopback(from.host()) {
            return Err(LocationError::Loopback {
                from: from.clone(),
                to: to.clone(),
            });
        }
        Ok(())
    }

    fn base_is(&self, url: &Url) -> bool {
        self.endpoint
            .base
            .get()
            .is_some_and(|base| base.same_origin(url))
    }

    /// What a call needs to be allowed.
    fn scopes(&self, call: &Call<'_>) -> Scopes {
        let repository = &self.endpoint.repository;
        if repository.is_empty() {
            return Scopes::none();
        }
        let mut scopes = match call.access {
            Access::Pull => Scopes::pull(repository),
            Access::Push => Scopes::push(repository),
        };
        if let Some(from) = call.from {
            scopes.merge(&Scopes::pull(from));
        }
        scopes
    }

    /// The error an answer means.
    fn refused(
        &self,
        call: &Call<'_>,
        response: Response,
        signing: &Signing<'_>,
        tries: u32,
    ) -> Outcome {
        let signed = signing.is_signed();
        let status = response.status;
        let asked_for = response
            .header("retry-after")
            .and_then(|value| retry_after(value, SystemTime::now()));
        let message = message(&response.read_leniently(MAX_MESSAGE), signing.sent());
        let (host, operation) = (self.endpoint.host.clone(), call.operation.clone());
        if status == 401 && !signed {
            return Outcome::Failed(Error::Unauthorized {
                host,
                operation,
                message,
            });
        }
        if status == 404 {
            return Outcome::Failed(Error::NotFound {
                host,
                operation,
                message,
            });
        }
        let error = Error::Status {
            host,
            operation,
            status,
            message,
            tries,
        };
        match is_passing(status) {
            true => Outcome::Passing(error, asked_for),
            false => Outcome::Failed(error),
        }
    }

    pub(crate) fn transport(&self, operation: &Operation, source: Failure, tries: u32) -> Error {
        Error::Transport {
            host: self.endpoint.host.clone(),
            operation: operation.clone(),
            tries,
            source,
        }
    }

    /// The error of an answer that is not the content it should be.
    pub(crate) fn unexpected(
        &self,
        operation: &Operation,
        expected: u64,
        found: Unexpected,
    ) -> Error {
        let (host, operation) = (self.endpoint.host.clone(), operation.clone());
        match found {
            Unexpected::Length(found) => Error::Length {
                host,
                operation,
                expected,
                found,
            },
            Unexpected::Coding => Error::Answer {
                host,
                operation,
                problem: "a content coding nobody asked for",
            },
        }
    }

    pub(crate) fn location(&self, operation: &Operation, source: LocationError) -> Error {
        Error::Location {
            host: self.endpoint.host.clone(),
            operation: operation.clone(),
            source,
        }
    }
}
