//! Names, prefixes, and which prefix fits.

use std::fmt;

use lithify_oci::reference::Reference;

pub(super) use crate::auth::is_loopback_authority as is_loopback;

/// Host names are the same in any case, and Docker Hub has three.
pub(super) fn canonical(host: &str) -> String {
    crate::auth::canonical_host(host)
}

/// A prefix of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    /// `host[:port]` and `/path`, or nothing after it.
    Path { host: String, path: String },
    /// What follows the star, such as `.example.com:5000`.
    Below(String),
}

impl Prefix {
    /// Reads `host[:port][/path]` or `*.host[:port]`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('*') {
            let domain = rest.strip_prefix('.')?;
            if domain.contains('/') || !is_location(domain) {
                return None;
            }
            return Some(Self::Below(rest.to_ascii_lowercase()));
        }
        if !is_location(text) {
            return None;
        }
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        Some(Self::Path {
            host: canonical(host),
            path: path.to_owned(),
        })
    }

    /// What of a name follows the prefix, beginning with `/` or empty; nothing if it does not fit.
    pub(super) fn rest(&self, host: &str, path: &str) -> Option<String> {
        match self {
            Self::Below(domain) => {
                let name = host.strip_suffix(domain.as_str())?;
                (!name.is_empty()).then(|| with_slash(path))
            }
            Self::Path { host: h, .. } if h != host => None,
            Self::Path { path: p, .. } if p.is_empty() => Some(with_slash(path)),
            Self::Path { path: p, .. } => {
                let rest = path.strip_prefix(p.as_str())?;
                (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
            }
        }
    }

    /// Of two that fit, the one with the higher rank is used.
    pub(super) fn rank(&self) -> (bool, usize) {
        match self {
            Self::Path { host, path } => (true, host.len() + path.len()),
            Self::Below(domain) => (false, domain.len()),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(domain) => write!(f, "*{domain}"),
            Self::Path { host, path } if path.is_empty() => f.write_str(host),
            Self::Path { host, path } => write!(f, "{host}/{path}"),
        }
    }
}

fn with_slash(path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    format!("/{path}")
}

/// Whether this is `host[:port][/path]` by the grammar of references. A host without a dot needs a port, or it would be
/// the first component of a path.
pub(super) fn is_location(text: &str) -> bool {
    let full = if text.contains('/') {
        text.to_owned()
    } else {
        format!("{text}/x")
    };
    full.parse::<Reference>().is_ok_and(|reference| {
        reference.domain().is_some() && reference.tag().is_none() && reference.digest().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prefixes_fit_at_slashes() {
        let rest =
            |prefix: &str, host: &str, path: &str| Prefix::parse(prefix).unwrap().rest(host, path);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(rest("a.io", "a.io", "x/y"), some("/x/y"));
        assert_eq!(rest("a.io/x", "a.io", "x/y"), some("/y"));
        assert_eq!(rest("a.io/x/y", "a.io", "x/y"), some(""));
        assert_eq!(rest("a.io/x", "a.io", "xy"), None);
        assert_eq!(rest("a.io", "a.io:5000", "x"), None);
        assert_eq!(rest("a.io:5000", "a.io:5000", "x"), some("/x"));
        assert_eq!(rest("index.docker.io", "docker.io", "x"), some("/x"));
        assert_eq!(rest("*.b.io", "a.b.io", "x"), some("/x"));
        assert_eq!(rest("*.b.io", "c.a.b.io", "x"), some("/x"));
        assert_eq!(rest("*.b.io", "b.io", "x"), None);
        assert_eq!(rest("*.b.io", "xb.io", "x"), None);
        assert_eq!(rest("*.b.io", "a.b.io:5000", "x"), None);
        assert_eq!(rest("*.b.io:5000", "a.b.io:5000", "x"), some("/x"));
    }

    #[test]
    fn other_prefixes_are_none() {
        for text in [
            "",
            "*",
            "*.",
            "*a.io",
            "a*.io",
            "*.a.io/x",
            "host",
            "host/x",
            "http://a.io",
            "a.io/",
            "a.io/X",
            "a.io/x:tag",
            "a.io//x",
            "../x",
            "a.io:99999",
            "a.io ",
        ] {
            assert_eq!(Prefix::parse(text), None, "{text:?}");
        }
        assert!(Prefix::parse("localhost").is_some());
        assert!(Prefix::parse("[::1]:5000/x").is_some());
    }

    proptest! {
        #[test]
        fn never_panics(prefix in "[*.a-z:0-9/]{0,20}", host in "[a-z.:]{0,10}", path in "[a-z/]{0,10}") {
            if let Some(prefix) = Prefix::parse(&prefix) {
                if let Some(rest) = prefix.rest(&host, &path) {
                    prop_assert!(rest.is_empty() || rest.starts_with('/'));
                }
                prop_assert_eq!(Prefix::parse(&prefix.to_string()), Some(prefix));
            }
        }
    }
}
