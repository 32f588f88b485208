//! Proxies by their addresses.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lithify_escape::Escaped;
use ureq::{Proxy as Parsed, ProxyProtocol};

use crate::Secret;

/// A proxy by its address.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(super) parsed: Parsed,
    /// Where it was named.
    origin: &'static str,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<Secret>,
}

impl Proxy {
    /// Reads `[http|https|socks4|socks4a|socks5|socks5h://][user:password@]host[:port]`.
    pub(super) fn parse(text: &str, origin: &'static str) -> Option<Self> {
        let text = text.trim();
        if !is_address(text) {
            return None;
        }
        let parsed = Parsed::new(text).ok()?;
        if parsed.host().is_empty() {
            return None;
        }
        let user = parsed.username().unwrap_or_default();
        let password = parsed.password().unwrap_or_default();
        let is_somebody = !user.is_empty() || !password.is_empty();
        let authorization = is_somebody.then(|| {
            let pair = STANDARD.encode(format!("{user}:{password}"));
            Secret::new(format!("Basic {pair}"))
        });
        Some(Self {
            parsed,
            origin,
            authorization,
        })
    }

    /// Whether it is spoken to in HTTP.
    pub(crate) fn is_http(&self) -> bool {
        matches!(
            self.parsed.protocol(),
            ProxyProtocol::Http | ProxyProtocol::Https
        )
    }

    /// Whether it is spoken to by TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.parsed.protocol() == ProxyProtocol::Https
    }

    /// As the HTTP library knows it, where that is who speaks to it.
    pub(crate) fn socks(&self) -> Option<Parsed> {
        (!self.is_http()).then(|| self.parsed.clone())
    }

    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.parsed.host(), self.parsed.port())
    }
}

/// Whether an address can be taken apart in one way only: what ends it (`/`, `?`, `#`) in a password would have the user
/// name taken for the host, and a port that is none be taken for the usual one.
fn is_address(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let port = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => port,
        _ => "",
    };
    !path.contains('@') && (port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Its address, without who signs in to it, and where it was named.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.parsed.protocol().to_string().to_ascii_lowercase();
        let address = format!("{scheme}://{}", self.authority());
        write!(f, "the proxy {} ({})", Escaped(&address), self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_for_the_proxy_alone() {
        let proxy = Proxy::parse("http://me:p%40ss%2F@p.example:8080", "x").unwrap();
        let value = proxy.authorization.as_ref().unwrap().expose();
        assert_eq!(value, format!("Basic {}", STANDARD.encode("me:p@ss/")));
        let shown = format!("{proxy} {proxy:?}");
        assert!(
            !shown.contains("p@ss") && !shown.contains("p%40ss"),
            "{shown}"
        );
        assert!(!shown.contains(&STANDARD.encode("me:p@ss/")), "{shown}");
        assert!(
            Proxy::parse("p.example", "x")
                .unwrap()
                .authorization
                .is_none()
        );
    }
}
