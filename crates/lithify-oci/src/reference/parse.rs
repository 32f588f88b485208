//! The reference grammar.

use std::str::FromStr;

use lithify_digest::Digest;
use lithify_escape::Escaped;

use super::Reference;

/// Longest path of a reference in bytes (distribution's `RepositoryNameTotalLengthMax`).
const MAX_PATH: usize = 255;
/// Longest domain in bytes: a DNS name (RFC 1035, 2.3.4) and a port.
const MAX_DOMAIN: usize = 255 + 6;
/// Longest tag in bytes.
const MAX_TAG: usize = 128;

/// Why a string is not an image reference. Hostile characters are printed escaped.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Nothing where a name should be.
    #[error("empty image reference: expected [domain/]path[:tag][@digest], such as alpine:3.20")]
    Empty,
    /// Upper case in the path; the commonest mistake, so it has its own words.
    #[error("`{}` has upper-case letters: repository names are lower case", Escaped(.path))]
    Uppercase {
        /// The path as written.
        path: String,
    },
    /// A path component outside `[a-z0-9]+` joined by `.`, `_`, `__` or dashes.
    #[error("`{}` is no repository name: component `{}` is not lower-case letters and digits joined by `.`, `_`, `__` or `-`", Escaped(.path), Escaped(.component))]
    Path {
        /// The path as written.
        path: String,
        /// The offending component.
        component: String,
    },
    /// More than 255 bytes of path.
    #[error("repository name has {found} bytes, at most {MAX_PATH} are allowed")]
    PathTooLong {
        /// Bytes found.
        found: usize,
    },
    /// A domain that is no DNS name, IPv4 address or bracketed IPv6 address with optional port.
    #[error("`{}` is no registry host: expected name, IPv4 or [IPv6] with an optional :port", Escaped(.domain))]
    Domain {
        /// The domain as written.
        domain: String,
    },
    /// A tag outside `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
    #[error("`{}` is no tag: expected at most {MAX_TAG} letters, digits, `_`, `.` or `-`, not starting with `.` or `-`", Escaped(.tag))]
    Tag {
        /// The tag as written.
        tag: String,
    },
    /// The part after `@`.
    #[error("after `@`: {source}")]
    Digest {
        /// What is wrong with it.
        source: lithify_digest::ParseError,
    },
    /// 64 hexadecimal digits alone are an image id, not a name; taking them for a repository
    /// would ask a registry for something the user did not mean.
    #[error("`{id}` is an image id, not a name: write NAME@sha256:{id} to pin an image")]
    Identifier {
        /// The id as written.
        id: String,
    },
}

