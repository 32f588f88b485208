//! Content that is coded, though that was not asked for (RFC 9110, section 8.4).
//!
//! Every request asks for `identity`. Some servers and the caches before them compress all the same, and some keep a
//! blob that is a gzip file as if gzip were its coding. What was meant is what has the length that was expected; and what
//! is read is verified by its digest, so that to take it for the other is an error and nothing worse.

use std::io::{self, Read};

use super::proxy::{Incoming, Passage};
use super::{Failure, Response};
use lithify_inflate::GzipReader;

/// How content is coded on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// In a way that is not decoded here.
    Other,
}

impl Coding {
    fn parse<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let words = values.flat_map(|value| value.split(|&b| b == b','));
        let mut coding = Self::Identity;
        for word in words.map(<[u8]>::trim_ascii) {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            coding = match coding {
                _ if word.is_empty() || is("identity") => coding,
                Self::Identity if is("gzip") || is("x-gzip") => Self::Gzip,
                _ => return Self::Other,
            };
        }
        coding
    }
}

/// A body, read as its content.
pub(crate) struct Content {
    source: Source,
    passage: Option<Passage>,
}

enum Source {
    /// As it comes.
    Plain(Incoming),
    /// Decompressed.
    Gzip(Box<GzipReader<Incoming>>),
}

impl Content {
    fn new(body: Incoming, is_gzip: bool) -> Self {
        let passage = body.passage().cloned();
        let source = match is_gzip {
            true => Source::Gzip(Box::new(GzipReader::new(body))),
            false => Source::Plain(body),
        };
        Self { source, passage }
    }

    /// The failure of content that ends before all of it is there, though its body has ended as it should.
    pub(crate) fn cut(&self) -> Failure {
        let failure = Failure::of_body(io::ErrorKind::UnexpectedEof.into());
        match &self.passage {
            Some(passage) => passage.blamed(failure),
            None => failure,
        }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::Plain(body) => body.read(buffer),
            Source::Gzip(body) => body.read(buffer),
        }
    }
}

/// Why an answer is not the content that is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unexpected {
    /// It has so many bytes.
    Length(u64),
    /// It is coded in a way that is not decoded here.
    Coding,
}

impl Response {
    /// How the body is coded, by the answer's word.
    pub(crate) fn coding(&self) -> Coding {
        Coding::parse(self.header_bytes("content-encoding"))
    }

    /// The body as content of `expected` bytes, as far as the headers tell.
    pub(crate) fn into_content(self, expected: u64) -> Result<Content, Unexpected> {
        match (self.coding(), self.content_length()) {
            (_, Some(found)) if found == expected => Ok(Content::new(self.body, false)),
            (Coding::Gzip, _) => Ok(Content::new(self.body, true)),
            (Coding::Other, _) => Err(Unexpected::Coding),
            (Coding::Identity, Some(found)) => Err(Unexpected::Length(found)),
            (Coding::Identity, None) => Ok(Content::new(self.body, false)),
        }
    }
}

/// A short body as its content, `limit` bytes at most and one more if it is longer. What is no gzip file, in spite of
/// what is said about it, is taken as it is.
pub(super) fn decoded(bytes: Vec<u8>, coding: Coding, limit: u64) -> Vec<u8> {
    if coding != Coding::Gzip {
        return bytes;
    }
    let mut content = Vec::new();
    let mut reader = GzipReader::new(&*bytes).take(limit.saturating_add(1));
    match reader.read_to_end(&mut content) {
        Ok(_) => content,
        Err(_) => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings() {
        let parse = |values: &[&str]| Coding::parse(values.iter().map(|v| v.as_bytes()));
        for (values, coding) in [
            (&[][..], Coding::Identity),
            (&[""], Coding::Identity),
            (&["identity"], Coding::Identity),
            (&["GZip"], Coding::Gzip),
            (&["x-gzip"], Coding::Gzip),
            (&["identity, gzip"], Coding::Gzip),
            (&["gzip, gzip"], Coding::Other),
            (&["gzip", "br"], Coding::Other),
            (&["zstd"], Coding::Other),
            (&["deflate"], Coding::Other),
        ] {
            assert_eq!(parse(values), coding, "{values:?}");
        }
    }

    #[test]
    fn what_is_no_gzip_file_stays() {
        assert_eq!(decoded(b"{}".to_vec(), Coding::Gzip, 10), b"{}");
        assert_eq!(decoded(b"{}".to_vec(), Coding::Other, 10), b"{}");
    }
}
