//! Uploading a blob: mounted from where it is already, in one piece, or in several.

use std::cell::Cell;
use std::io::{self, Read};
use std::time::Duration;

use lithify_digest::Digest;
use ureq::http::Method;

use crate::error::{Error, Operation};
use crate::http::retry::is_passing;
use crate::http::url::{Url, encode};
use crate::repository::Repository;
use crate::session::{Access, Answer, Call, CallBody, OpenBody, Outcome, Session, To};

/// The least progress, in bytes, that makes up for a piece that broke off: the tries are counted anew.
const PROGRESS: u64 = 64 << 10;
/// The least part of a piece that does.
const PROGRESS_PART: u64 = 64;

/// What is uploaded: read from the start, or from where an upload broke off.
pub trait Content: Sync {
    /// Opens it at `offset`.
    ///
    /// # Errors
    /// What the system said.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>>;
}

impl Content for &[u8] {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let at = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.len());
        Ok(Box::new(&self[at..]))
    }
}

/// How blobs are uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushOptions {
    /// Bytes of one piece; `None` uploads a blob in one. Pieces are for registries behind something that limits
    /// requests; a broken upload goes on after the last whole one.
    pub chunk: Option<u64>,
    /// Repositories of the same registry that may have the blob already.
    pub mount_from: Vec<String>,
}

impl PushOptions {
    /// In pieces of so many bytes.
    #[must_use]
    pub fn chunk(mut self, bytes: Option<u64>) -> Self {
        self.chunk = bytes;
        self
    }

    /// Tries to mount blobs from a repository of the same registry first.
    #[must_use]
    pub fn mount_from(mut self, repository: impl Into<String>) -> Self {
        self.mount_from.push(repository.into());
        self
    }
}

/// How a blob came to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushed {
    /// It was there.
    Existed,
    /// It was mounted from this repository.
    Mounted(String),
    /// It was sent.
    Uploaded,
}

impl Repository {
    /// Makes sure that the registry has a blob of `size` bytes.
    ///
    /// # Errors
    /// Anything a registry may do wrong; [`Error::Source`] when the content cannot be read.
    pub fn push_blob(
        &self,
        digest: &Digest,
        size: u64,
        content: &dyn Content,
        options: &PushOptions,
    ) -> Result<Pushed, Error> {
        match self.has_blob(digest, size)? {
            true => Ok(Pushed::Existed),
            false => self.upload_blob(digest, size, content, options),
        }
    }

    /// Sends a blob of `size` bytes, or has it mounted, without asking whether it is there.
    ///
    /// # Errors
    /// As [`push_blob`](Self::push_blob).
    pub fn upload_blob(
        &self,
        digest: &Digest,
        size: u64,
        content: &dyn Content,
        options: &PushOptions,
    ) -> Result<Pushed, Error> {
        let upload = Upload {
            session: self.origin(),
            operation: Operation::Upload(Box::new(*digest)),
            digest,
            size,
            content,
            tried: Cell::new(0),
            asked_for: Cell::new(None),
            counted_from: Cell::new(0),
        };
        let mut location = None;
        for from in &options.mount_from {
            match upload.mount(from)? {
                Some(Started::Mounted) => return Ok(Pushed::Mounted(from.clone())),
                Some(started) => location = Some(started),
                None => {}
            }
        }
        upload.send(location, options.chunk)?;
        Ok(Pushed::Uploaded)
    }
}

struct Upload<'a> {
    session: Session<'a>,
    operation: Operation,
    digest: &'a Digest,
    size: u64,
    content: &'a dyn Content,
    /// Tries that failed since there was progress.
    tried: Cell<u32>,
    /// The pause the last of them asked for.
    asked_for: Cell<Option<Duration>>,
    /// The bytes that had arrived, in the best of all uploads, when the tries were last counted anew.
    counted_from: Cell<u64>,
}

/// Some of the content.
struct Piece<'a> {
    upload: &'a Upload<'a>,
    offset: u64,
    length: u64,
}

impl OpenBody for Piece<'_> {
    fn open(&self) -> Result<Box<dyn Read + Send + '_>, Error> {
        let reader = self.upload.content.open(self.offset);
        let reader = reader.map_err(|source| Error::Source {
            operation: self.upload.operation.clone(),
            source,
        })?;
        Ok(Box::new(reader.take(self.length)))
    }
}

enum Started {
    Mounted,
    /// Where the upload goes on, and the least bytes of a piece but the last.
    At(Url, u64),
}

