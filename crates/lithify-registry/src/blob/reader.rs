//! A blob as a stream that survives broken connections.

use std::io::{self, Read};

use lithify_digest::Digest;
use ureq::http::Method;

use crate::blob::range::ContentRange;
use crate::config::Timeouts;
use crate::error::{Error, Operation};
use crate::http::coding::{Coding, Content};
use crate::http::pace::{Pace, Paced};
use crate::http::{Failure, Response};
use crate::repository::Repository;
use crate::session::{Access, Call, CallBody, To};

/// Progress that makes up for a broken connection: the tries are counted anew.
const PROGRESS: u64 = 64 << 10;

/// The bytes of a blob, in order, from an offset to its end. A connection that breaks is replaced by one that goes on
/// where it broke (`Range`); an endpoint that fails for good by the next one. What is read is not verified: the
/// bytes are as many as the descriptor says, or there is an error.
///
/// Errors are [`Error`], in an [`io::Error`]: see [`source_of`](crate::source_of).
#[derive(Debug)]
pub struct BlobReader {
    repository: Repository,
    operation: Operation,
    digest: Digest,
    size: u64,
    /// Bytes of the blob that were read.
    at: u64,
    body: Option<Body>,
    /// How fast it comes, over all connections with one place.
    pace: Pace,
    /// Bytes at the start of the body that were read from another one: where a server knows no ranges.
    skip: u64,
    /// How many these were when the body began.
    skipped: u64,
    /// Position among the endpoints.
    endpoint: usize,
    /// Whether this endpoint is asked for the whole blob: it gave no part of it.
    whole: bool,
    /// Tries since there was progress.
    tries: u32,
    /// Where that count began.
    counted_from: u64,
    /// Whether it is noted who gives the bytes that come.
    is_noted: bool,
    done: bool,
}

struct Body(Content);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

impl Repository {
    /// Opens a blob of `size` bytes at `offset`. `None` if it is not there.
    ///
    /// # Errors
    /// [`Error::Length`] when the registry has something else, and anything a registry may do wrong.
    pub fn blob(
        &self,
        digest: &Digest,
        size: u64,
        offset: u64,
    ) -> Result<Option<BlobReader>, Error> {
        BlobReader::open(self.clone(), *digest, size, offset)
    }
}

