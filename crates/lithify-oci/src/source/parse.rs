//! The grammar of source names.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lithify_digest::Digest;
use lithify_escape::Escaped;

use super::path_kind::{self, Advice, kind_at, looks_like_path, place_of_images};
use super::transports::{Sources, TRANSPORTS};
use super::{DaemonImage, PathKind, Selector, Source, TarInput};
use crate::reference::{self, Reference};

/// Longest name after the path of a source, in bytes.
const MAX_NAME: usize = 1024;

/// Why a string names no source. Hostile characters are printed escaped.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// A transport of other tools, or none at all.
    #[error("`{}:` is no source lithify knows: use {Sources}{hint}", Escaped(.transport))]
    UnknownTransport {
        /// What stands before the colon.
        transport: String,
        /// How to get from that transport to one lithify knows; empty or starting with `; `.
        hint: &'static str,
    },
    /// Nothing after the transport.
    #[error("`{transport}:` needs a path after the colon")]
    NoPath {
        /// The transport.
        transport: &'static str,
    },
    /// A colon with nothing after it.
    #[error("nothing after the last colon of `{}`: give a tag there, or leave the colon away", Escaped::path(.found))]
    NoTag {
        /// The source as written.
        found: OsString,
    },
    /// The part after the path is no tag, reference, `@DIGEST` or `@N`.
    #[error("`{}` selects no image: expected a tag, a reference, @DIGEST or @N", Escaped(.found))]
    Selector {
        /// What follows the path.
        found: String,
    },
    /// The part after `@` is no digest.
    #[error("after `@`: {source}")]
    Digest {
        /// What is wrong with it.
        source: lithify_digest::ParseError,
    },
    /// A reference that breaks the grammar.
    #[error("{source}")]
    Reference {
        /// What is wrong with it.
        source: reference::ParseError,
    },
    /// A path where a name stands for an image.
    #[error("{}", Advice::new(.found, *.kind, *.is_name, false))]
    Path {
        /// The path.
        found: OsString,
        /// What is there.
        kind: PathKind,
        /// Whether an image could have that name.
        is_name: bool,
    },
    /// A path where an image is to be written.
    #[error("{}", Advice::new(.found, *.kind, *.is_name, true))]
    PathDestination {
        /// The path.
        found: OsString,
        /// What is there.
        kind: PathKind,
        /// Whether an image could have that name.
        is_name: bool,
    },
    /// Bytes that are not UTF-8 where only text can be. Paths may hold any bytes.
    #[error("`{}` is not UTF-8", Escaped::path(.found))]
    NotUtf8 {
        /// The source.
        found: OsString,
    },
}

/// Transports of containers-transports(5) and of other tools that lithify does not read.
const FOREIGN: [(&str, &str); 10] = [
    (
        "containers-storage",
        "; `podman save --format oci-archive` exports from there",
    ),
    ("dir", "; `skopeo copy dir:X oci:Y` converts it"),
    ("oci-layout", "; write oci:DIR"),
    ("oci-dir", "; write oci:DIR"),
    ("docker-image", "; write docker://NAME"),
    ("docker", "; write docker://NAME"),
    ("ostree", ""),
    ("sif", ""),
    ("tarball", "; write tar:FILE"),
    ("registry", "; write docker://NAME"),
];

impl Source {
    /// Parses a command-line argument. Looks at the file system only to find where a path with
    /// colons ends (see the [module documentation](super)).
    ///
    /// # Errors
    /// [`ParseError`] when the argument names no source.
    pub fn parse(text: &OsStr) -> Result<Self, ParseError> {
        Self::parse_with(text, &path_kind::exists)
    }

    /// [`parse`](Self::parse) for a place where an image is to be written: errors name transports that can be.
    ///
    /// # Errors
    /// [`ParseError`] when the argument names no source.
    pub fn parse_destination(text: &OsStr) -> Result<Self, ParseError> {
        Self::parse(text).map_err(|error| match error {
            ParseError::Path {
                found,
                kind,
                is_name,
            } => ParseError::PathDestination {
                found,
                kind,
                is_name,
            },
            error => error,
        })
    }

