//! The client: what is shared between all repositories.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use lithify_cancel::{CancelToken, Hook};
use lithify_oci::Reference;
use lithify_oci::reference::DEFAULT_DOMAIN;

use crate::RetryPolicy;
use crate::auth::{Authenticator, Credentials};
use crate::config::{self, Config, Environment, PlainHttp, Role};
use crate::error::Error;
use crate::http::tls::TlsFiles;
use crate::http::url::Url;
use crate::http::{Http, Profile, Proxies};
use crate::repository::Repository;
use crate::session::Endpoint;
use crate::session::Roots;

/// A pause before a request is sent again.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Pause<'a> {
    /// What went wrong, and with whom.
    pub reason: &'a str,
    /// How long nothing is done.
    pub time: Duration,
}

/// Is told of a pause that begins. Called from the thread that waits.
pub type OnPause = Arc<dyn Fn(&Pause<'_>) + Send + Sync>;

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

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) retry: RetryPolicy,
    /// Its own, stopped with the one it was made with.
    pub(crate) cancel: CancelToken,
    _stopped_with: Hook,
    on_pause: Told,
    pub(crate) http: Http,
    pub(crate) auth: Authenticator,
    /// For places registries send us to.
    pub(crate) nobody: Authenticator,
    pub(crate) roots: Roots,
    /// Where registries were found to be, by host and whether their certificates count.
    bases: Mutex<HashMap<(String, bool), Base>>,
}

/// `https://HOST/` or `http://HOST/`, once it is known.
pub(crate) type Base = Arc<OnceLock<Url>>;

/// An [`OnPause`] that can be printed.
struct Told(Option<OnPause>);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

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
            cancel: given,
            on_pause,
        } = options;
        let cancel = CancelToken::new();
        let own = cancel.clone();
        let stopped_with = given.on_cancel(move || own.cancel());
        let proxies = match config.proxy() {
            Some(proxy) => {
                let direct = config.no_proxy().unwrap_or_default();
                Proxies::configured(proxy, direct).ok_or(Error::Proxy)?
            }
            None => Proxies::of_environment(config.no_proxy()),
        };
        Ok(Self(Arc::new(Shared {
            config,
            retry,
            http: Http::new(proxies, &cancel),
            auth: Authenticator::new(credentials.until(&cancel)),
            nobody: Authenticator::new(Credentials::anonymous()),
            roots: Roots::default(),
            cancel,
            _stopped_with: stopped_with,
            on_pause: Told(on_pause),
            bases: Mutex::default(),
        })))
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

impl Shared {
    /// Waits before a request is sent again.
    pub(crate) fn pause(&self, reason: &dyn fmt::Display, time: Duration) -> Result<(), Error> {
        self.check_cancelled()?;
        match &self.on_pause.0 {
            Some(told) => {
                let reason = &reason.to_string();
                told(&Pause { reason, time });
            }
            None => log::warn!("{reason}; trying again in {:.1} s", time.as_secs_f64()),
        }
        self.cancel.wait(time).map_err(|_| Error::Cancelled)
    }

    fn endpoint(&self, endpoint: config::Endpoint, tags: bool, digests: bool) -> Endpoint {
        let key = (endpoint.host.clone(), endpoint.verify);
        let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
        let base = Arc::clone(bases.entry(key).or_default());
        Endpoint {
            host: endpoint.host.clone(),
            registry: match endpoint.host.as_str() {
                "registry-1.docker.io" => DEFAULT_DOMAIN.to_owned(),
                host => host.to_owned(),
            },
            repository: endpoint.repository.clone(),
            mirror: endpoint.role == Role::Mirror,
            elsewhere: false,
            tags,
            digests,
            profile: profile(&endpoint),
            base,
            config: endpoint,
        }
    }

    /// How a host is connected to that a registry sends us to.
    pub(crate) fn profile_of(&self, host: &str) -> Profile {
        match self.config.registry(host) {
            // What is not checked there is checked here: the user trusted the one, not whoever it names.
            Ok(endpoint) => Profile {
                tls: TlsFiles {
                    insecure: false,
                    ..profile(&endpoint).tls
                },
                ..profile(&endpoint)
            },
            Err(_) => Profile::default(),
        }
    }
}

fn profile(endpoint: &config::Endpoint) -> Profile {
    Profile {
        tls: TlsFiles {
            files: endpoint.tls.clone(),
            insecure: !endpoint.verify,
        },
        timeouts: endpoint.timeouts,
    }
}

impl Endpoint {
    /// Whether it may be spoken to without encryption.
    pub(crate) fn plain(&self) -> PlainHttp {
        self.config.plain_http
    }
}