/// How an upload ended that did not fail.
enum Sent {
    All,
    /// The registry does not know any more what it has.
    Lost(Error),
}

impl Upload<'_> {
    fn call(
        &self,
        method: Method,
        to: To<'_>,
        headers: &[(&'static str, String)],
        body: CallBody<'_>,
        from: Option<&str>,
    ) -> Result<Answer, Error> {
        let tried = self.tried.get();
        let call = Call {
            method,
            to,
            headers,
            body,
            operation: &self.operation,
            access: Access::Push,
            from,
            tried,
        };
        if !matches!(body, CallBody::Reader(..)) {
            return self.session.call(&call);
        }
        // Half an upload changes what the next try has to send.
        self.session.call_once(&call, tried).map_err(|e| match e {
            Outcome::Failed(error) => error,
            Outcome::Passing(error, asked_for) => {
                self.asked_for.set(asked_for);
                error
            }
        })
    }

    /// Waits before the next try, if there is to be one after this error.
    fn pause(&self, error: Error, again: bool) -> Result<(), Error> {
        // Calls that were repeated already are not repeated once more.
        let tried = (self.tried.get() + 1).max(error.tries());
        self.tried.set(tried);
        if !again || tried > self.session.shared.retry.retries {
            return Err(error);
        }
        self.session.pause(&error, tried, self.asked_for.take())
    }

    /// Opens an upload.
    fn start(&self) -> Result<Started, Error> {
        let to = To::Repository("blobs/uploads/");
        let answer = self.call(Method::POST, to, &[], CallBody::Bytes(&[]), None)?;
        self.opened(answer)
    }

    /// Has the blob mounted from another repository, or opens an upload where the registry answers with one. Nothing of
    /// both where it does not want to: what cannot be mounted can be uploaded all the same.
    fn mount(&self, from: &str) -> Result<Option<Started>, Error> {
        let digest = encode(&self.digest.to_string());
        let path = format!("blobs/uploads/?mount={digest}&from={}", encode(from));
        let call = Call {
            method: Method::POST,
            to: To::Repository(&path),
            headers: &[],
            body: CallBody::Bytes(&[]),
            operation: &self.operation,
            access: Access::Push,
            from: Some(from),
            tried: 0,
        };
        let answer = match self.session.call_once(&call, 0) {
            Ok(answer) => answer,
            Err(Outcome::Failed(Error::Cancelled)) => return Err(Error::Cancelled),
            Err(Outcome::Failed(error) | Outcome::Passing(error, _)) => {
                log::info!("{error}; not mounted from {from}");
                return Ok(None);
            }
        };
        if answer.response.status == 201 {
            answer.response.discard();
            return Ok(Some(Started::Mounted));
        }
        self.opened(answer).map(Some)
    }

    /// What an answer says of an upload that was opened.
    fn opened(&self, answer: Answer) -> Result<Started, Error> {
        let least = answer
            .response
            .header("oci-chunk-min-length")
            .and_then(|length| length.trim().parse().ok())
            .unwrap_or(0);
        Ok(Started::At(self.location(answer)?, least))
    }

    /// Where the upload goes on.
    fn location(&self, answer: Answer) -> Result<Url, Error> {
        let Answer { response, url, .. } = answer;
        let Some(location) = response.location() else {
            return Err(
                self.answer("no `Location`, which is expected to say where the upload goes on")
            );
        };
        let refused = |e| self.session.location(&self.operation, e);
        let to = url.join(&location).map_err(|e| refused(e.into()))?;
        self.session.check_location(&url, &to).map_err(refused)?;
        response.discard();
        Ok(to)
    }

    fn answer(&self, problem: &'static str) -> Error {
        Error::Answer {
            host: self.session.endpoint.host.clone(),
            operation: self.operation.clone(),
            problem,
        }
    }

    fn send(&self, opened: Option<Started>, chunk: Option<u64>) -> Result<(), Error> {
        let mut opened = opened;
        loop {
            let result = match chunk {
                Some(chunk) if chunk < self.size => self.in_pieces(opened.take(), chunk.max(1)),
                _ => self.whole(opened.take()),
            };
            let error = match result {
                Ok(Sent::All) => return Ok(()),
                // The next one is a try like any other.
                Ok(Sent::Lost(error)) => {
                    log::info!("{error}; beginning a new upload");
                    continue;
                }
                Err(error) => error,
            };
            // An upload that is gone, or was closed under us, is begun again.
            let again = match &error {
                Error::Transport { source, .. } => source.is_passing(),
                Error::NotFound { .. } | Error::Status { status: 416, .. } => true,
                Error::Status { status, .. } => is_passing(*status),
                _ => false,
            };
            self.pause(error, again)?;
        }
    }

    fn piece(&self, offset: u64, length: u64) -> Piece<'_> {
        Piece {
            upload: self,
            offset,
            length,
        }
    }

    fn started(&self, opened: Option<Started>) -> Result<(Url, u64), Error> {
        let started = match opened {
            Some(started) => started,
            None => self.start()?,
        };
        match started {
            Started::At(url, least) => Ok((url, least)),
            Started::Mounted => Err(self.answer("a mount nobody asked for")),
        }
    }

    /// In one request.
    fn whole(&self, opened: Option<Started>) -> Result<Sent, Error> {
        let (url, _) = self.started(opened)?;
        let url = url.with_query("digest", &self.digest.to_string());
        let body = self.piece(0, self.size);
        self.put(&url, CallBody::Reader(&body, self.size))
    }

    /// In pieces, each after the other: of `chunk` bytes, or what the registry takes at least.
    fn in_pieces(&self, opened: Option<Started>, chunk: u64) -> Result<Sent, Error> {
        let (mut url, least) = self.started(opened)?;
        let chunk = chunk.max(least);
        let mut at = 0;
        while at < self.size {
            let length = chunk.min(self.size - at);
            let headers = [
                ("content-range", format!("{at}-{}", at + length - 1)),
                ("content-type", "application/octet-stream".to_owned()),
            ];
            let body = self.piece(at, length);
            let body = CallBody::Reader(&body, length);
            match self.call(Method::PATCH, To::Url(&url), &headers, body, None) {
                Ok(answer) => {
                    url = self.location(answer)?;
                    at += length;
                }
                Err(error) => {
                    let again = match &error {
                        Error::Transport { source, .. } => source.is_passing(),
                        Error::Status { status, .. } => *status == 416 || is_passing(*status),
                        _ => false,
                    };
                    self.pause(error, again)?;
                    // What of the piece arrived is for the registry to say. One that does not is sent all of it anew.
                    let (there, next) = match self.status(&url)? {
                        Some(status) => status,
                        None => return Ok(Sent::Lost(self.answer("no `Range`"))),
                    };
                    if there > at + length {
                        return Err(self.answer("more bytes than were sent"));
                    }
                    (at, url) = (there, next);
                }
            }
            // Each try may send a whole piece: one that leaves a few bytes more there is no progress, or a registry could
            // have it sent for ever.
            let enough = PROGRESS
                .min(self.size / PROGRESS_PART)
                .max(length / PROGRESS_PART)
                .max(1);
            if at.saturating_sub(self.counted_from.get()) >= enough {
                self.counted_from.set(at);
                self.tried.set(0);
            }
        }
        let url = url.with_query("digest", &self.digest.to_string());
        self.put(&url, CallBody::Bytes(&[]))
    }

    /// How many bytes of an upload the registry has, and where it goes on, if it says so.
    fn status(&self, url: &Url) -> Result<Option<(u64, Url)>, Error> {
        let answer = self.call(Method::GET, To::Url(url), &[], CallBody::Empty, None)?;
        // `0-N` are N + 1 bytes; registries say `0-0` for none as well as for one, so that one byte is sent twice at
        // worst, and refused.
        let end = answer
            .response
            .header("range")
            .and_then(|range| range.trim_start_matches("bytes=").split_once('-'))
            .and_then(|(_, last)| last.trim().parse::<u64>().ok());
        let there = match end {
            None => {
                answer.response.discard();
                return Ok(None);
            }
            Some(0) => 0,
            Some(last) => last.saturating_add(1),
        };
        Ok(Some((there, self.location(answer)?)))
    }

    fn put(&self, url: &Url, body: CallBody<'_>) -> Result<Sent, Error> {
        let headers = [("content-type", "application/octet-stream".to_owned())];
        let answer = self.call(Method::PUT, To::Url(url), &headers, body, None)?;
        if let Some(found) = answer.response.header("docker-content-digest")
            && let Ok(found) = found.parse::<Digest>()
            && found != *self.digest
        {
            return Err(Error::Digest {
                host: self.session.endpoint.host.clone(),
                operation: self.operation.clone(),
                found: Box::new(found),
            });
        }
        answer.response.discard();
        Ok(Sent::All)
    }
}
