//! Where a request goes, and where it may go from there.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use lithify_escape::Escaped;
use ureq::http::Uri;
use ureq::http::uri::Scheme;

/// Most bytes of a URL; presigned ones have a thousand or two.
const MAX_URL: usize = 16 << 10;

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// No URL by its syntax.
    #[error("it is no URL")]
    Syntax,
    /// Neither http nor https.
    #[error("it is neither http nor https")]
    Scheme,
    /// A user name or password before the host.
    #[error("it holds a user name or password")]
    UserInfo,
    /// More than 16 KiB.
    #[error("it is longer than 16 KiB")]
    Length,
}

/// An http or https URL without user name, and without a fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Arc<Uri>);

impl Url {
    /// Parses an absolute URL.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL {
            return Err(UrlError::Length);
        }
        let text = text.split_once('#').map_or(text, |(url, _)| url);
        let uri: Uri = text.parse().map_err(|_| UrlError::Syntax)?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) => return Err(UrlError::Scheme),
            None => return Err(UrlError::Syntax),
        }
        let authority = uri.authority().ok_or(UrlError::Syntax)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(UrlError::Syntax);
        }
        Ok(Self(Arc::new(uri)))
    }

    /// The URL that `location`, found in an answer to a request for this one, means (RFC 3986, section 5.2).
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        if location.len() > MAX_URL {
            return Err(UrlError::Length);
        }
        let scheme = self.scheme();
        let origin = || format!("{scheme}://{}", self.authority());
        let is_absolute = location.split_once(':').is_some_and(|(scheme, _)| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        });
        if is_absolute {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Self::parse(&format!("{}{}", origin(), without_dots(location)))
        } else if location.starts_with('?') {
            Self::parse(&format!("{}{}{location}", origin(), self.0.path()))
        } else {
            let directory = self.0.path().rsplit_once('/').map_or("", |(d, _)| d);
            let path = format!("{directory}/{location}");
            Self::parse(&format!("{}{}", origin(), without_dots(&path)))
        }
    }

    /// The same URL with a query parameter more. Both are encoded.
    #[must_use]
    pub fn with_query(&self, name: &str, value: &str) -> Self {
        let separator = if self.0.query().is_some() { '&' } else { '?' };
        let text = format!("{}{separator}{}={}", self.0, encode(name), encode(value));
        // What is added is encoded, so the URL stays one.
        text.parse()
            .map_or_else(|_| self.clone(), |uri| Self(Arc::new(uri)))
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.scheme_str().unwrap_or("https")
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// Host and port as written.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |a| a.as_str())
    }

    /// The host alone; IPv6 addresses in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or("")
    }

    /// The path, beginning with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// The port, that of the scheme if none is written.
    #[must_use]
    pub fn port(&self) -> u16 {
        let default = if self.is_https() { 443 } else { 80 };
        self.0.port_u16().unwrap_or(default)
    }

    /// Whether both have the same scheme, host and port: what credentials are for.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        self.scheme() == other.scheme()
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

/// Printed without the query, which may hold a signature that is as good as a password.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}://{}{}", self.scheme(), self.authority(), self.0.path());
        write!(f, "{}", Escaped(&text))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// An absolute path, perhaps with a query, without `.` and `..` (RFC 3986, section 5.2.4).
