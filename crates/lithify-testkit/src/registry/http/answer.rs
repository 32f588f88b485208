//! Answers before they are bent.

use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value, json};

/// How a client learns where an answer's body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// By `Content-Length`.
    #[default]
    Length,
    /// By chunks of which the last is empty.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// An answer: status, headers, body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(in crate::registry) status: u16,
    pub(in crate::registry) headers: Vec<(String, String)>,
    /// All bytes of what was asked for, of which [`range`](Self::range) is sent.
    pub(in crate::registry) whole: Arc<Vec<u8>>,
    pub(in crate::registry) range: Range<usize>,
    pub(in crate::registry) framing: Framing,
}

impl Answer {
    /// An answer without headers and body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            whole: Arc::default(),
            range: 0..0,
            framing: Framing::Length,
        }
    }

    /// An error as the distribution specification has it: `{"errors": [{"code": …, "message": …}]}`.
    #[must_use]
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::status(status).json(&json!({ "errors": [{ "code": code, "message": message }] }))
    }

    /// 401 with this `WWW-Authenticate` header: `Basic realm="x"`.
    #[must_use]
    pub fn challenge(challenge: &str) -> Self {
        Self::error(401, "UNAUTHORIZED", "authentication required")
            .header("WWW-Authenticate", challenge)
    }

    /// A redirect: 301, 302, 303, 307 or 308.
    #[must_use]
    pub fn redirect(status: u16, to: &str) -> Self {
        Self::status(status).header("Location", to)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.shared(Arc::new(bytes.into()))
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn json(self, value: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(value.to_string())
    }

    /// Sets how the end of the body is told.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    pub(in crate::registry) fn shared(mut self, bytes: Arc<Vec<u8>>) -> Self {
        self.range = 0..bytes.len();
        self.whole = bytes;
        self
    }

    /// Narrows the answer to what a `Range` header asks for (RFC 9110, 14.2): one range, of bytes.
    pub(in crate::registry) fn ranged(mut self, asked: Option<&str>) -> Self {
        let length = self.whole.len();
        let Some((first, last)) = asked.and_then(|r| r.strip_prefix("bytes=")?.split_once('-'))
        else {
            return self;
        };
        let range = match (first.parse::<usize>().ok(), last.parse::<usize>().ok()) {
            (Some(first), None) if last.is_empty() => first..length,
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
            (None, Some(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
            _ => return self,
        };
        if range.start >= length {
            return Self::error(416, "RANGE_INVALID", "the range is not satisfiable")
                .header("Content-Range", format!("bytes */{length}"));
        }
        self.status = 206;
        let stated = format!("bytes {}-{}/{length}", range.start, range.end - 1);
        self.range = range;
        self.header("Content-Range", stated)
    }
}

/// The words that go with a status.
pub(in crate::registry) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
