//! Realms: where tokens come from. The rules and their reasons are in the documentation of [`auth`](crate::auth).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lithify_escape::Escaped;

use crate::auth::Registry;

/// Longest realm in bytes.
const MAX_REALM: usize = 2048;

/// Why nothing is sent to a realm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RealmError {
    /// No `realm` in the challenge.
    #[error("the challenge names no realm")]
    Missing,
    /// More than 2048 bytes.
    #[error("its realm has {found} bytes, at most {MAX_REALM} are allowed")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Not `https://host[:port]/…`.
    #[error("its realm `{}` is no plain URL: {reason}", Escaped(.realm))]
    Url {
        /// The realm.
        realm: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not on the list.
    #[error("its realm is on {host}, which is not among the `realms` configured for it")]
    Host {
        /// The realm's host.
        host: String,
    },
}

/// A realm that may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Realm {
    url: String,
    /// Whether the registry calls it `http`, where it may not be asked so.
    encrypted: bool,
}

impl Realm {
    /// Checks a challenge's realm against the rules for its registry.
    pub(crate) fn check(realm: &str, registry: &Registry) -> Result<Self, RealmError> {
        if realm.len() > MAX_REALM {
            return Err(RealmError::TooLong { found: realm.len() });
        }
        let odd = |reason| RealmError::Url {
            realm: realm.to_owned(),
            reason,
        };
        if !realm
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&b))
        {
            return Err(odd("it has characters a URL has not"));
        }
        let (scheme, rest) = realm
            .split_once("://")
            .ok_or_else(|| odd("expected https://"))?;
        let plain = match scheme.to_ascii_lowercase().as_str() {
            "https" => false,
            "http" => true,
            _ => return Err(odd("expected https://")),
        };
        if rest.contains('#') {
            return Err(odd("it has a fragment"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(odd("it has user information"));
        }
        let host = host_of(authority).ok_or_else(|| odd("its host is none"))?;
        // Registries behind something that ends TLS do not know that they are encrypted. To ask the same host with
        // encryption is what they mean, and gives nobody more than they asked for.
        let encrypted =
            plain && !(registry.is_plain_http() && (registry.is_insecure() || is_loopback(host)));
        let own = authority.eq_ignore_ascii_case(registry.host());
        if let Some(allowed) = registry.allowed_realms()
            && !own
            && !allowed.iter().any(|allowed| {
                allowed.eq_ignore_ascii_case(authority) || allowed.eq_ignore_ascii_case(host)
            })
        {
            return Err(RealmError::Host {
                host: authority.to_owned(),
            });
        }
        let slash = if tail.starts_with('/') { "" } else { "/" };
        let scheme = if plain && !encrypted { "http" } else { "https" };
        let mut authority = authority.to_ascii_lowercase();
        if encrypted && let Some(host) = authority.strip_suffix(":80") {
            authority = host.to_owned();
        }
        Ok(Self {
            url: format!("{scheme}://{authority}{slash}{tail}"),
            encrypted,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without its query, which is the realm's own business.
        f.write_str(self.url.split('?').next().unwrap_or(&self.url))?;
        if self.encrypted {
            f.write_str(" (which it calls http://)")?;
        }
        Ok(())
    }
}

/// The host of `host[:port]`, if both are well formed. An IPv6 address keeps its brackets.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, port) = authority.split_at(end);
        host[1..end - 1].parse::<Ipv6Addr>().ok()?;
        (host, port)
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        let (host, port) = authority.split_at(end);
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if host.len() > 253 || !host.split('.').all(label) {
            return None;
        }
        // `0x7f.1` and `2130706433` are addresses to some resolvers and names to others.
        let last = host.rsplit('.').next()?;
        let numeric =
            last.bytes().all(|b| b.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x");
        if numeric && host.parse::<Ipv4Addr>().is_err() {
            return None;
        }
        (host, port)
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Some(host),
        Some(digits)
            if digits.bytes().all(|b| b.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|n| n > 0) =>
        {
            Some(host)
        }
        _ => None,
    }
}

/// Whether a host (without port) is this machine, by its name alone: `localhost`, `127.0.0.0/8`, `[::1]`.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// [`is_loopback`] of `host[:port]`.
pub(crate) fn is_loopback_authority(authority: &str) -> bool {
    host_of(authority).is_some_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn https() -> Registry {
        Registry::new("registry.example.com", "a")
    }

    #[test]
    fn ordinary_realms_are_asked() {
        for (realm, asked) in [
            (
                "https://auth.docker.io/token",
                "https://auth.docker.io/token",
            ),
            (
                "HTTPS://Auth.Example.com:8443",
                "https://auth.example.com:8443/",
            ),
            ("https://x?a=b", "https://x/?a=b"),
            (
                "https://[2001:db8::1]:5000/t",
                "https://[2001:db8::1]:5000/t",
            ),
            ("https://10.0.0.1/t", "https://10.0.0.1/t"),
        ] {
            assert_eq!(Realm::check(realm, &https()).unwrap().as_str(), asked);
        }
    }

    #[test]
    fn odd_realms_are_not() {
        let long = format!("https://x/{}", "a".repeat(MAX_REALM));
        for realm in [
            "",
            "/token",
            "//auth/token",
            "ftp://auth/token",
            "file:///etc/passwd",
            "https:auth/token",
            "https://",
            "https:///token",
            "https://me@auth/token",
            "https://me:pw@auth/token",
            "https://registry.example.com@evil/token",
            "https://a b/token",
            "https://auth\\@evil/token",
            "https://auth/token#x",
            "https://auth:0/token",
            "https://auth:99999/",
            "https://auth:+1/",
            "https://auth:/",
            "https://[::1/x",
            "https://[x]/x",
            "https://a..b/",
            "https://-a/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://127.1/",
            "https://\u{e4}/",
            "https://a/\r\nX: y",
            &long,
        ] {
            assert!(Realm::check(realm, &https()).is_err(), "{realm:?}");
        }
    }

    #[test]
    fn plain_http_needs_a_plain_registry() {
        let plain = |host: &str| Registry::new(host, "a").plain_http(true);
        for (realm, registry, asked) in [
            ("http://auth/t", https(), "https://auth/t"),
            ("http://auth:80/t?x", https(), "https://auth/t?x"),
            ("http://auth:5001/t", https(), "https://auth:5001/t"),
            (
                "http://[2001:db8::1]:80/t",
                https(),
                "https://[2001:db8::1]/t",
            ),
            ("http://127.0.0.1/t", https(), "https://127.0.0.1/t"),
            ("http://auth/t", https().insecure(true), "https://auth/t"),
            ("http://auth/t", plain("127.0.0.1:5000"), "https://auth/t"),
            (
                "http://127.0.0.1:6000/t",
                plain("127.0.0.1:5000"),
                "http://127.0.0.1:6000/t",
            ),
            (
                "http://localhost/t",
                plain("127.0.0.1:5000"),
                "http://localhost/t",
            ),
            ("http://[::1]/t", plain("127.0.0.1:5000"), "http://[::1]/t"),
            (
                "http://auth/t",
                plain("registry").insecure(true),
                "http://auth/t",
            ),
            ("https://auth/t", plain("127.0.0.1:5000"), "https://auth/t"),
        ] {
            let checked = Realm::check(realm, &registry).unwrap();
            assert_eq!(checked.as_str(), asked, "{realm}");
        }
        let odd = Realm::check("http://auth/t?x", &https()).unwrap();
        assert_eq!(odd.to_string(), "https://auth/t (which it calls http://)");
    }

    #[test]
    fn realms_can_be_restricted() {
        let only =
            |hosts: &[&str]| https().realms(Some(hosts.iter().map(|h| (*h).to_owned()).collect()));
        let check = |realm: &str, registry: &Registry| Realm::check(realm, registry).is_ok();
        assert!(check("https://registry.example.com/t", &only(&[])));
        assert!(!check("https://auth.example.com/t", &only(&[])));
        assert!(check(
            "https://auth.example.com/t",
            &only(&["auth.example.com"])
        ));
        assert!(check(
            "https://AUTH.example.com:444/t",
            &only(&["auth.example.com"])
        ));
        assert!(!check(
            "https://x.auth.example.com/t",
            &only(&["auth.example.com"])
        ));
    }

    proptest! {
        #[test]
        fn never_panics(realm in "(https?://)?[\\PC]{0,30}") {
            drop(Realm::check(&realm, &https()));
        }
    }
}
