//! Where an image is.

use std::sync::{Arc, OnceLock};

use crate::config::{self, PlainHttp};
use crate::http::Profile;
use crate::http::url::Url;
use crate::manifest::ManifestName;

/// Where an image is, as one host knows it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Host and port.
    pub(crate) host: String,
    /// What users call the registry: `docker.io` for its hosts.
    pub(crate) registry: String,
    /// The repository there.
    pub(crate) repository: String,
    /// Whether it stands in for another one.
    pub(crate) mirror: bool,
    /// Whether it does so on another host.
    pub(crate) elsewhere: bool,
    /// Whether it is asked for what a tag means.
    pub(crate) tags: bool,
    /// Whether it is asked for content by its digest.
    pub(crate) digests: bool,
    pub(crate) config: config::Endpoint,
    pub(crate) profile: Profile,
    /// `https://HOST/` or `http://HOST/`, once it is known.
    pub(crate) base: Base,
}

/// `https://HOST/` or `http://HOST/`, once it is known.
pub(crate) type Base = Arc<OnceLock<Url>>;

impl Endpoint {
    /// Whether this place is asked for a manifest of that name.
    pub(crate) fn serves(&self, name: &ManifestName) -> bool {
        match name {
            ManifestName::Tag(_) => self.tags,
            ManifestName::Digest(_) => self.digests,
        }
    }

    /// Whether it may be spoken to without encryption.
    pub(crate) fn plain(&self) -> PlainHttp {
        self.config.plain_http
    }
}
