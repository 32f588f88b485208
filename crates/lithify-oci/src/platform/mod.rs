//! Platforms: parsing `--platform`, one spelling for each, and which image runs where.
//!
//! Names are Go's `GOOS` and `GOARCH` (image-spec, `image-index.md`, "platform"). Spelling
//! and the order of variants follow containerd's `platforms` package, so the same `--platform`
//! chooses the same image there and here, with one exception: an image of *another* architecture
//! never matches (containerd lets `amd64` take `386`, and `arm64` take `arm`). Many `arm64` machines
//! cannot run 32-bit code at all, and an image of the wrong architecture taken in silence is
//! found out late.

mod distinct; // each platform once
mod matching;
mod normalise;

use std::fmt;
use std::str::FromStr;

use lithify_escape::Escaped;
use serde::Serialize;

pub(crate) use distinct::Distinct;
pub use matching::Rank;

/// The feature of the system that manifests with EROFS layers ask for (erofs-image-spec 5.4; containerd writes it too).
pub const EROFS_FEATURE: &str = "erofs";

/// An operating system and processor architecture, in the one spelling lithify uses.
///
/// ```
/// use lithify_oci::platform::Platform;
///
/// let platform: Platform = "linux/aarch64".parse()?;
/// assert_eq!(platform.to_string(), "linux/arm64/v8");
/// assert_eq!(platform, "arm64".parse()?);
/// let windows: Platform = "windows(10.0.20348)/amd64".parse()?;
/// assert_eq!(windows.os_version(), Some("10.0.20348"));
/// # Ok::<(), lithify_oci::platform::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Platform {
    os: String,
    architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    os_features: Vec<String>,
}

/// Why a string is no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Not one to three parts.
    #[error("`{}` is no platform: expected OS/ARCH[/VARIANT], such as linux/arm64/v8", Escaped(.found))]
    Parts {
        /// The whole string.
        found: String,
    },
    /// A part with characters no platform name has.
    #[error("`{}` cannot be part of a platform: expected letters, digits, `_`, `-` or `.`", Escaped(.part))]
    Part {
        /// The offending part.
        part: String,
    },
    /// A single part that is neither a known system nor a known architecture.
    #[error("`{}` is neither an operating system nor an architecture: write OS/ARCH", Escaped(.found))]
    Unknown {
        /// The whole string.
        found: String,
    },
}

impl Platform {
    /// A platform from its names, normalised. An empty variant or version counts as none.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, variant) = normalise::architecture(architecture, variant.unwrap_or(""));
        Self {
            os: normalise::os(os),
            architecture,
            variant,
            os_version: None,
            os_features: Vec::new(),
        }
    }

    /// The same platform with an operating system version, such as a Windows build.
    #[must_use]
    pub fn with_os_version(mut self, version: &str) -> Self {
        self.os_version = (!version.is_empty()).then(|| version.to_owned());
        self
    }

    /// The same platform with operating system features, such as `win32k`; sorted, without duplicates.
    #[must_use]
    pub fn with_os_features(mut self, features: impl IntoIterator<Item = String>) -> Self {
        self.os_features = features.into_iter().filter(|f| !f.is_empty()).collect();
        self.os_features.sort_unstable();
        self.os_features.dedup();
        self
    }

    /// What an image is chosen for when nothing is asked for: Linux on this machine's
    /// architecture, on every host, since that is what a VM or container on it runs.
    #[must_use]
    pub fn host() -> Self {
        Self::new("linux", normalise::host_architecture(), None)
    }

    /// `GOOS`, such as `linux`.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// `GOARCH`, such as `amd64`.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Variant of the architecture, such as `v7`. `None` for `amd64` means the baseline, `v1`.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Version of the operating system; Windows builds such as `10.0.20348.2582`.
    #[must_use]
    pub fn os_version(&self) -> Option<&str> {
        self.os_version.as_deref()
    }

    /// Features the operating system must have, sorted.
    #[must_use]
    pub fn os_features(&self) -> &[String] {
        &self.os_features
    }

    /// Whether this marks a manifest that is no image at all: BuildKit puts attestations into
    /// indexes as `unknown/unknown`, so that no client takes them.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

impl FromStr for Platform {
    type Err = ParseError;