impl FromStr for Reference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (
                rest,
                Some(
                    digest
                        .parse::<Digest>()
                        .map_err(|source| ParseError::Digest { source })?,
                ),
            ),
            None => (text, None),
        };
        let (domain, rest) = split_domain(rest);
        // A port is gone with the domain, so a colon that is left starts the tag.
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if path.is_empty() {
            return Err(match domain {
                Some(_) => ParseError::Path {
                    path: rest.to_owned(),
                    component: String::new(),
                },
                None => ParseError::Empty,
            });
        }
        if let Some(domain) = domain
            && !is_domain(domain)
        {
            return Err(ParseError::Domain {
                domain: domain.to_owned(),
            });
        }
        check_path(path)?;
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ParseError::Tag {
                tag: tag.to_owned(),
            });
        }
        if domain.is_none() && is_identifier(path) {
            return Err(ParseError::Identifier {
                id: path.to_owned(),
            });
        }
        Ok(Self {
            domain: domain.map(str::to_owned),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Splits off the domain, by the rule in the module's documentation.
fn split_domain(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first
                    .bytes()
                    .any(|b| b == b'.' || b == b':' || b == b'[' || b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

fn is_domain(domain: &str) -> bool {
    if domain.len() > MAX_DOMAIN {
        return false;
    }
    let (host_ok, port) = if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else {
            return false;
        };
        let hex = |b: u8| b.is_ascii_hexdigit() || b == b':';
        (!address.is_empty() && address.bytes().all(hex), after)
    } else {
        let end = domain.find(':').unwrap_or(domain.len());
        let (host, port) = domain.split_at(end);
        (host.split('.').all(is_domain_component), port)
    };
    let port_ok = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok() && digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    host_ok && port_ok
}

fn is_domain_component(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
        && component
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn check_path(path: &str) -> Result<(), ParseError> {
    if path.len() > MAX_PATH {
        return Err(ParseError::PathTooLong { found: path.len() });
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ParseError::Uppercase {
            path: path.to_owned(),
        });
    }
    match path
        .split('/')
        .find(|component| !is_path_component(component))
    {
        Some(component) => Err(ParseError::Path {
            path: path.to_owned(),
            component: component.to_owned(),
        }),
        None => Ok(()),
    }
}

/// `[a-z0-9]+` runs joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = component.as_bytes();
    loop {
        let run = rest.iter().take_while(|b| alphanumeric(b)).count();
        if run == 0 {
            return false;
        }
        rest = &rest[run..];
        let separator = match rest {
            [] => return true,
            [b'.', ..] | [b'_', ..] if !rest.starts_with(b"__") => 1,
            [b'_', ..] => 2,
            [b'-', ..] => rest.iter().take_while(|&&b| b == b'-').count(),
            _ => return false,
        };
        rest = &rest[separator..];
    }
}

/// Whether `text` can be the tag of a reference.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_identifier(path: &str) -> bool {
    path.len() == 64
        && path
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (
        Option<&'static str>,
        &'static str,
        Option<&'static str>,
        bool,
    );

    #[test]
    fn accepts_the_grammar() {
        let hex = "a".repeat(64);
        let pin = format!("@sha256:{hex}");
        let cases: Vec<(String, Parts)> = vec![
            ("alpine".into(), (None, "alpine", None, false)),
            ("alpine:3.20".into(), (None, "alpine", Some("3.20"), false)),
            ("me/app".into(), (None, "me/app", None, false)),
            (
                "localhost/app".into(),
                (Some("localhost"), "app", None, false),
            ),
            (
                "localhost:5000/app:x".into(),
                (Some("localhost:5000"), "app", Some("x"), false),
            ),
            (
                "host:5000/a/b/c".into(),
                (Some("host:5000"), "a/b/c", None, false),
            ),
            ("HOST/app".into(), (Some("HOST"), "app", None, false)),
            (
                "127.0.0.1:80/x".into(),
                (Some("127.0.0.1:80"), "x", None, false),
            ),
            (
                "[2001:db8::1]/x:t".into(),
                (Some("[2001:db8::1]"), "x", Some("t"), false),
            ),
            (
                "[::1]:5000/x".into(),
                (Some("[::1]:5000"), "x", None, false),
            ),
            ("a__b/c--d.e_f".into(), (None, "a__b/c--d.e_f", None, false)),
            (
                "xn--n3h.com/myimage".into(),
                (Some("xn--n3h.com"), "myimage", None, false),
            ),
            (format!("alpine{pin}"), (None, "alpine", None, true)),
            (
                format!("ghcr.io/o/i:1{pin}"),
                (Some("ghcr.io"), "o/i", Some("1"), true),
            ),
            // A colon without a slash after it is a tag, never a port.
            ("host:5000".into(), (None, "host", Some("5000"), false)),
            ("localhost".into(), (None, "localhost", None, false)),
            (
                format!("docker.io/{hex}"),
                (Some("docker.io"), "", None, false),
            ),
        ];
        for (text, (domain, path, tag, digest)) in cases {
            let parsed: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(parsed.domain(), domain, "{text}");
            if !path.is_empty() {
                assert_eq!(parsed.path(), path, "{text}");
            }
            assert_eq!(parsed.tag(), tag, "{text}");
            assert_eq!(parsed.digest().is_some(), digest, "{text}");
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn refuses_everything_else() {
        let long = format!("a/{}", "x".repeat(255));
        for text in [
            "",
            ":",
            "@",
            ":tag",
            "/x",
            "x/",
            "a//b",
            "A",
            "me/App",
            "a:",
            "a:.x",
            "a:-x",
            "a b",
            "a@sha256:12",
            "a@md5:00",
            "a@",
            "a:b:c",
            "a@b@c",
            "_a",
            "a_",
            "a___b",
            "a..b",
            "-a",
            "a-",
            "host.:5000/x",
            "-h.com/x",
            "h.com:/x",
            "h.com:x/y",
            "h.com:99999/y",
            "h.com:+1/y",
            "[::1/x",
            "[]/x",
            "[g::]/x",
            "[::1]5000/x",
            "h.com/",
            "h.com/:tag",
            "ä/x",
            "a/\u{0}",
            "http://x/y",
            &long,
            &"x".repeat(256),
            &"f".repeat(64),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert!(
            format!("a:{}", "t".repeat(128))
                .parse::<Reference>()
                .is_ok()
        );
        assert!(
            format!("a:{}", "t".repeat(129))
                .parse::<Reference>()
                .is_err()
        );
        assert!(matches!(
            "me/App".parse::<Reference>(),
            Err(ParseError::Uppercase { .. })
        ));
    }

    #[test]
    fn hub_names_are_equal() {
        let same = |a: &str, b: &str| {
            a.parse::<Reference>()
                .unwrap()
                .names_same_image(&b.parse().unwrap())
        };
        assert!(same("alpine", "docker.io/library/alpine:latest"));
        assert!(same("index.docker.io/alpine", "alpine"));
        assert!(same("docker.io/alpine:1", "library/alpine:1"));
        assert!(!same("alpine:1", "alpine:2"));
        assert!(!same("localhost/alpine", "alpine"));
        assert!(!same("quay.io/alpine", "quay.io/library/alpine"));
    }
}
