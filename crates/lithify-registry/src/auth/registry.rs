//! Whom credentials are for.

#[cfg(doc)]
use super::Credentials;

/// A registry and repository as they are spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    pub(super) host: String,
    pub(super) repository: String,
    plain_http: bool,
    insecure: bool,
    pub(super) stands_in: bool,
    realms: Option<Vec<String>>,
}

impl Registry {
    /// `host[:port]` as it is connected to (`registry-1.docker.io`), and the repository there; empty for the registry
    /// as a whole.
    #[must_use]
    pub fn new(host: &str, repository: &str) -> Self {
        Self {
            host: host.to_ascii_lowercase(),
            repository: repository.to_owned(),
            plain_http: false,
            insecure: false,
            stands_in: false,
            realms: None,
        }
    }

    /// Whether this is a mirror on another host than the registry the user named: what was given for that registry
    /// ([`Credentials::with_credential_for_all`]) is not for it.
    #[must_use]
    pub fn stands_in(mut self, stands_in: bool) -> Self {
        self.stands_in = stands_in;
        self
    }

    /// Whether this connection is plain HTTP; what was learnt over one kind of connection is not used over the other.
    #[must_use]
    pub fn plain_http(mut self, plain: bool) -> Self {
        self.plain_http = plain;
        self
    }

    /// Whether the user called the registry `insecure`.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// The hosts a realm may be on besides the registry's own; any over https if `None`.
    #[must_use]
    pub fn realms(mut self, hosts: Option<Vec<String>>) -> Self {
        self.realms = hosts;
        self
    }

    /// `host[:port]`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Whether this connection is plain HTTP.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.plain_http
    }

    /// Whether the user called the registry `insecure`.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// See [`realms`](Self::realms).
    #[must_use]
    pub fn allowed_realms(&self) -> Option<&[String]> {
        self.realms.as_deref()
    }

    pub(super) fn connection(&self) -> Connection {
        (self.host.clone(), self.plain_http)
    }
}

/// Host, and whether it is plain HTTP.
pub(super) type Connection = (String, bool);
