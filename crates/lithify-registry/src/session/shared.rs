//! State that all repositories of a client share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lithify_cancel::{CancelToken, Hook};
use lithify_oci::reference::DEFAULT_DOMAIN;

use super::endpoint::{Base, Endpoint};
use super::sign_in::Roots;
use crate::RetryPolicy;
use crate::auth::{Authenticator, Credentials};
use crate::config::{self, Config, Role};
use crate::error::Error;
use crate::http::tls::TlsFiles;
use crate::http::{Http, Profile, Proxies};

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

/// The state that all repositories of a client share.
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

/// An [`OnPause`] that can be printed.
struct Told(Option<OnPause>);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl Shared {
    /// Makes what a client begins with; nothing is connected to yet.
    pub(crate) fn new(
        config: Config,
        credentials: Credentials,
        retry: RetryPolicy,
        given: &CancelToken,
        on_pause: Option<OnPause>,
    ) -> Result<Self, Error> {
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
        Ok(Self {
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
        })
    }

    pub(crate) fn check_cancelled(&self) -> Result<(), Error> {
        self.cancel.check().map_err(|_| Error::Cancelled)
    }

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

    /// Returns a place as it is configured, to be talked to.
    pub(crate) fn endpoint(
        &self,
        endpoint: config::Endpoint,
        tags: bool,
        digests: bool,
    ) -> Endpoint {
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
