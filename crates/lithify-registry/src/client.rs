//! The client: what is shared between all repositories.

use std::fmt;
use std::sync::Arc;

use lithify_cancel::CancelToken;
use lithify_oci::Reference;

use crate::RetryPolicy;
use crate::auth::Credentials;
use crate::config::{Config, Role};
use crate::environment::Environment;
use crate::error::Error;
use crate::repository::Repository;
use crate::session::{Endpoint, OnPause, Shared};

/// How registries are talked to.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Where registries are, their mirrors and certificates. Default: none but what is usual.
    pub config: Config,
    /// Who we are. Default: what is stored where containers tools store it.
    pub credentials: Credentials,
    /// When failed requests are sent again. Its number of retries is that of the configuration if `None`.
    pub retry: RetryPolicy,
    /// Stops the work, wherever it waits. The client does not keep it: it is stopped by those who do.
    pub cancel: CancelToken,
    /// Is told of every pause before a request is sent again. Without, pauses are logged as warnings.
    pub on_pause: Option<OnPause>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self::new(Config::empty(Environment::of_process()))
    }
}

impl ClientOptions {
    /// As configured, with the credentials of this process' user.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let retry = RetryPolicy {
            retries: config.retries(),
            ..RetryPolicy::default()
        };
        Self {
            config,
            credentials: Credentials::new(Environment::of_process()),
            retry,
            cancel: CancelToken::new(),
            on_pause: None,
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("config", &self.config)
            .field("credentials", &self.credentials)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// A client of any number of registries. Clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

impl Client {
    /// A client; nothing is connected to yet.
    ///
    /// # Errors
    /// [`Error::Proxy`] for a configured proxy that is no URL.
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        let ClientOptions {
            config,
            credentials,
            retry,
            cancel,
            on_pause,
        } = options;
        let shared = Shared::new(config, credentials, retry, &cancel, on_pause)?;
        Ok(Self(Arc::new(shared)))
    }

    /// The repository a reference names, with the mirrors configured for it.
    ///
    /// # Errors
    /// [`Error::Config`], which also says what is blocked.
    pub fn repository(&self, reference: &Reference) -> Result<Repository, Error> {
        let shared = &self.0;
        let tagged = shared.config.endpoints(&with_tag(reference))?;
        let pinned = shared.config.endpoints(&with_digest(reference))?;
        let mut endpoints: Vec<Endpoint> = Vec::new();
        let (mirrors, primary): (Vec<_>, Vec<_>) = tagged
            .iter()
            .chain(pinned.iter().filter(|e| !tagged.contains(e)))
            .partition(|e| e.role == Role::Mirror);
        let own: Vec<_> = primary
            .iter()
            .map(|endpoint| endpoint.host.clone())
            .collect();
        for endpoint in mirrors.into_iter().chain(primary) {
            let (tags, digests) = (tagged.contains(endpoint), pinned.contains(endpoint));
            let elsewhere = !own.contains(&endpoint.host);
            let endpoint = shared.endpoint(endpoint.clone(), tags, digests);
            endpoints.push(Endpoint {
                elsewhere,
                ..endpoint
            });
        }
        Ok(Repository::new(Arc::clone(shared), endpoints))
    }

    /// Asks a registry whether it accepts the credentials there are for it.
    ///
    /// # Errors
    /// [`Error::Auth`] when it does not, and anything a registry may do wrong.
    pub fn check_login(&self, host: &str) -> Result<(), Error> {
        let endpoint = self.0.config.registry(host)?;
        let repository = Repository::new(
            Arc::clone(&self.0),
            vec![self.0.endpoint(endpoint, true, true)],
        );
        repository.origin().check_login()
    }
}

/// The same image by a tag.
fn with_tag(reference: &Reference) -> Reference {
    match reference.digest() {
        None => reference.with_default_tag(),
        Some(_) => reference
            .name()
            .parse()
            .unwrap_or_else(|_| reference.clone()),
    }
}

/// The same repository by some digest.
fn with_digest(reference: &Reference) -> Reference {
    let any = format!("{}@sha256:{:064}", reference.name(), 0);
    any.parse().unwrap_or_else(|_| reference.clone())
}
