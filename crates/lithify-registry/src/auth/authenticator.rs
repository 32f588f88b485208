//! Answering a registry that asks who we are.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::credentials::{Credential, Credentials, Lookup, Source};
use super::registry::{Connection, Registry};
use super::token::{
    Clock, Granted, Realm, RealmError, Slot, SystemClock, Token, TokenEndpoint, basic,
};
use super::{Challenge, Error, Scopes, fetch};
use crate::Secret;

/// What a registry asked for last.
#[derive(Clone, Debug)]
enum Asked {
    Basic,
    Bearer {
        realm: Realm,
        service: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TokenKey {
    connection: Connection,
    realm: Realm,
    service: Option<String>,
    /// Different credentials give different tokens, even for one user name.
    account: Option<(String, String)>,
}

/// Values with a lock each, so that only those who want the same one wait for each other.
struct Locks<K, V>(Mutex<HashMap<K, Arc<Mutex<V>>>>);

impl<K: Eq + Hash, V: Default> Locks<K, V> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn get(&self, key: K) -> Arc<Mutex<V>> {
        Arc::clone(lock(&self.0).entry(key).or_default())
    }
}

/// What is kept is replaced as a whole, so a thread that panicked left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds credentials, fetches tokens and keeps both, for any number of registries and threads.
///
/// ```
/// use lithify_registry::auth::{
///     Authenticator, Challenge, Credentials, Method, Registry, Scopes, TokenEndpoint, TokenRequest, TokenResponse,
///     TransportError,
/// };
///
/// struct Fake;
/// impl TokenEndpoint for Fake {
///     fn send(&self, request: &TokenRequest) -> Result<TokenResponse, TransportError> {
///         assert_eq!(request.method, Method::Get);
///         Ok(TokenResponse { status: 200, body: br#"{"token":"abc"}"#.to_vec() })
///     }
/// }
///
/// let authenticator = Authenticator::new(Credentials::anonymous());
/// let registry = Registry::new("registry.example.com", "team/app");
/// let mut exchange = authenticator.exchange(&registry, &Scopes::pull("team/app"));
/// assert!(exchange.authorization()?.is_none());
/// // The registry answers 401 with:
/// let challenges = Challenge::parse_all([r#"Bearer realm="https://auth.example.com/token""#])?;
/// let answer = exchange.answer(&challenges, &Fake)?;
/// assert_eq!(answer.authorization.expose(), "Bearer abc");
/// // The next request needs no 401:
/// let mut next = authenticator.exchange(&registry, &Scopes::pull("team/app"));
/// assert_eq!(next.authorization()?.unwrap().expose(), "Bearer abc");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Authenticator {
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    asked: Mutex<HashMap<Connection, Asked>>,
    lookups: Locks<LookupKey, Option<Arc<Lookup>>>,
    tokens: Locks<TokenKey, Slot>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// What to ask again with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The value of `Authorization`.
    pub authorization: Secret,
    /// Where the credentials behind it came from; none for an anonymous token.
    pub source: Option<Source>,
}

/// What was sent with the request that is being answered.
enum Sent {
    Nothing,
    Basic,
    /// A token; `fresh` if it was fetched for this exchange.
    Bearer {
        token: Secret,
        fresh: bool,
    },
}

/// One request and the attempts to have it accepted.
pub struct Exchange<'a> {
    authenticator: &'a Authenticator,
    registry: Registry,
    scopes: Scopes,
    sent: Sent,
    answers: u8,
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("registry", &self.registry)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// Most answers to one request: a kept token, a fresh one, and the other scheme.
const MAX_ANSWERS: u8 = 3;

