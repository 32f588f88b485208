//! Request heads and bodies.

use std::io::{self, BufRead, Read};

use crate::registry::kind::Kind;

/// The longest request line or header read.
const LINE: u64 = 64 << 10;
/// The longest body read.
const BODY: u64 = 1 << 30;

/// A request as it came, and what was answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which connection it came on, counted from 1.
    pub connection: usize,
    /// `GET`, `PUT`...
    pub method: String,
    /// The target as it came: path and query, not decoded (or `host:port`, or a URL, where a proxy is asked).
    pub target: String,
    /// The decoded path.
    pub path: String,
    /// The decoded query, in order.
    pub query: Vec<(String, String)>,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
    /// What it asks for.
    pub kind: Kind,
    /// Bytes of its body that were read.
    pub received: u64,
    /// The status answered, `None` while or where there was no answer.
    pub status: Option<u16>,
    /// Bytes of the answer's body that were written.
    pub sent: u64,
}

impl Request {
    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The first query parameter of this name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What it carries to prove who asks.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    /// What it asks for of a blob: `bytes=100-`.
    #[must_use]
    pub fn range(&self) -> Option<&str> {
        self.header("range")
    }

    /// User and password, if it carries them.
    #[must_use]
    pub fn basic(&self) -> Option<(String, String)> {
        Self::decode_basic(self.authorization()?)
    }

    /// User and password of `Basic BASE64` (RFC 7617).
    pub(in crate::registry) fn decode_basic(credentials: &str) -> Option<(String, String)> {
        let encoded = credentials.strip_prefix("Basic ")?;
        let engine = base64::engine::general_purpose::STANDARD;
        let bytes = base64::Engine::decode(&engine, encoded).ok()?;
        String::from_utf8(bytes).ok()?.split_once(':').map(owned)
    }
}

fn owned((a, b): (&str, &str)) -> (String, String) {
    (a.into(), b.into())
}

/// Reads a request's head; `None` where the client has closed the connection between two requests.
pub(in crate::registry) fn head(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    let first = line(input)?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.split_ascii_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(invalid("a request line has a method and a target"));
    };
    let mut headers = Vec::new();
    loop {
        let line = line(input)?;
        match line.trim_end() {
            "" => break,
            header => {
                let (name, value) = header
                    .split_once(':')
                    .ok_or_else(|| invalid("a header has a colon"))?;
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Ok(Some(Request {
        connection: 0,
        path: decode(path, false),
        query: form(query),
        method,
        headers,
        kind: Kind::Other,
        received: 0,
        status: None,
        sent: 0,
        target,
    }))
}

fn line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    input.by_ref().take(LINE).read_until(b'\n', &mut line)?;
    if line.len() as u64 == LINE {
        return Err(invalid("a line of a request is too long"));
    }
    String::from_utf8(line).map_err(|_| invalid("a request's head is text"))
}

/// Reads a request's body.
pub(in crate::registry) fn body(
    request: &Request,
    input: &mut impl BufRead,
) -> io::Result<Vec<u8>> {
    limited_body(request, input, BODY)
}

/// Reads the first bytes of a request's body.
pub(in crate::registry) fn limited_body(
    request: &Request,
    input: &mut impl BufRead,
    limit: u64,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let chunked = request.header("transfer-encoding");
    if !chunked.is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        let length = request.header("content-length").unwrap_or("0");
        let length: u64 = length
            .parse()
            .map_err(|_| invalid("a length is a number"))?;
        input.take(length.min(limit)).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < length.min(limit) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        return Ok(bytes);
    }
    loop {
        let size = line(input)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| invalid("a chunk has a size"))?;
        if size == 0 {
            // Trailers, of which nothing is kept.
            while !line(input)?.trim_end().is_empty() {}
            return Ok(bytes);
        }
        let left = limit.saturating_sub(bytes.len() as u64);
        let read = input
            .by_ref()
            .take(size.min(left))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 >= limit {
            return Ok(bytes);
        }
        if (read as u64) < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line(input)?;
    }
}

/// A request for a whole URL as the server it is meant for is to get it: by its path, on a connection of its own.
pub(in crate::registry) fn without_proxy(request: &Request, body: &[u8]) -> Vec<u8> {
    let url = request.target.trim_start_matches("http://");
    let path = url.find('/').map_or("/", |at| &url[at..]);
    let mut head = format!("{} {path} HTTP/1.1\r\n", request.method);
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        let own = matches!(
            name.as_str(),
            "connection" | "content-length" | "transfer-encoding" | "expect"
        );
        if !own && !name.starts_with("proxy-") {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head += &format!(
        "content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Name and value pairs of a query or a form.
pub(in crate::registry) fn form(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        })
        .collect()
}

/// Undoes percent-encoding; in a form, `+` is a space.
fn decode(text: &str, form: bool) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = (byte == b'%').then(|| tail.get(..2)).flatten();
        let hex = hex.and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        rest = if hex.is_some() { &tail[2..] } else { tail };
        out.push(match hex {
            Some(decoded) => decoded,
            None if form && byte == b'+' => b' ',
            None => byte,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
