//! Some bytes of a blob.

use std::io::{self, Read};
use std::ops::Range;

use lithify_digest::Digest;
use ureq::http::Method;

use super::range::ContentRange;
use crate::error::{Error, Operation};
use crate::http::Failure;
use crate::http::coding::Coding;
use crate::http::pace::{Pace, Paced};
use crate::repository::Repository;
use crate::session::{Access, Answer, Call, CallBody, Session, To};

impl Repository {
    /// Reads some bytes of a blob of `size` bytes, without reading the others where the registry knows ranges. Nothing
    /// is verified: the digest is of the whole.
    ///
    /// # Errors
    /// [`Error::NotFound`], and anything a registry may do wrong.
    pub fn blob_part(
        &self,
        digest: &Digest,
        size: u64,
        range: Range<u64>,
    ) -> Result<Vec<u8>, Error> {
        let range = range.start.min(size)..range.end.min(size);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let part = Part {
            operation: Operation::Blob(Box::new(*digest)),
            path: format!("blobs/{digest}"),
            size,
            range,
        };
        let first = self.preferred();
        let last = self.endpoints().len() - 1;
        for index in first..last {
            match part.read(&self.session(index)) {
                Ok(bytes) => return Ok(bytes),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => log::info!("{error}; going on with the next place"),
            }
        }
        part.read(&self.origin())
    }
}

struct Part {
    operation: Operation,
    path: String,
    size: u64,
    range: Range<u64>,
}

impl Part {
    fn read(&self, session: &Session<'_>) -> Result<Vec<u8>, Error> {
        let policy = &session.shared.retry;
        let mut tried = 0;
        loop {
            let failure;
            (failure, tried) = match self.attempt(session, tried)? {
                Ok(bytes) => return Ok(bytes),
                Err(broken) => broken,
            };
            let error = session.transport(&self.operation, failure, tried);
            if tried > policy.retries {
                return Err(error);
            }
            session.pause(&error, tried, None)?;
        }
    }

    fn ask(
        &self,
        session: &Session<'_>,
        headers: &[(&'static str, String)],
        tried: u32,
    ) -> Result<Answer, Error> {
        session.call(&Call {
            method: Method::GET,
            to: To::Repository(&self.path),
            headers,
            body: CallBody::Empty,
            operation: &self.operation,
            access: Access::Pull,
            from: None,
            tried,
        })
    }

    /// The bytes, or what broke and how often it was tried.
    fn attempt(
        &self,
        session: &Session<'_>,
        tried: u32,
    ) -> Result<Result<Vec<u8>, (Failure, u32)>, Error> {
        let Range { start, end } = self.range;
        let wanted = ContentRange {
            first: start,
            last: end - 1,
            total: Some(self.size),
        };
        let range = [("range", format!("bytes={start}-{}", wanted.last))];
        let mut answer = self.ask(session, &range, tried)?;
        let is_part = answer.response.status == 206
            && wanted.is_in(&answer.response)
            && answer.response.coding() == Coding::Identity;
        if !is_part && answer.response.status != 200 {
            answer.response.discard();
            answer = self.ask(session, &[], tried)?;
        }
        let Answer {
            response, tries, ..
        } = answer;
        let length = end - start;
        // Of the whole blob, what is not wanted is read and dropped.
        let (expected, skip) = match is_part {
            true => (length, 0),
            false => (self.size, start),
        };
        if !is_part && response.status != 200 {
            return Err(Error::Answer {
                host: session.endpoint.host.clone(),
                operation: self.operation.clone(),
                problem: "no content",
            });
        }
        let body = response.into_content(expected);
        let mut body = Paced {
            body: body.map_err(|e| session.unexpected(&self.operation, expected, e))?,
            pace: Pace::receiving(&session.endpoint.profile.timeouts),
        };
        let mut read = || -> io::Result<Vec<u8>> {
            let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink())?;
            let mut bytes = Vec::new();
            if skipped == skip {
                (&mut body).take(length).read_to_end(&mut bytes)?;
            }
            Ok(bytes)
        };
        let read = read().map_err(Failure::of_body);
        Ok(match read {
            Ok(bytes) if bytes.len() as u64 == length => Ok(bytes),
            Ok(_) => Err((body.body.cut(), tries)),
            Err(failure) => Err((failure, tries)),
        })
    }
}