fn without_dots(path: &str) -> String {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let (path, rest) = path.split_at(end);
    let mut segments: Vec<&str> = Vec::new();
    let mut closed = false;
    for segment in path.split('/').skip(1) {
        closed = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let slash = if closed && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}{rest}", segments.join("/"))
}

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3).
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// An address with the bytes percent-encoded that a URL cannot have (RFC 3986, section 2): quotes, spaces, letters beyond
/// ASCII. It means what it would mean to a client that takes them as they are.
pub(crate) fn repaired(address: &[u8]) -> String {
    let mut out = String::with_capacity(address.len());
    for &byte in address.trim_ascii() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Whether a host is this machine, by its name alone: nothing is looked up.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    match name.parse::<IpAddr>() {
        // Connections to no address in particular go to this machine, too.
        Ok(ip) => ip.to_canonical().is_loopback() || ip.to_canonical().is_unspecified(),
        // `127.1`, `0x7f.1`, `2130706433`: addresses to the resolvers of old. Nobody writes those of others so.
        Err(_) => {
            let last = name.rsplit('.').next().unwrap_or("");
            last.starts_with("0x") || (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn locations() {
        let base = Url::parse("https://r.example:5000/v2/a/blobs/uploads/x?state=1").unwrap();
        for (location, expected) in [
            ("https://b.example/y?z=1", "https://b.example/y?z=1"),
            ("//b.example/y", "https://b.example/y"),
            ("/v2/y?z", "https://r.example:5000/v2/y?z"),
            ("?p=2", "https://r.example:5000/v2/a/blobs/uploads/x?p=2"),
            ("y", "https://r.example:5000/v2/a/blobs/uploads/y"),
            (
                "../../y/./z?a/../b",
                "https://r.example:5000/v2/a/y/z?a/../b",
            ),
            ("/../../y/..", "https://r.example:5000/"),
            ("/a//b/..", "https://r.example:5000/a//"),
            ("../x/", "https://r.example:5000/v2/a/blobs/x/"),
        ] {
            assert_eq!(base.join(location).unwrap().0.to_string(), expected);
        }
        assert_eq!(base.join("ftp://x/y"), Err(UrlError::Scheme));
        assert_eq!(base.join("https://u:p@x/y"), Err(UrlError::UserInfo));
        assert_eq!(base.join("https://u@x/y"), Err(UrlError::UserInfo));
        assert_eq!(base.join("https:///y"), Err(UrlError::Syntax));
        assert_eq!(base.join(&"y".repeat(MAX_URL + 1)), Err(UrlError::Length));
    }

    #[test]
    fn addresses_are_repaired() {
        let base = Url::parse("https://r.example/v2/").unwrap();
        for (location, expected) in [
            (&b" /a\"b\" "[..], "https://r.example/a%22b%22"),
            (
                "/é?x={ü}".as_bytes(),
                "https://r.example/%C3%A9?x=%7B%C3%BC%7D",
            ),
            (b"/\xe9", "https://r.example/%E9"),
            (b"/a b\\c", "https://r.example/a%20b%5Cc"),
            (
                b"https://b.example/%2F?q=%22",
                "https://b.example/%2F?q=%22",
            ),
        ] {
            let url = base.join(&repaired(location)).unwrap();
            assert_eq!(url.0.to_string(), expected);
        }
        // No host comes of it.
        for location in [&b"https://a\\@evil.example/"[..], b"https://b\xfc.example/"] {
            assert!(base.join(&repaired(location)).is_err());
        }
    }

    #[test]
    fn nothing_of_the_query_is_printed() {
        let url = Url::parse("https://b.example/y?X-Amz-Signature=secret").unwrap();
        assert!(!format!("{url} {url:?}").contains("secret"));
        let more = url.with_query("digest", "sha256:a b");
        assert!(more.0.to_string().ends_with("&digest=sha256%3Aa%20b"));
    }

    #[test]
    fn origins() {
        let a = Url::parse("https://R.example/a").unwrap();
        assert!(a.same_origin(&Url::parse("https://r.example:443/b").unwrap()));
        assert!(!a.same_origin(&Url::parse("http://r.example:443/b").unwrap()));
        assert!(!a.same_origin(&Url::parse("https://r.example:444/b").unwrap()));
        assert!(!a.same_origin(&Url::parse("https://r.example.evil/b").unwrap()));
    }

    #[test]
    fn loopback() {
        for host in [
            "localhost",
            "LocalHost.",
            "x.localhost",
            "127.0.0.1",
            "127.3.4.5",
            "[::1]",
            "0.0.0.0",
            "[::]",
            "[::ffff:127.0.0.1]",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0x7f000001",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "128.0.0.1",
            "127.0.0.1.example",
            "[::2]",
            "1.2.3.4",
            "x1",
            "r2.example",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn any_location_is_no_panic(location in "\\PC{0,60}") {
            let base = Url::parse("http://127.0.0.1:5000/v2/").unwrap();
            if let Ok(url) = base.join(&location) {
                prop_assert!(!url.authority().contains('@'));
                prop_assert!(!url.host().is_empty());
            }
        }
    }
}
