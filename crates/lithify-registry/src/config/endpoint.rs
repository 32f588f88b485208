//! Where to connect to.

use std::path::PathBuf;
use std::time::Duration;

use crate::auth::Registry;

/// One place an image can be had from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// `host[:port]` to connect to; Docker Hub's is `registry-1.docker.io`.
    pub host: String,
    /// The repository there.
    pub repository: String,
    /// Whether plain HTTP may be spoken.
    pub plain_http: PlainHttp,
    /// Whether the server's certificate is checked.
    pub verify: bool,
    /// Certificates.
    pub tls: TlsFiles,
    /// Whether this is the place itself.
    pub role: Role,
    /// The registry a mirror is to stand for, to be sent as `?ns=` (containerd's convention), if configured.
    pub namespace: Option<String>,
    /// The hosts a realm may be on besides this one; any over https if `None`.
    pub realms: Option<Vec<String>>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Most connections at a time, if configured.
    pub max_connections: Option<u32>,
}

impl Endpoint {
    /// Who is authenticated to over a connection of this kind.
    #[must_use]
    pub fn authority(&self, plain_http: bool) -> Registry {
        Registry::new(&self.host, &self.repository)
            .plain_http(plain_http)
            .insecure(!self.verify || self.plain_http == PlainHttp::Forced)
            .realms(self.realms.clone())
    }
}

/// Whether a host is spoken to in plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// Never.
    Refused,
    /// If it does not speak TLS: a loopback host, or `insecure`.
    Allowed,
    /// Always: `plain-http`.
    Forced,
}

/// What a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A copy; tried first, given up for any reason.
    Mirror,
    /// The place itself.
    Primary,
}

/// Certificates, PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// Certificates believed besides the system's, and authorities.
    pub ca: Vec<PathBuf>,
    /// The client's certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// What a directory of certificates has besides.
    pub found: FoundFiles,
}

/// What a directory of certificates has. Files nobody named: those that are of no use are passed over with a warning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FoundFiles {
    /// `*.crt`, by name.
    pub ca: Vec<PathBuf>,
    /// `NAME.cert` and `NAME.key`, by name; the first of use is shown, where [`TlsFiles::client`] is none.
    pub clients: Vec<(PathBuf, PathBuf)>,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// For a connection, TLS included; 10 s if not said.
    pub connect: Duration,
    /// For the next byte; 60 s if not said.
    pub idle: Duration,
    /// For all headers of an answer, and again for all of a short one (a manifest, a list, a token); 2 minutes if not said, or
    /// `idle` if that is longer.
    pub answer: Duration,
    /// The least bytes per second of blobs, in both directions; 1024 if not said, and 0 for any.
    pub min_rate: u64,
    /// The time over which that is measured; 60 s if not said.
    pub window: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            answer: Duration::from_secs(120),
            min_rate: 1024,
            window: Duration::from_secs(60),
        }
    }
}