    /// [`parse`](Self::parse) with the question "is there such a path?" answered by `exists`.
    ///
    /// # Errors
    /// [`ParseError`] when the argument names no source.
    pub fn parse_with(text: &OsStr, exists: &dyn Fn(&Path) -> bool) -> Result<Self, ParseError> {
        if let Some(rest) = strip_prefix(text, "docker://") {
            return Ok(Self::Docker(image_name(&rest)?));
        }
        if let Some(rest) = strip_prefix(text, "docker-daemon:") {
            let rest = utf8(&rest)?;
            return Ok(Self::DockerDaemon(match rest.parse::<Digest>() {
                Ok(id) => DaemonImage::Id(id),
                Err(_) => DaemonImage::Name(image_name(OsStr::new(rest))?),
            }));
        }
        if let Some(rest) = strip_prefix(text, "store:") {
            return Ok(Self::Store(image_name(&rest)?));
        }
        if let Some(rest) = strip_prefix(text, "rootfs:") {
            return Ok(Self::Rootfs(path("rootfs", rest)?));
        }
        if let Some(rest) = strip_prefix(text, "tar:") {
            return Ok(Self::Tar(match path("tar", rest)? {
                dash if dash.as_os_str() == "-" => TarInput::Stdin,
                file => TarInput::File(file),
            }));
        }
        if let Some(rest) = strip_prefix(text, "ext4:") {
            return Ok(Self::Ext4(path("ext4", rest)?));
        }
        if let Some(rest) = strip_prefix(text, "oci:") {
            let (path, selector) = path_and_selector("oci", &rest, exists, is_ref_name)?;
            return Ok(Self::Oci { path, selector });
        }
        if let Some(rest) = strip_prefix(text, "oci-archive:") {
            let (path, selector) = path_and_selector("oci-archive", &rest, exists, is_ref_name)?;
            return Ok(Self::OciArchive { path, selector });
        }
        if let Some(rest) = strip_prefix(text, "docker-archive:") {
            let (path, selector) = path_and_selector("docker-archive", &rest, exists, is_ref_name)?;
            return Ok(Self::DockerArchive { path, selector });
        }
        if let Some(rest) = strip_prefix(text, "composefs:") {
            let (path, selector) = path_and_selector("composefs", &rest, exists, is_any_name)?;
            return Ok(Self::Composefs { path, selector });
        }
        let is_path = |kind| ParseError::Path {
            found: text.to_owned(),
            kind,
            is_name: text
                .to_str()
                .is_some_and(|t| t.parse::<Reference>().is_ok()),
        };
        let there = !text.is_empty() && exists(Path::new(text));
        if there || matches!(text.as_encoded_bytes().first(), Some(b'.' | b'/' | b'~')) {
            return Err(is_path(kind_at(text)));
        }
        let name = utf8(text)?;
        if let Some((transport, rest)) = name.split_once(':') {
            let foreign = FOREIGN.iter().find(|(known, _)| *known == transport);
            if foreign.is_some() || rest.starts_with('/') {
                let hint = foreign.map_or("", |(_, hint)| hint);
                return Err(ParseError::UnknownTransport {
                    transport: transport.to_owned(),
                    hint,
                });
            }
        }
        if let Some(kind) = place_of_images(text, exists) {
            return Err(is_path(kind));
        }
        if looks_like_path(text.as_encoded_bytes()) {
            return Err(is_path(kind_at(text)));
        }
        Ok(Self::Name(image_name(text)?))
    }

    /// Whether a text says by a transport how it is to be understood, so that it is no bare name and no bare path.
    #[must_use]
    pub fn has_transport(text: &OsStr) -> bool {
        let bytes = text.as_encoded_bytes();
        let mut prefixes = TRANSPORTS.iter().map(|t| t.prefix.as_bytes());
        prefixes.any(|prefix| !prefix.is_empty() && bytes.starts_with(prefix))
    }
}

impl FromStr for Source {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(OsStr::new(text))
    }
}

fn path(transport: &'static str, rest: OsString) -> Result<PathBuf, ParseError> {
    if rest.is_empty() {
        Err(ParseError::NoPath { transport })
    } else {
        Ok(rest.into())
    }
}

fn image_name(text: &OsStr) -> Result<Reference, ParseError> {
    utf8(text)?
        .parse()
        .map_err(|source| ParseError::Reference { source })
}

fn utf8(text: &OsStr) -> Result<&str, ParseError> {
    text.to_str().ok_or_else(|| ParseError::NotUtf8 {
        found: text.to_owned(),
    })
}