impl Authenticator {
    /// One that uses these credentials.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self::with_clock(credentials, Arc::new(SystemClock))
    }

    /// One with its own idea of time.
    #[must_use]
    pub fn with_clock(credentials: Credentials, clock: Arc<dyn Clock>) -> Self {
        Self {
            credentials,
            clock,
            asked: Mutex::new(HashMap::new()),
            lookups: Locks::new(),
            tokens: Locks::new(),
        }
    }

    /// Begins a request that needs these scopes.
    #[must_use]
    pub fn exchange(&self, registry: &Registry, scopes: &Scopes) -> Exchange<'_> {
        Exchange {
            authenticator: self,
            registry: registry.clone(),
            scopes: scopes.clone(),
            sent: Sent::Nothing,
            answers: 0,
        }
    }

    /// The credentials of a repository, looked up once. A helper is slow and may ask the user, so others who want the
    /// same ones wait.
    fn lookup(&self, registry: &Registry) -> Result<Arc<Lookup>, Error> {
        let slot = self.lookups.get(lookup_key(registry));
        let mut slot = lock(&slot);
        if let Some(lookup) = &*slot {
            return Ok(Arc::clone(lookup));
        }
        let lookup = Arc::new(match registry.stands_in {
            true => self
                .credentials
                .find_stored(registry.host(), registry.repository()),
            false => self
                .credentials
                .find(registry.host(), registry.repository()),
        }?);
        match &lookup.found {
            Some(found) => log::info!(
                "{}/{}: credentials from {}",
                registry.host(),
                registry.repository(),
                found.source
            ),
            None => log::debug!(
                "{}/{}: no credentials",
                registry.host(),
                registry.repository()
            ),
        }
        *slot = Some(Arc::clone(&lookup));
        Ok(lookup)
    }

    /// Has credentials looked up again: a helper's may be short-lived, and the user may have signed in meanwhile.
    fn forget(&self, registry: &Registry) {
        *lock(&self.lookups.get(lookup_key(registry))) = None;
    }
}

/// Host, repository, and whether it is one that stands in for another.
type LookupKey = (String, String, bool);

fn lookup_key(registry: &Registry) -> LookupKey {
    (
        registry.host.clone(),
        registry.repository.clone(),
        registry.stands_in,
    )
}

