//! Answers that are read as a whole: manifests and lists.

use lithify_digest::Digest;
use ureq::http::Method;

use crate::error::{Error, Operation};
use crate::http::Response;
use crate::http::coding::Coding;
use crate::http::url::Url;
use crate::session::{Access, Answer, Call, CallBody, Session, To};

/// What is asked for, and how long it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) headers: &'a [(&'static str, String)],
    /// Most bytes, and the name of that limit.
    pub(crate) limit: (u64, &'static str),
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: Head,
}

/// What the headers say.
#[derive(Debug)]
pub(crate) struct Head {
    /// Without parameters; empty for types that say nothing.
    pub(crate) media_type: String,
    /// `Docker-Content-Digest`.
    pub(crate) digest: Option<Digest>,
    pub(crate) length: Option<u64>,
    /// The address of the next page.
    pub(crate) next: Option<String>,
    /// Where the answer came from.
    pub(crate) url: Url,
    /// `OCI-Filters-Applied`.
    pub(crate) filters: String,
}

impl Head {
    fn of(response: &Response, url: Url) -> Self {
        Self {
            media_type: media_type(response.header("content-type").unwrap_or("")),
            digest: response
                .header("docker-content-digest")
                .and_then(|d| d.parse().ok()),
            // That of what is coded is another one's.
            length: response
                .content_length()
                .filter(|_| response.coding() == Coding::Identity),
            next: response
                .header_all("link")
                .find_map(next_link)
                .map(str::to_owned),
            url,
            filters: response
                .header("oci-filters-applied")
                .unwrap_or("")
                .to_owned(),
        }
    }
}

impl Session<'_> {
    /// Reads a document; one that breaks off is read again.
    pub(crate) fn document(&self, to: To<'_>, wanted: &Wanted<'_>) -> Result<Document, Error> {
        let (limit, option) = wanted.limit;
        let mut tried = 0;
        loop {
            let answer = self.call(&self.read(Method::GET, to, wanted, tried))?;
            let Answer {
                response,
                url,
                tries,
            } = self.whole(answer, wanted)?;
            let head = Head::of(&response, url);
            let read = response.read(limit);
            // A connection that is closed because of that looks as if the document had ended.
            self.shared.check_cancelled()?;
            match read {
                Ok((bytes, false)) => return Ok(Document { bytes, head }),
                Ok((_, true)) => {
                    return Err(Error::TooLarge {
                        host: self.endpoint.host.clone(),
                        operation: wanted.operation.clone(),
                        limit,
                        option,
                    });
                }
                Err(failure) => {
                    tried = tries;
                    let error = self.transport(wanted.operation, failure, tried);
                    if tried > self.shared.retry.retries {
                        return Err(error);
                    }
                    self.pause(&error, tried, None)?;
                }
            }
        }
    }

    /// The headers alone.
    pub(crate) fn head(&self, to: To<'_>, wanted: &Wanted<'_>) -> Result<Head, Error> {
        let answer = self.call(&self.read(Method::HEAD, to, wanted, 0))?;
        let Answer { response, url, .. } = self.whole(answer, wanted)?;
        Ok(Head::of(&response, url))
    }

    /// An answer that is all there is: nobody asked for a part.
    fn whole(&self, answer: Answer, wanted: &Wanted<'_>) -> Result<Answer, Error> {
        match answer.response.status {
            200 => Ok(answer),
            _ => Err(Error::Answer {
                host: self.endpoint.host.clone(),
                operation: wanted.operation.clone(),
                problem: "another status than 200",
            }),
        }
    }

    fn read<'a>(&self, method: Method, to: To<'a>, wanted: &Wanted<'a>, tried: u32) -> Call<'a> {
        Call {
            method,
            to,
            headers: wanted.headers,
            body: CallBody::Empty,
            operation: wanted.operation,
            access: Access::Pull,
            from: None,
            tried,
        }
    }
}

fn media_type(value: &str) -> String {
    match value.split(';').next().unwrap_or("").trim() {
        "application/json" | "text/plain" | "application/octet-stream" => String::new(),
        value => value.chars().take(255).collect(),
    }
}

/// The address of the next page in a `Link` header (RFC 8288).
pub(crate) fn next_link(value: &str) -> Option<&str> {
    let mut rest = value;
    loop {
        // What is no link, or nothing, is passed over.
        let Some(link) = rest.trim_start().strip_prefix('<') else {
            rest = rest.split_once(',')?.1;
            continue;
        };
        // Addresses may hold commas, so links are not cut at these.
        let (address, after) = link.split_once('>')?;
        let (parameters, more) = match after.split_once(',') {
            Some((parameters, more)) => (parameters, Some(more)),
            None => (after, None),
        };
        let is_next = parameters.split(';').any(|parameter| {
            let parameter = parameter.trim();
            parameter.eq_ignore_ascii_case("rel=next")
                || parameter.eq_ignore_ascii_case("rel=\"next\"")
        });
        if is_next {
            return Some(address);
        }
        rest = more?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let link = "</v2/x/tags/list?n=2&last=b>; rel=\"next\"";
        assert_eq!(next_link(link), Some("/v2/x/tags/list?n=2&last=b"));
        assert_eq!(next_link("<a>; rel=prev, <b>; rel=next"), Some("b"));
        assert_eq!(next_link("</t?last=a,b>; rel=next"), Some("/t?last=a,b"));
        assert_eq!(next_link("<a>; rel=prev"), None);
        assert_eq!(next_link("nonsense"), None);
        assert_eq!(next_link(", nonsense,  <a>; rel=next"), Some("a"));
    }
}