impl BlobReader {
    /// Opens the blob at `offset`. `Ok(None)` when no endpoint has it.
    pub(crate) fn open(
        repository: Repository,
        digest: Digest,
        size: u64,
        offset: u64,
    ) -> Result<Option<Self>, Error> {
        let first = repository.givers().begin(&digest, offset > 0);
        let mut reader = Self {
            endpoint: repository.preferred().max(first),
            repository,
            operation: Operation::Blob(Box::new(digest)),
            digest,
            size,
            at: offset.min(size),
            body: None,
            pace: Pace::receiving(&Timeouts::default()),
            skip: 0,
            skipped: 0,
            whole: false,
            tries: 0,
            counted_from: offset,
            is_noted: false,
            done: offset >= size && size > 0,
        };
        if reader.done {
            return Ok(Some(reader));
        }
        reader.set_pace();
        match reader.connect() {
            Ok(()) => Ok(Some(reader)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Bytes of the whole blob.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Position of the next byte.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Connects to the endpoint in use, or to one after it.
    fn connect(&mut self) -> Result<(), Error> {
        loop {
            let error = match self.request() {
                Ok((body, skip)) => {
                    self.body = Some(Body(body));
                    self.pace.goes_on();
                    self.is_noted = false;
                    (self.skip, self.skipped) = (skip, skip);
                    self.repository.prefer(self.endpoint);
                    return Ok(());
                }
                Err(error) => error,
            };
            if matches!(error, Error::Cancelled) || !self.next_endpoint(&error) {
                return Err(error);
            }
        }
    }

    fn set_pace(&mut self) {
        let session = self.repository.session(self.endpoint);
        self.pace = Pace::receiving(&session.endpoint.profile.timeouts);
    }

    /// Turns to the next endpoint, if there is one.
    fn next_endpoint(&mut self, error: &Error) -> bool {
        if self.endpoint + 1 >= self.repository.endpoints().len() {
            return false;
        }
        log::info!("{error}; going on with the next place");
        self.endpoint += 1;
        self.set_pace();
        self.whole = false;
        self.tries = 0;
        true
    }

    /// A body, and how many of its bytes are known already. Where a part cannot be had, the whole is asked for.
    fn request(&mut self) -> Result<(Content, u64), Error> {
        if self.at > 0 && !self.whole {
            // With an end: not every server knows ranges without.
            let wanted = ContentRange {
                first: self.at,
                last: self.size.saturating_sub(1),
                total: Some(self.size),
            };
            let range = [("range", format!("bytes={}-{}", wanted.first, wanted.last))];
            let answer = self.ask(&range)?;
            // A part of what is coded is no part of the blob.
            let is_coded = answer.coding() != Coding::Identity;
            if answer.status == 206 && !is_coded && wanted.is_in(&answer) {
                return self.check(answer, 0);
            }
            // Who knows no ranges sends everything.
            if answer.status == 200 {
                return self.check(answer, self.at);
            }
            log::info!(
                "{}: no part of it is to be had (status {}): starting over",
                self.operation,
                answer.status
            );
            answer.discard();
            self.whole = true;
        }
        let answer = self.ask(&[])?;
        match answer.status {
            200 => self.check(answer, self.at),
            _ => Err(Error::Answer {
                host: self.host(),
                operation: self.operation.clone(),
                problem: "no content",
            }),
        }
    }

    fn ask(&mut self, headers: &[(&'static str, String)]) -> Result<Response, Error> {
        let session = self.repository.session(self.endpoint);
        let path = format!("blobs/{}", self.digest);
        let call = Call {
            method: Method::GET,
            to: To::Repository(&path),
            headers,
            body: CallBody::Empty,
            operation: &self.operation,
            access: Access::Pull,
            from: None,
            tried: self.tries,
        };
        let answer = session.call(&call)?;
        // Tries that gave no answer count with those whose answer breaks off.
        self.tries = answer.tries - 1;
        Ok(answer.response)
    }

    /// The body of an answer that is as long as it has to be, of which so many bytes are known already.
    fn check(&self, response: Response, known: u64) -> Result<(Content, u64), Error> {
        let expected = self.size - self.at + known;
        let content = response.into_content(expected).map_err(|e| {
            let session = self.repository.session(self.endpoint);
            session.unexpected(&self.operation, expected, e)
        })?;
        Ok((content, known))
    }

    fn host(&self) -> String {
        self.repository.session(self.endpoint).endpoint.host.clone()
    }

    /// What to do about a connection that broke: `Ok` when there is another one.
    fn recover(&mut self, failure: Failure) -> Result<(), Error> {
        self.body = None;
        // Where everything before is sent again, as much again must be new: else many small steps would fetch the
        // blob many times.
        let enough = PROGRESS.min(self.size / 64).max(1).max(self.skipped);
        // What hardly goes on is no progress either.
        if self.at - self.counted_from >= enough && !failure.is_slowness() {
            self.tries = 0;
            self.counted_from = self.at;
        }
        self.tries += 1;
        let session = self.repository.session(self.endpoint);
        let error = session.transport(&self.operation, failure, self.tries);
        if self.tries > self.repository.shared().retry.retries {
            if !self.next_endpoint(&error) {
                return Err(error);
            }
        } else {
            log::debug!("{}: going on at byte {}", self.operation, self.at);
            session.pause(&error, self.tries, None)?;
        }
        self.connect()
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            if self.done {
                return Ok(0);
            }
            let Some(body) = &mut self.body else {
                self.connect()?;
                continue;
            };
            let left = self.size - self.at;
            if left == 0 {
                return self.finish();
            }
            let most = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            if self.skip > 0 {
                let mut paced = Paced {
                    body: (&mut body.0).take(self.skip),
                    pace: self.pace,
                };
                let skipped = io::copy(&mut paced, &mut io::sink());
                self.pace = paced.pace;
                match skipped {
                    Ok(skipped) if skipped == self.skip => self.skip = 0,
                    Ok(_) => {
                        let failure = body.0.cut();
                        self.recover(failure)?;
                    }
                    Err(e) => self.recover(Failure::of_body(e))?,
                }
                continue;
            }
            let failure = match self.pace.read(&mut body.0, &mut buffer[..most]) {
                Ok(0) => body.0.cut(),
                Ok(read) => {
                    if !self.is_noted {
                        self.is_noted = true;
                        self.repository.givers().gave(&self.digest, self.endpoint);
                    }
                    self.at += read as u64;
                    return Ok(read);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Failure::of_body(e),
            };
            self.recover(failure)?;
        }
    }

    /// All bytes are here: there must be no more.
    fn finish(&mut self) -> Result<usize, Error> {
        let mut one = [0];
        let more = match self.body.as_mut().map(|body| body.0.read(&mut one)) {
            // A connection that breaks after the last byte has done its work.
            None | Some(Err(_) | Ok(0)) => false,
            Some(Ok(_)) => true,
        };
        self.body = None;
        self.done = true;
        match more {
            false => Ok(0),
            true => Err(Error::TooLong {
                host: self.host(),
                operation: self.operation.clone(),
                expected: self.size,
            }),
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        Ok(self.read_some(buffer)?)
    }
}