impl Exchange<'_> {
    /// What to send with the first attempt: a token that is kept, or what the registry is known to ask for. Nothing is
    /// sent to a registry that has not asked.
    ///
    /// # Errors
    /// If credentials cannot be read.
    pub fn authorization(&mut self) -> Result<Option<Secret>, Error> {
        let asked = lock(&self.authenticator.asked)
            .get(&self.registry.connection())
            .cloned();
        let Some(asked) = asked else {
            return Ok(None);
        };
        let lookup = self.authenticator.lookup(&self.registry)?;
        let credential = lookup.found.as_ref().map(|found| &found.credential);
        match (asked, credential) {
            (Asked::Basic, Some(Credential::Basic { username, password })) => {
                self.sent = Sent::Basic;
                Ok(Some(basic(username, password)))
            }
            (Asked::Basic, _) => Ok(None),
            (Asked::Bearer { .. }, Some(Credential::RegistryToken(token))) => {
                Ok(Some(self.bearer(token.clone(), true)))
            }
            (Asked::Bearer { realm, service }, _) => {
                let key = self.token_key(&lookup, realm, service);
                let slot = self.authenticator.tokens.get(key);
                let now = self.authenticator.clock.now();
                let kept = lock(&slot)
                    .covering(&self.scopes, now)
                    .map(|token| token.value.clone());
                Ok(kept.map(|token| self.bearer(token, false)))
            }
        }
    }

    /// Whether there is something to tell a registry that asks.
    ///
    /// # Errors
    /// If credentials cannot be read.
    pub fn has_credentials(&self) -> Result<bool, Error> {
        Ok(self.authenticator.lookup(&self.registry)?.found.is_some())
    }

    /// What to ask again with after a 401. Fetches a token if need be; others who want one from the same realm wait.
    ///
    /// # Errors
    /// If there are no credentials, or they were refused, or there is no way to a token; see [`Error`].
    pub fn answer(
        &mut self,
        challenges: &[Challenge],
        endpoint: &dyn TokenEndpoint,
    ) -> Result<Answer, Error> {
        let offers = |scheme: &str| challenges.iter().find(|c| c.scheme() == scheme);
        let (bearer, plain) = (offers("bearer"), offers("basic"));
        if bearer.is_none() && plain.is_none() {
            return Err(Error::UnsupportedScheme {
                registry: self.registry.host.clone(),
                offered: challenges.iter().map(|c| c.scheme().to_owned()).collect(),
            });
        }
        let lookup = self.authenticator.lookup(&self.registry)?;
        self.answers += 1;
        if self.answers > MAX_ANSWERS {
            return Err(self.refused(&lookup));
        }
        match bearer {
            Some(challenge) => self.answer_bearer(challenge, &lookup, endpoint),
            None => self.answer_basic(&lookup),
        }
    }

    fn answer_basic(&mut self, lookup: &Lookup) -> Result<Answer, Error> {
        let Some(found) = &lookup.found else {
            return Err(self.refused(lookup));
        };
        let Credential::Basic { username, password } = &found.credential else {
            return Err(Error::Kind {
                registry: self.registry.host.clone(),
                source_of: found.source.clone(),
            });
        };
        if matches!(self.sent, Sent::Basic) {
            return Err(self.refused(lookup));
        }
        self.sent = Sent::Basic;
        self.remember(Asked::Basic);
        Ok(Answer {
            authorization: basic(username, password),
            source: Some(found.source.clone()),
        })
    }

    fn answer_bearer(
        &mut self,
        challenge: &Challenge,
        lookup: &Lookup,
        endpoint: &dyn TokenEndpoint,
    ) -> Result<Answer, Error> {
        let realm = challenge
            .parameter("realm")
            .ok_or(RealmError::Missing)
            .and_then(|realm| Realm::check(realm, &self.registry))
            .map_err(|source| Error::Realm {
                registry: self.registry.host.clone(),
                source,
            })?;
        let service = challenge.parameter("service").map(str::to_owned);
        let source = lookup.found.as_ref().map(|found| found.source.clone());
        let credential = lookup.found.as_ref().map(|found| &found.credential);
        if let Some(Credential::RegistryToken(token)) = credential {
            if matches!(self.sent, Sent::Bearer { .. }) {
                return Err(self.refused(lookup));
            }
            self.remember(Asked::Bearer { realm, service });
            let authorization = self.bearer(token.clone(), true);
            return Ok(Answer {
                authorization,
                source,
            });
        }
        let mut wanted = self.scopes.clone();
        wanted.merge(&challenge.scopes().limited_to(&self.scopes));
        let key = self.token_key(lookup, realm.clone(), service.clone());
        let slot = self.authenticator.tokens.get(key);
        let mut slot = lock(&slot);
        if let Sent::Bearer { token, fresh } = &self.sent {
            slot.remove(token);
            if *fresh {
                return Err(self.refused(lookup));
            }
        }
        let now = self.authenticator.clock.now();
        self.remember(Asked::Bearer {
            realm: realm.clone(),
            service: service.clone(),
        });
        if let Some(token) = slot.covering(&wanted, now) {
            let token = token.value.clone();
            let authorization = self.bearer(token, false);
            return Ok(Answer {
                authorization,
                source,
            });
        }
        log::debug!("{}: asking {realm} for {wanted}", self.registry.host);
        let request = fetch::Fetch {
            registry: &self.registry,
            realm: &realm,
            service: service.as_deref(),
            scopes: &wanted,
            endpoint,
        };
        let Some(response) = request.run(credential, &mut slot.refresh)? else {
            return Err(self.refused(lookup));
        };
        let granted =
            Granted::parse(&response.body, self.authenticator.clock.now()).map_err(|source| {
                Error::Response {
                    registry: self.registry.host.clone(),
                    realm: realm.to_string(),
                    source,
                }
            })?;
        // Counted from before the request, for the token may have been made at any time since.
        let token = Token::new(granted.token.clone(), wanted.clone(), now, granted.lifetime);
        slot.insert(token, now);
        if request.keeps_refresh(credential) && granted.refresh.is_some() {
            slot.refresh = granted.refresh;
        }
        drop(slot);
        let authorization = self.bearer(granted.token, true);
        Ok(Answer {
            authorization,
            source,
        })
    }

    fn bearer(&mut self, token: Secret, fresh: bool) -> Secret {
        let header = Secret::new(format!("Bearer {}", token.expose()));
        self.sent = Sent::Bearer { token, fresh };
        header
    }

    fn remember(&self, asked: Asked) {
        lock(&self.authenticator.asked).insert(self.registry.connection(), asked);
    }

    fn refused(&self, lookup: &Lookup) -> Error {
        self.authenticator.forget(&self.registry);
        let registry = self.registry.host.clone();
        match &lookup.found {
            Some(found) => Error::Refused {
                registry,
                source_of: found.source.clone(),
            },
            None => Error::NoCredentials {
                registry,
                looked: lookup.looked.clone(),
            },
        }
    }

    fn token_key(&self, lookup: &Lookup, realm: Realm, service: Option<String>) -> TokenKey {
        let account = lookup.found.as_ref().map(|found| {
            let user = match &found.credential {
                Credential::Basic { username, .. } => username.clone(),
                Credential::IdentityToken(_) | Credential::RegistryToken(_) => String::new(),
            };
            (user, found.source.to_string())
        });
        TokenKey {
            connection: self.registry.connection(),
            realm,
            service,
            account,
        }
    }
}
