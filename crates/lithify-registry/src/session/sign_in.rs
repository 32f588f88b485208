//! Credentials for one request, wherever it is sent.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ureq::http::Method;

use super::{Access, Answer, Call, CallBody, Outcome, Session, To};
use crate::Secret;
use crate::auth::{self, Challenge, Exchange, Scopes};
use crate::error::{Error, Operation};
use crate::http::url::Url;
use crate::http::{Body, Request, Response};

/// What registries asked for at `/v2/`, by their address; nothing where they asked for nothing.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    challenges: Mutex<HashMap<String, Arc<[Challenge]>>>,
    /// Addresses and repositories where the answer was refused: it would be again, for everything that is not there.
    refused: Mutex<HashSet<(String, String)>>,
}

impl Roots {
    fn get(&self, base: &Url) -> Option<Arc<[Challenge]>> {
        lock(&self.challenges).get(&base.to_string()).cloned()
    }

    fn insert(&self, base: &Url, challenges: Arc<[Challenge]>) {
        lock(&self.challenges).insert(base.to_string(), challenges);
    }
}

/// Values that are whole whatever happened to a thread that had the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one request proves itself with, as far as it was asked to.
pub(super) struct Signing<'a> {
    session: &'a Session<'a>,
    call: &'a Call<'a>,
    start: Url,
    /// Whether the request goes to the registry itself: nobody else gets its credentials, not even the first time.
    ours: bool,
    exchange: Exchange<'a>,
    authorization: Option<Secret>,
    /// A token for a place the registry sends us to.
    elsewhere: Option<(Url, Secret)>,
}

impl<'a> Signing<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        call: &'a Call<'a>,
        start: &Url,
    ) -> Result<Self, Outcome> {
        let ours = session.base_is(start);
        let registry = session
            .endpoint
            .config
            .authority(!start.is_https())
            .stands_in(session.endpoint.elsewhere);
        let mut exchange = session
            .shared
            .auth
            .exchange(&registry, &session.scopes(call));
        let authorization = match ours {
            true => exchange.authorization().map_err(|e| session.auth(e))?,
            false => None,
        };
        Ok(Self {
            session,
            call,
            start: start.clone(),
            ours,
            exchange,
            authorization,
            elsewhere: None,
        })
    }

    /// Where the request goes first.
    pub(super) fn start(&self) -> &Url {
        &self.start
    }

    /// Whether anything is sent to the registry to prove who we are.
    pub(super) fn is_signed(&self) -> bool {
        self.authorization.is_some()
    }

    /// All that is sent to anybody to prove who we are.
    pub(super) fn sent(&self) -> impl Iterator<Item = &Secret> {
        let elsewhere = self.elsewhere.as_ref().map(|(_, token)| token);
        self.authorization.iter().chain(elsewhere)
    }

    /// What is sent to an address; a `trusted` one was reached without leaving the registry.
    pub(super) fn authorization(&self, url: &Url, trusted: bool) -> Option<&Secret> {
        match &self.elsewhere {
            _ if trusted => self.authorization.as_ref(),
            Some((place, token)) if place.same_origin(url) => Some(token),
            _ => None,
        }
    }

    /// Finds what to send again after a refusal. The refusal is returned if that is the last word.
    pub(super) fn again(&mut self, answer: Answer) -> Result<Option<Answer>, Outcome> {
        let is_challenge = answer.response.status == 401
            && answer
                .response
                .header_bytes("www-authenticate")
                .next()
                .is_some();
        match (self.ours && self.session.base_is(&answer.url), is_challenge) {
            (true, true) => {
                let challenges = self.session.challenges(&answer.response)?;
                answer.response.discard();
                self.answer(&challenges)?;
                Ok(None)
            }
            // One that does not say what it wants (RFC 9110, section 15.5.2) may say it at its root, and so may one that
            // hides what it does not give to everybody.
            (true, false) if !self.is_signed() => match self.answer_root()? {
                true => Ok(None),
                false => Ok(Some(answer)),
            },
            (false, true) if self.call.is_read_only() => {
                self.sign_in_elsewhere(answer)?;
                Ok(None)
            }
            _ => Ok(Some(answer)),
        }
    }

    fn answer(&mut self, challenges: &[Challenge]) -> Result<(), Outcome> {
        let answer = self.exchange.answer(challenges, self.session);
        let answer = answer.map_err(|e| self.session.auth(e))?;
        self.authorization = Some(answer.authorization);
        Ok(())
    }

    /// Proves who we are to a registry that asks at its root only. Whether there is something new to send.
    fn answer_root(&mut self) -> Result<bool, Outcome> {
        let refused = &self.session.shared.roots.refused;
        let repository = self.session.endpoint.repository.clone();
        let here = (self.start.authority().to_owned(), repository);
        if lock(refused).contains(&here) {
            return Ok(false);
        }
        let credentials = self.exchange.has_credentials();
        if !credentials.map_err(|e| self.session.auth(e))? {
            return Ok(false);
        }
        let challenges = self.session.root_challenges()?;
        if challenges.is_empty() {
            return Ok(false);
        }
        match self.answer(&challenges) {
            Ok(()) => Ok(true),
            Err(Outcome::Failed(error @ Error::Auth(_))) => {
                log::warn!("{error}");
                lock(refused).insert(here);
                Ok(false)
            }
            Err(outcome) => Err(outcome),
        }
    }

    /// Gets a token for anybody from a place the registry sends us to. Credentials stored for that place are not used:
    /// only the registry names it.
    fn sign_in_elsewhere(&mut self, answer: Answer) -> Result<(), Outcome> {
        let Answer { response, url, .. } = answer;
        let refused = || {
            Outcome::Failed(Error::SignInElsewhere {
                host: self.session.endpoint.host.clone(),
                operation: self.call.operation.clone(),
                to: url.clone(),
            })
        };
        if self.elsewhere.is_some() {
            return Err(refused());
        }
        let challenges = self.session.challenges(&response)?;
        response.discard();
        let repository = repository_of(&url).unwrap_or(&self.session.endpoint.repository);
        let registry = auth::Registry::new(url.authority(), repository)
            .plain_http(!url.is_https())
            .insecure(self.session.endpoint.config.authority(false).is_insecure());
        let nobody = &self.session.shared.nobody;
        let mut exchange = nobody.exchange(&registry, &Scopes::pull(repository));
        let token = match exchange.answer(&challenges, self.session) {
            Ok(answer) => answer.authorization,
            Err(auth::Error::NoCredentials { .. }) => return Err(refused()),
            Err(error) => return Err(self.session.auth(error)),
        };
        self.elsewhere = Some((url, token));
        Ok(())
    }
}