    /// `OS[(VERSION[+FEATURE…])][/ARCH[/VARIANT]]` or `ARCH`; what is left out is this host's
    /// (for the system: Linux). Features may stand at the end too, where shells need no quotes:
    /// `linux/amd64+erofs`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let last = text.rfind(['/', ')']).map_or(0, |at| at + 1);
        if let Some(plus) = text[last..].find('+') {
            let (platform, features) = text.split_at(last + plus);
            let features: Vec<_> = features[1..].split('+').map(str::to_owned).collect();
            if let Some(part) = features.iter().find(|f| !is_word(f)) {
                return Err(ParseError::Part { part: part.clone() });
            }
            let platform: Self = platform.parse()?;
            let all = platform.os_features.clone().into_iter().chain(features);
            return Ok(platform.with_os_features(all));
        }
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let (first, rest) = match parts.as_slice() {
            [first] => (*first, None),
            [first, architecture] => (*first, Some((*architecture, None))),
            [first, architecture, variant] => (*first, Some((*architecture, Some(*variant)))),
            _ => {
                return Err(ParseError::Parts {
                    found: text.to_owned(),
                });
            }
        };
        let (os, version, features) = split_os(first)?;
        for part in rest.into_iter().flat_map(|(a, v)| [Some(a), v]).flatten() {
            if !is_word(part) {
                return Err(ParseError::Part {
                    part: part.to_owned(),
                });
            }
        }
        let platform = match rest {
            Some((architecture, variant)) => Self::new(os, architecture, variant),
            None if normalise::is_known_os(os) => {
                Self::new(os, normalise::host_architecture(), None)
            }
            None => {
                let platform = Self::new("linux", os, None);
                if os != first || !normalise::is_known_architecture(&platform.architecture) {
                    return Err(ParseError::Unknown {
                        found: text.to_owned(),
                    });
                }
                platform
            }
        };
        Ok(platform.with_os_version(version).with_os_features(features))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names come from images too, so they are printed escaped.
        write!(f, "{}", Escaped(&self.os))?;
        if self.os_version.is_some() || !self.os_features.is_empty() {
            write!(f, "({}", Escaped(self.os_version.as_deref().unwrap_or("")))?;
            for feature in &self.os_features {
                write!(f, "+{}", Escaped(feature))?;
            }
            f.write_str(")")?;
        }
        write!(f, "/{}", Escaped(&self.architecture))?;
        match &self.variant {
            Some(variant) => write!(f, "/{}", Escaped(variant)),
            None => Ok(()),
        }
    }
}

/// Splits `windows(10.0.20348+win32k)` into its three parts.
fn split_os(text: &str) -> Result<(&str, &str, Vec<String>), ParseError> {
    let bad = || ParseError::Part {
        part: text.to_owned(),
    };
    let (os, inner) = match text.split_once('(') {
        Some((os, rest)) => (os, rest.strip_suffix(')').ok_or_else(bad)?),
        None => (text, ""),
    };
    let mut parts = inner.split('+');
    let version = parts.next().unwrap_or("");
    let features: Vec<String> = parts.map(str::to_owned).collect();
    let ok = is_word(os)
        && (version.is_empty() || is_word(version))
        && features.iter().all(|feature| is_word(feature));
    if ok {
        Ok((os, version, features))
    } else {
        Err(bad())
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> String {
        text.parse::<Platform>()
            .unwrap_or_else(|e| panic!("{text}: {e}"))
            .to_string()
    }

    #[test]
    fn one_spelling() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/X86-64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/i386", "linux/386"),
            ("linux/aarch64", "linux/arm64/v8"),
            ("linux/arm64/8", "linux/arm64/v8"),
            ("linux/arm64/v8.0", "linux/arm64/v8"),
            ("linux/arm64/v9.2", "linux/arm64/v9.2"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("arm64", "linux/arm64/v8"),
            ("riscv64", "linux/riscv64"),
            ("macos/arm64", "darwin/arm64/v8"),
            ("windows(10.0.20348)/amd64", "windows(10.0.20348)/amd64"),
            (
                "windows(10.0.1+win32k)/amd64",
                "windows(10.0.1+win32k)/amd64",
            ),
            ("linux(+b+a)/amd64", "linux(+a+b)/amd64"),
            ("linux/amd64+erofs", "linux(+erofs)/amd64"),
            ("amd64+erofs", "linux(+erofs)/amd64"),
            ("linux(+b)/arm64/v9+a", "linux(+a+b)/arm64/v9"),
        ] {
            assert_eq!(parse(text), expected, "{text}");
            assert_eq!(parse(expected), expected);
        }
        assert_eq!("linux".parse::<Platform>().unwrap(), Platform::host());
    }

    #[test]
    fn refuses_nonsense() {
        for text in [
            "",
            "/",
            "linux/",
            "/amd64",
            "linux/amd64/",
            "a/b/c/d",
            "linux/am d64",
            "*",
            "nope",
            "windows(1/amd64",
            "windows)/amd64",
            "windows(1+)/amd64",
            "linux/amd64+",
            "linux/amd64+a b",
            "linux/amd64+a(",
            "arm64(1)",
            "linux/ä",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }
}
