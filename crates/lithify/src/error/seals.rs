//! Findings about the composefs digests that were published with an image.

use std::fmt;

use lithify_tree::Printable;
use serde::Serialize;

use super::words::and_more;
use super::{Cause, ComposefsError, Error, ErrorKind};

/// An annotation that says a digest of composefs, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SealCheck {
    /// The place of the annotation: `manifest` for the image's own, `repository` for the id by which a repository has the image,
    /// else the digest of an artifact's manifest.
    pub place: String,
    /// The key of the annotation; of a blob its media type.
    pub annotation: String,
    /// The thing that the digest is of, if it is known: `manifest`, `config`, `merged` or `image`.
    pub role: Option<&'static str>,
    /// The digest that is said.
    pub expected: String,
    /// The digest that was computed.
    pub found: Option<String>,
    /// The finding.
    pub state: SealState,
    /// The reason why it was not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// The finding about a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SealState {
    /// It was computed, and is the same.
    Same,
    /// It was computed, and is another one.
    Different,
    /// It was not computed.
    NotChecked,
}

/// The digests of composefs that were published with an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SealReport {
    /// Each of them.
    pub checks: Vec<SealCheck>,
    /// The reasons why it is not known of everything what refers to the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unlisted: Vec<String>,
}

impl SealReport {
    /// Returns the digests that are not what was found.
    fn different(&self) -> impl Iterator<Item = &SealCheck> {
        let checks = self.checks.iter();
        checks.filter(|check| check.state == SealState::Different)
    }
}

/// The reason why an image is not what its composefs digests say, or cannot be compared with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A digest is another one.
    #[error("`{}` is not what its composefs digests say: {}", Printable(.name), First(.report))]
    Different {
        /// The image.
        name: String,
        /// All digests.
        report: Box<SealReport>,
    },
    /// No digest of composefs was published with the image.
    #[error(
        "nobody says what the composefs digests of `{}` are: neither its manifest nor what refers to it has annotations {prefix}…; `lithify push --as composefs` publishes them{}",
        Printable(.name),
        reasons(.unlisted)
    )]
    None {
        /// The image.
        name: String,
        /// The beginning of the annotations' keys.
        prefix: &'static str,
        /// The reasons why it is not known of everything what refers to the image.
        unlisted: Vec<String>,
    },
    /// The digest of the composefs image is not among those that can be checked.
    #[error(
        "of the {found} composefs annotations of `{}` none that can be checked says the digest of its filesystem: expected {expected}",
        Printable(.name)
    )]
    NotChecked {
        /// The image.
        name: String,
        /// Annotations there are.
        found: usize,
        /// The one that is missing.
        expected: String,
    },
    /// An annotation that is no digest.
    #[error(
        "the annotation {} of {} is `{}`, expected {digits} lower-case hexadecimal digits",
        Printable(.annotation),
        Printable(.place),
        Printable(.found)
    )]
    Digest {
        /// Its place.
        place: String,
        /// Its key.
        annotation: String,
        /// Its value, or how that begins.
        found: String,
        /// The digits a digest has.
        digits: usize,
    },
    /// More than is looked at.
    #[error("`{}` has more than {limit} {what}: remove those that are of no use", Printable(.name))]
    TooMany {
        /// The image.
        name: String,
        /// The things of which there are too many.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Nothing can be said of what has no manifest.
    #[error(
        "`{}` has no manifest that composefs digests could be published with: expected an image, such as docker://NAME:TAG or oci:DIR:TAG",
        Printable(.name)
    )]
    NoManifest {
        /// Its name.
        name: String,
    },
    /// An image of which `cfsctl` makes no composefs image.
    #[error(
        "`{}` has no composefs image whose digest could be published: {reason}, and all readers are to make the one that cfsctl makes",
        Printable(.name)
    )]
    NotCanonical {
        /// The image.
        name: String,
        /// The thing it lacks, or has.
        reason: &'static str,
    },
}

/// The first digest that is different.
struct First<'a>(&'a SealReport);

impl fmt::Display for First<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.0.different();
        let Some(first) = all.next() else {
            return Ok(());
        };
        write!(
            f,
            "{} ({} of {}) is {}, expected {}{}",
            first.role.unwrap_or("it"),
            Printable(&first.annotation),
            Printable(&first.place),
            first.found.as_deref().unwrap_or("missing"),
            Printable(&first.expected),
            and_more(all.count() as u64)
        )
    }
}

fn reasons(unlisted: &[String]) -> String {
    let all = unlisted.iter().map(|reason| format!("; {reason}"));
    all.collect()
}

impl SealError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Different { .. } | Self::Digest { .. } => ErrorKind::Verification,
            Self::None { .. } => ErrorKind::NotFound,
            Self::TooMany { .. } => ErrorKind::Limit,
            Self::NoManifest { .. } => ErrorKind::Usage,
            Self::NotChecked { .. } | Self::NotCanonical { .. } => ErrorKind::Unsupported,
        }
    }
}

impl Error {
    /// An image that `cfsctl` makes no composefs image of has no digest that could be published.
    pub(crate) fn for_seal(self) -> Self {
        match self.cause() {
            Cause::Composefs(ComposefsError::Profile { name, reason }) => {
                let name = name.clone();
                SealError::NotCanonical { name, reason }.into()
            }
            _ => self,
        }
    }
}