/// The repository in the path of a manifest or blob.
fn repository_of(url: &Url) -> Option<&str> {
    let path = url.path().strip_prefix("/v2/")?;
    let (rest, _) = path.rsplit_once('/')?;
    let (repository, kind) = rest.rsplit_once('/')?;
    matches!(kind, "manifests" | "blobs").then_some(repository)
}

impl Session<'_> {
    /// What an answer asks for.
    fn challenges(&self, response: &Response) -> Result<Vec<Challenge>, Outcome> {
        let challenges = Challenge::parse_all(response.header_bytes("www-authenticate"));
        challenges.map_err(|source| {
            Outcome::Failed(Error::Challenge {
                host: self.endpoint.host.clone(),
                source,
            })
        })
    }

    /// What the registry asks for at its root; asked once. Nothing where that cannot be found out: it is the last resort.
    fn root_challenges(&self) -> Result<Arc<[Challenge]>, Outcome> {
        let nothing = || Ok(Arc::from([]));
        let base = self.base().map_err(Outcome::Failed)?;
        if let Some(known) = self.shared.roots.get(base) {
            return Ok(known);
        }
        let Ok(url) = base.join("/v2/") else {
            return nothing();
        };
        log::info!("{}: asking it who it wants us to be", self.endpoint.host);
        let request = Request {
            method: Method::GET,
            url: &url,
            authorization: None,
            headers: &[],
            body: Body::Empty,
        };
        let response = match self.exchange(&url, request, &Operation::Ping, 1) {
            Ok(response) => response,
            Err(Error::Cancelled) => return Err(Outcome::Failed(Error::Cancelled)),
            Err(error) => {
                log::info!("{error}");
                return nothing();
            }
        };
        let challenges = match response.status {
            401 => Challenge::parse_all(response.header_bytes("www-authenticate")),
            _ => Ok(Vec::new()),
        };
        response.discard();
        let challenges: Arc<[Challenge]> = challenges.unwrap_or_default().into();
        self.shared.roots.insert(base, Arc::clone(&challenges));
        Ok(challenges)
    }

    fn auth(&self, source: auth::Error) -> Outcome {
        if let Err(cancelled) = self.shared.check_cancelled() {
            return Outcome::Failed(cancelled);
        }
        Outcome::Failed(Error::Auth(Box::new(source)))
    }

    /// Asks the registry whether it accepts our credentials.
    pub(crate) fn check_login(&self) -> Result<(), Error> {
        let base = self.base()?;
        let url = base
            .join("/v2/")
            .map_err(|e| self.location(&Operation::Ping, e.into()))?;
        let answer = self.call(&Call {
            method: Method::GET,
            to: To::Url(&url),
            headers: &[],
            body: CallBody::Empty,
            operation: &Operation::Ping,
            access: Access::Pull,
            from: None,
            tried: 0,
        })?;
        answer.response.discard();
        Ok(())
    }
}
