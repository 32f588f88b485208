//! Proxies: which one leads where, and the way through it.

mod absolute; // requests a proxy answers itself
mod bypass; // hosts that need none
mod connector; // connections through one
mod passage; // what comes through one
mod punycode; // names that are not ASCII

use std::sync::Arc;

use crate::Secret;
use crate::http::failure::ProxyError;
use crate::http::proxy_address::Proxy;
use crate::http::url::{Url, is_loopback};
use bypass::Bypass;
pub(crate) use connector::{Names, ProxyNames, Reached, Socks, Through};
pub(crate) use passage::{Incoming, Passage};

/// A proxy, or where one is named that has no address.
type Named = Result<Arc<Proxy>, &'static str>;

/// The proxies there are, and what is asked without them.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Named>,
    https: Option<Named>,
    bypass: Bypass,
}

impl Proxies {
    /// Those of the environment, by the rules of Go's `httpproxy`; and `ALL_PROXY`,
    /// as curl knows it.
    ///
    /// `direct` is instead of `NO_PROXY`. A variable that is no address is an error of what would be asked through it:
    /// who set it does not want to be connected without.
    pub(crate) fn of_environment(direct: Option<&[String]>) -> Self {
        Self::of(|name| std::env::var(name).ok(), direct)
    }

    fn of(get: impl Fn(&str) -> Option<String>, direct: Option<&[String]>) -> Self {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        // As CGI knows no difference between a variable and a header `Proxy:` of a request (CVE-2016-5385).
        let is_cgi = set("REQUEST_METHOD").is_some();
        let first = |names: &[&'static str]| {
            let mut names = names.iter().copied();
            let (name, text) = names.find_map(|name| {
                if name == "HTTP_PROXY" && is_cgi {
                    if set(name).is_some() {
                        log::warn!(
                            "$HTTP_PROXY is not used, because $REQUEST_METHOD is set: anybody who sends a request could have \
                             set it; use $http_proxy"
                        );
                    }
                    return None;
                }
                set(name).map(|text| (name, text))
            })?;
            let origin = variable(name);
            Some(Proxy::parse(&text, origin).map(Arc::new).ok_or(origin))
        };
        let bypass = match direct {
            Some(entries) => Bypass::of(entries.iter().flat_map(|entry| entry.split(','))),
            None => {
                let entries = set("NO_PROXY").or_else(|| set("no_proxy"));
                Bypass::of(entries.unwrap_or_default().split(','))
            }
        };
        Self {
            http: first(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            https: first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            bypass,
        }
    }

    /// One for everything; `None` if it is no URL.
    pub(crate) fn configured(url: &Secret, direct: &[String]) -> Option<Self> {
        let proxy = Arc::new(Proxy::parse(url.expose(), "`proxy` in registries.toml")?);
        Some(Self {
            http: Some(Ok(Arc::clone(&proxy))),
            https: Some(Ok(proxy)),
            bypass: Bypass::of(direct.iter().flat_map(|entry| entry.split(','))),
        })
    }

    /// The one that leads to a URL. This machine is never asked through one.
    pub(crate) fn to(&self, url: &Url) -> Result<Option<&Arc<Proxy>>, ProxyError> {
        let named = match url.is_https() {
            true => self.https.as_ref(),
            false => self.http.as_ref(),
        };
        let is_direct = || is_loopback(url.host()) || self.bypass.has(url.host(), url.port());
        match named {
            Some(named) if !is_direct() => match named {
                Ok(proxy) => Ok(Some(proxy)),
                Err(origin) => Err(ProxyError::Address { origin }),
            },
            _ => Ok(None),
        }
    }
}

/// A variable as messages name it.
fn variable(name: &str) -> &'static str {
    match name {
        "HTTP_PROXY" => "$HTTP_PROXY",
        "http_proxy" => "$http_proxy",
        "HTTPS_PROXY" => "$HTTPS_PROXY",
        "https_proxy" => "$https_proxy",
        "ALL_PROXY" => "$ALL_PROXY",
        _ => "$all_proxy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What leads to a URL, with these variables.
    fn found(variables: &[(&str, &str)], url: &str) -> String {
        let get = |name: &str| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let proxies = Proxies::of(get, None);
        let url = Url::parse(url).unwrap();
        match proxies.to(&url) {
            Ok(proxy) => proxy.map_or("none".into(), ToString::to_string),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn variables() {
        let both = [
            ("HTTP_PROXY", "p.example"),
            ("https_proxy", "https://s.example"),
        ];
        let http = "the proxy http://p.example:80 ($HTTP_PROXY)";
        assert_eq!(found(&both, "http://r.example/"), http);
        assert_eq!(
            found(&both, "https://r.example/"),
            "the proxy https://s.example:443 ($https_proxy)"
        );
        let cgi = [both[0], both[1], ("REQUEST_METHOD", "GET")];
        assert_eq!(found(&cgi, "http://r.example/"), "none");
        assert_ne!(found(&cgi, "https://r.example/"), "none");
        let cgi = [cgi[0], cgi[2], ("http_proxy", "http://q.example:1")];
        assert_eq!(
            found(&cgi, "http://r.example/"),
            "the proxy http://q.example:1 ($http_proxy)"
        );
        let all = [("ALL_PROXY", "socks5h://u:secret@x.example")];
        assert_eq!(
            found(&all, "https://r.example/"),
            "the proxy socks5h://x.example:1080 ($ALL_PROXY)"
        );
        // Capitals first, as for Go 1.19.8; what is empty is not set.
        let cases = [
            ("HTTPS_PROXY", ""),
            ("https_proxy", "a.example:1"),
            ("ALL_PROXY", "b.example:2"),
        ];
        assert_eq!(
            found(&cases, "https://r.example/"),
            "the proxy http://a.example:1 ($https_proxy)"
        );
    }

    #[test]
    fn addresses_that_are_none_are_errors_of_their_variable() {
        for nonsense in [
            "ftp://p.example",
            "http://",
            "http://p ex:80",
            "a b",
            "http://p.example:65536",
            "p.example:0",
            "http://me:hunter2#x@p.example:80",
            "http://me:80/hunter2@p.example:80",
            "http://me:80?hunter2@p.example",
        ] {
            let set = [("HTTP_PROXY", nonsense)];
            let text = found(&set, "http://r.example/");
            assert!(
                text.starts_with("the proxy in $HTTP_PROXY is no address"),
                "{text}"
            );
            assert!(!text.contains("hunter2"), "{text}");
            // What does not go through it is not its business.
            assert_eq!(found(&set, "https://r.example/"), "none");
            assert_eq!(found(&set, "http://localhost/"), "none");
            let without = [set[0], ("NO_PROXY", "r.example")];
            assert_eq!(found(&without, "http://r.example/"), "none");
        }
        let usual = [("HTTP_PROXY", "http://p.example:3128/")];
        assert!(found(&usual, "http://r.example/").starts_with("the proxy http://p.example:3128 "));
    }

    #[test]
    fn a_list_of_the_configuration_is_instead_of_the_environment_s() {
        let get = |name: &str| match name {
            "NO_PROXY" => Some("a.example".to_owned()),
            "HTTP_PROXY" => Some("p.example".to_owned()),
            _ => None,
        };
        for (list, expected) in [
            (None, [false, true]),
            (Some(&["b.example".to_owned()][..]), [true, false]),
            (Some(&[][..]), [true, true]),
        ] {
            let proxies = Proxies::of(get, list);
            for (host, proxied) in ["a.example", "b.example"].into_iter().zip(expected) {
                let url = Url::parse(&format!("http://{host}/")).unwrap();
                assert_eq!(
                    proxies.to(&url).unwrap().is_some(),
                    proxied,
                    "{host} {list:?}"
                );
            }
        }
    }

    #[test]
    fn this_machine_needs_none() {
        let proxy = [("HTTP_PROXY", "p.example"), ("HTTPS_PROXY", "p.example")];
        for host in ["localhost", "127.0.0.1", "127.9.8.7:5000", "[::1]:5000"] {
            assert_eq!(found(&proxy, &format!("http://{host}/")), "none", "{host}");
            assert_eq!(found(&proxy, &format!("https://{host}/")), "none", "{host}");
        }
        assert_ne!(found(&proxy, "http://[::2]/"), "none");
    }
}
