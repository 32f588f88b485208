//! The client: what is shared between all repositories.

use std::fmt;
use std::sync::Arc;

use lithify_oci::Reference;
use lithify_oci::reference::DEFAULT_DOMAIN;

use crate::RetryPolicy;
use crate::auth::Authenticator;
use crate::error::Error;
use crate::http::tls::TlsFiles;
use crate::http::url::is_loopback;
use crate::http::{Http, Profile, Timeouts};
use crate::repository::Repository;
use crate::session::Endpoint;

/// Whether work is to stop; asked between steps and while waiting.
pub type Cancelled = Arc<dyn Fn() -> bool + Send + Sync>;

/// How registries are talked to.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Believe any certificate and speak plain http where there is no other way, with every registry.
    pub insecure: bool,
    /// When failed requests are sent again.
    pub retry: RetryPolicy,
    /// How long servers may take.
    pub timeouts: Timeouts,
    /// Stops the work.
    pub cancelled: Option<Cancelled>,
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("insecure", &self.insecure)
            .field("retry", &self.retry)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

/// A client of any number of registries. Clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: ClientOptions,
    pub(crate) http: Http,
    pub(crate) auth: Authenticator,
}

impl Client {
    /// A client; nothing is connected to yet.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        Ok(Self(Arc::new(Shared {
            options,
            http: Http::default(),
            auth: Authenticator::default(),
        })))
    }

    /// The repository a reference names, with the mirrors configured for it.
    ///
    /// # Errors
    /// [`Error::Blocked`].
    pub fn repository(&self, reference: &Reference) -> Result<Repository, Error> {
        let reference = reference.normalised();
        let registry = reference.domain().unwrap_or(DEFAULT_DOMAIN).to_owned();
        let host = match registry.as_str() {
            DEFAULT_DOMAIN => "registry-1.docker.io".to_owned(),
            other => other.to_owned(),
        };
        let bare = host.rsplit_once(':').map_or(host.as_str(), |(h, _)| h);
        let endpoint = Endpoint {
            plain: self.0.options.insecure || is_loopback(bare),
            repository: reference.path().to_owned(),
            registry,
            mirror: false,
            tags: true,
            digests: true,
            profile: self.0.profile_of(&host),
            base: std::sync::OnceLock::new(),
            host,
        };
        Ok(Repository::new(Arc::clone(&self.0), vec![endpoint]))
    }
}

impl Shared {
    /// How a host is connected to that no endpoint is.
    pub(crate) fn profile_of(&self, _host: &str) -> Profile {
        Profile {
            tls: TlsFiles {
                insecure: self.options.insecure,
                ..TlsFiles::default()
            },
            timeouts: self.options.timeouts,
        }
    }
}
