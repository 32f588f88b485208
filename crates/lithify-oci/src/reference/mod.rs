//! Image references: `[domain/]path[:tag][@digest]`.
//!
//! The grammar is that of the distribution project's `reference` package (also image-spec,
//! `annotations.md`, for `org.opencontainers.image.ref.name`); the rule that tells a domain from
//! the first path component, and the Docker Hub defaults, are those every container tool shares:
//! the part before the first `/` is a domain if it has a `.` or `:`, is `localhost`, is an IPv6
//! address in brackets, or has an upper-case letter (which a path may not).

mod parse;

use std::fmt;

use lithify_digest::Digest;

pub use parse::{ParseError, is_tag};

/// The registry a name without a domain belongs to.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag of a name with neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";

/// A parsed image reference, printed as it was written.
///
/// ```
/// use lithify_oci::reference::Reference;
///
/// let short: Reference = "alpine".parse()?;
/// assert_eq!(short.to_string(), "alpine");
/// assert_eq!(short.normalised().to_string(), "docker.io/library/alpine");
/// assert_eq!(short.with_default_tag().to_string(), "alpine:latest");
///
/// let full: Reference = "[fd00::1]:5000/team/app:1.0".parse()?;
/// assert_eq!(full.domain(), Some("[fd00::1]:5000"));
/// assert_eq!(full.path(), "team/app");
/// assert_eq!(full.tag(), Some("1.0"));
/// # Ok::<(), lithify_oci::reference::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry host with its port, if one was written. IPv6 hosts keep their brackets.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// The repository within the registry, such as `library/alpine`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was written.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was written. It decides which image is meant; a tag beside it only informs.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The name without tag and digest, as written.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.domain {
            Some(domain) => format!("{domain}/{}", self.path),
            None => self.path.clone(),
        }
    }

    /// The same image with the Docker Hub defaults spelled out: `alpine` is
    /// `docker.io/library/alpine`, `me/app` is `docker.io/me/app`, and `index.docker.io`, the
    /// Hub's older name, is `docker.io`. Tag and digest stay as they are.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let domain = match self.domain.as_deref() {
            None | Some("index.docker.io") => DEFAULT_DOMAIN,
            Some(domain) => domain,
        };
        let path = if domain == DEFAULT_DOMAIN && !self.path.contains('/') {
            format!("library/{}", self.path)
        } else {
            self.path.clone()
        };
        Self {
            domain: Some(domain.to_owned()),
            path,
            tag: self.tag.clone(),
            digest: self.digest,
        }
    }

    /// This reference with the tag `latest` if it has neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(&self) -> Self {
        let mut copy = self.clone();
        if copy.tag.is_none() && copy.digest.is_none() {
            copy.tag = Some(DEFAULT_TAG.to_owned());
        }
        copy
    }

    /// Whether both name the same image once defaults are spelled out: `alpine` and
    /// `docker.io/library/alpine:latest` do.
    #[must_use]
    pub fn names_same_image(&self, other: &Self) -> bool {
        self.normalised().with_default_tag() == other.normalised().with_default_tag()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(domain) = &self.domain {
            write!(f, "{domain}/")?;
        }
        f.write_str(&self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}