/// Splits `PATH[:TAG|@DIGEST]` by the rule in the module's documentation.
fn path_and_selector(
    transport: &'static str,
    rest: &OsStr,
    exists: &dyn Fn(&Path) -> bool,
    is_name: fn(&str) -> bool,
) -> Result<(PathBuf, Option<Selector>), ParseError> {
    if rest.is_empty() {
        return Err(ParseError::NoPath { transport });
    }
    let bytes = rest.as_encoded_bytes();
    // Where the path may end: before any colon, and before an `@` that a digest follows.
    let digest_at = bytes
        .iter()
        .rposition(|&b| b == b'@')
        .filter(|&at| bytes[at + 1..].contains(&b':'));
    let ends = |at: &usize| *at > 0 && (bytes[*at] == b':' || Some(*at) == digest_at);
    // What follows an end must be text; a colon within bytes that are not is part of the path.
    let split = |at: usize| split_at(rest, at);
    let longest = if exists(Path::new(rest)) {
        return Ok((rest.into(), None));
    } else {
        (0..bytes.len())
            .rev()
            .filter(ends)
            .find_map(|at| split(at).filter(|(path, _)| exists(Path::new(path))))
    };
    let chosen = longest.or_else(|| (0..bytes.len()).find(ends).and_then(split));
    let Some((path, selector)) = chosen else {
        return Ok((rest.into(), None));
    };
    let selector = parse_selector(&selector, rest, is_name)?;
    Ok((path.into(), Some(selector)))
}

/// `text` starts with the `:` or `@` that ended the path.
fn parse_selector(
    text: &str,
    whole: &OsStr,
    is_name: fn(&str) -> bool,
) -> Result<Selector, ParseError> {
    let name = match text.strip_prefix(':') {
        Some("") => {
            return Err(ParseError::NoTag {
                found: whole.to_owned(),
            });
        }
        Some(name) => name,
        None => text,
    };
    if let Some((before, after)) = name.split_once('@') {
        if before.is_empty()
            && let Ok(index) = after.parse::<usize>()
            && after.bytes().all(|b| b.is_ascii_digit())
        {
            return Ok(Selector::Index(index));
        }
        if !before.is_empty() && !is_name(before) {
            return Err(ParseError::Selector {
                found: text.to_owned(),
            });
        }
        return match after.parse() {
            Ok(digest) => Ok(Selector::Digest(digest)),
            // image-spec allows `@` within a ref.name, so without a colon this is still a name.
            Err(_) if !after.contains(':') && is_name(name) => Ok(Selector::Name(name.to_owned())),
            Err(source) => Err(ParseError::Digest { source }),
        };
    }
    if is_name(name) {
        Ok(Selector::Name(name.to_owned()))
    } else {
        Err(ParseError::Selector {
            found: text.to_owned(),
        })
    }
}

/// Names in a repository of composefs are those that others gave, which may hold anything; the repository says which there are.
fn is_any_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME
}

/// Tells whether a text is a name as places of several images have them: what `org.opencontainers.image.ref.name` may hold: alphanumeric runs joined by `-._:@/+`
/// (image-spec, `annotations.md`); underscores and repeated separators occur in tags.
pub fn is_ref_name(name: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.len() <= MAX_NAME
        && name
            .bytes()
            .next()
            .is_some_and(|b| alphanumeric(b) || b == b'[')
        && name
            .bytes()
            .all(|b| alphanumeric(b) || b"-.:@/+[]".contains(&b))
}

#[cfg(unix)]
fn strip_prefix(text: &OsStr, prefix: &str) -> Option<OsString> {
    use std::os::unix::ffi::OsStrExt;
    text.as_bytes()
        .strip_prefix(prefix.as_bytes())
        .map(|rest| OsStr::from_bytes(rest).to_owned())
}

#[cfg(not(unix))]
fn strip_prefix(text: &OsStr, prefix: &str) -> Option<OsString> {
    text.to_str()?.strip_prefix(prefix).map(OsString::from)
}

/// The path before byte `at` and the text from it on, if that is text.
#[cfg(unix)]
fn split_at(text: &OsStr, at: usize) -> Option<(OsString, String)> {
    use std::os::unix::ffi::OsStrExt;
    let (path, rest) = text.as_bytes().split_at_checked(at)?;
    let rest = std::str::from_utf8(rest).ok()?;
    Some((OsStr::from_bytes(path).to_owned(), rest.to_owned()))
}

/// The path before byte `at` and the text from it on, if that is text.
#[cfg(not(unix))]
fn split_at(text: &OsStr, at: usize) -> Option<(OsString, String)> {
    let (path, rest) = text.to_str()?.split_at_checked(at)?;
    Some((path.into(), rest.to_owned()))
}

#[cfg(test)]
mod tests;
