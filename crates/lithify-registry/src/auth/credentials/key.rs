//! Keys: `host[:port][/namespace…]`.

/// The host whose other names are made one.
const HUB: &str = "docker.io";
/// The name docker stores Docker Hub's credentials under.
const HUB_LEGACY: &str = "https://index.docker.io/v1/";

/// A key in its one form: no scheme, no API version, host in lower case, Docker Hub as `docker.io`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// The key a repository has.
    pub(crate) fn wanted(registry: &str, repository: &str) -> Self {
        let host = canonical_host(registry);
        match repository.trim_matches('/') {
            "" => Self(host),
            path => Self(format!("{host}/{path}")),
        }
    }

    /// A key of a file; nothing if it cannot be one.
    ///
    /// Docker wrote URLs, of which only the host means something; containers-auth.json(5) has paths too.
    pub(crate) fn normalise(text: &str) -> Option<Self> {
        let without = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let rest = without.unwrap_or(text).trim_end_matches('/');
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return None;
        }
        let only_host = without.is_some() || matches!(path, "" | "v1" | "v2");
        Some(Self::wanted(host, if only_host { "" } else { path }))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn host(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// The key and what it lies in, the longest first, the host last.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |key| {
            key.rsplit_once('/').map(|(parent, _)| parent)
        })
    }
}

/// Host names are the same in any case, and Docker Hub has three.
pub(crate) fn canonical_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => HUB.to_owned(),
        _ => host,
    }
}

/// The names a helper may know a key by, in the order to ask. Docker uses a URL for its own registry and bare hosts
/// for all others; containers' tools say `docker.io`.
pub(crate) fn servers(key: &str) -> Vec<String> {
    if key == HUB {
        return vec![HUB_LEGACY.to_owned(), HUB.to_owned()];
    }
    vec![key.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_have_one_form() {
        for (text, expected) in [
            ("quay.io", "quay.io"),
            ("quay.io/team/app", "quay.io/team/app"),
            ("QUAY.io/", "quay.io"),
            ("https://quay.io", "quay.io"),
            ("https://quay.io/v2/", "quay.io"),
            ("http://localhost:5000/v2", "localhost:5000"),
            ("localhost:5000", "localhost:5000"),
            ("[::1]:5000/x", "[::1]:5000/x"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("docker.io/library", "docker.io/library"),
        ] {
            assert_eq!(Key::normalise(text).unwrap().as_str(), expected, "{text}");
        }
        assert_eq!(Key::normalise(""), None);
        assert_eq!(Key::normalise("https://"), None);
    }

    #[test]
    fn prefixes_end_at_slashes() {
        let key = Key::wanted("registry-1.docker.io", "library/alpine");
        let prefixes: Vec<&str> = key.prefixes().collect();
        assert_eq!(
            prefixes,
            ["docker.io/library/alpine", "docker.io/library", "docker.io"]
        );
        assert_eq!(key.host(), "docker.io");
    }

    proptest! {
        #[test]
        fn normalising_never_panics_and_is_stable(text in "\\PC{0,40}") {
            if let Some(key) = Key::normalise(&text) {
                for prefix in key.prefixes() {
                    prop_assert!(key.as_str().starts_with(prefix));
                }
            }
        }
    }
}
