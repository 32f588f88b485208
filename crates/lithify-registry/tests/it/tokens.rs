//! The conversation with a registry that asks who we are, against a realm that keeps notes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use lithify_registry::Secret;
use lithify_registry::auth::{
    Authenticator, Challenge, Clock, Credential, Credentials, Error, Method, Registry, Scopes,
    TokenEndpoint, TokenRequest, TokenResponse, TransportError,
};
use lithify_registry::config::Environment;

const HOST: &str = "registry.example.com";
const BEARER: &str =
    r#"Bearer realm="https://auth.example.com/token",service="svc",scope="repository:a:pull""#;

type Handler = dyn Fn(&TokenRequest, usize) -> (u16, String) + Send + Sync;

struct Realm {
    seen: Mutex<Vec<TokenRequest>>,
    handler: Box<Handler>,
}

impl Realm {
    fn new(
        handler: impl Fn(&TokenRequest, usize) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        Self {
            seen: Mutex::new(Vec::new()),
            handler: Box::new(handler),
        }
    }

    /// Gives `t0`, `t1`…, each for 300 s.
    fn counting() -> Self {
        Self::new(|_, n| (200, format!(r#"{{"token":"t{n}","expires_in":300}}"#)))
    }

    fn status(status: u16) -> Self {
        Self::new(move |_, _| (status, String::new()))
    }

    fn seen(&self) -> Vec<TokenRequest> {
        self.seen.lock().unwrap().clone()
    }
}

impl TokenEndpoint for Realm {
    fn send(&self, request: &TokenRequest) -> Result<TokenResponse, TransportError> {
        let mut seen = self.seen.lock().unwrap();
        let (status, body) = (self.handler)(request, seen.len());
        seen.push(request.clone());
        Ok(TokenResponse {
            status,
            body: body.into(),
        })
    }
}

#[derive(Default)]
struct Time(AtomicU64);

impl Clock for Time {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.0.load(Ordering::SeqCst))
    }
}

fn user() -> Credential {
    Credential::Basic {
        username: "me".into(),
        password: Secret::new("hunter2"),
    }
}

fn with(credential: Credential) -> Authenticator {
    Authenticator::new(Credentials::new(Environment::empty()).with_credential(HOST, credential))
}

fn challenges(header: &str) -> Vec<Challenge> {
    Challenge::parse_all([header]).unwrap()
}

fn registry() -> Registry {
    Registry::new(HOST, "a")
}

fn first(authenticator: &Authenticator, scopes: &Scopes) -> Option<String> {
    let header = authenticator.exchange(&registry(), scopes).authorization();
    header.unwrap().map(|header| header.expose().to_owned())
}

fn answer(authenticator: &Authenticator, scopes: &Scopes, realm: &Realm) -> Result<String, Error> {
    let mut exchange = authenticator.exchange(&registry(), scopes);
    exchange.authorization()?;
    let answer = exchange.answer(&challenges(BEARER), realm)?;
    Ok(answer.authorization.expose().to_owned())
}

#[test]
fn nothing_is_sent_unasked_and_basic_is_remembered() {
    let authenticator = with(user());
    assert_eq!(first(&authenticator, &Scopes::none()), None);
    let mut exchange = authenticator.exchange(&registry(), &Scopes::none());
    let basic = challenges("Basic realm=x");
    let answer = exchange.answer(&basic, &Realm::status(500)).unwrap();
    assert_eq!(answer.authorization.expose(), "Basic bWU6aHVudGVyMg==");
    assert_eq!(
        first(&authenticator, &Scopes::none()).as_deref(),
        Some("Basic bWU6aHVudGVyMg==")
    );
    let other = authenticator
        .exchange(&registry().plain_http(true), &Scopes::none())
        .authorization();
    assert_eq!(other.unwrap(), None, "another kind of connection");
    let error = exchange.answer(&basic, &Realm::status(500)).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(!format!("{error} {error:?} {authenticator:?}").contains("hunter2"));
}

#[test]
fn a_token_is_used_while_it_lasts_and_covers() {
    let time = Arc::new(Time::default());
    let credentials = Credentials::new(Environment::empty()).with_credential(HOST, user());
    let authenticator = Authenticator::with_clock(credentials, time.clone());
    let realm = Realm::counting();
    assert_eq!(
        answer(&authenticator, &Scopes::pull("a"), &realm).unwrap(),
        "Bearer t0"
    );
    assert_eq!(
        first(&authenticator, &Scopes::pull("a")).as_deref(),
        Some("Bearer t0")
    );
    assert_eq!(first(&authenticator, &Scopes::push("a")), None);
    assert_eq!(
        answer(&authenticator, &Scopes::push("a"), &realm).unwrap(),
        "Bearer t1"
    );
    assert!(
        realm.seen()[1]
            .url
            .ends_with("&scope=repository%3Aa%3Apull%2Cpush")
    );
    assert_eq!(
        first(&authenticator, &Scopes::pull("a")).as_deref(),
        Some("Bearer t1")
    );
    time.0.store(289, Ordering::SeqCst);
    assert!(first(&authenticator, &Scopes::pull("a")).is_some());
    time.0.store(290, Ordering::SeqCst);
    assert_eq!(first(&authenticator, &Scopes::pull("a")), None);
    let request = &realm.seen()[0];
    assert_eq!(request.method, Method::Get);
    assert_eq!(
        request.url,
        "https://auth.example.com/token?account=me&service=svc&scope=repository%3Aa%3Apull"
    );
    assert_eq!(
        request.authorization.as_ref().unwrap().expose(),
        "Basic bWU6aHVudGVyMg=="
    );
}

#[test]
fn a_kept_token_that_is_refused_is_fetched_anew_once() {
    let authenticator = with(user());
    let realm = Realm::counting();
    answer(&authenticator, &Scopes::pull("a"), &realm).unwrap();
    let mut exchange = authenticator.exchange(&registry(), &Scopes::pull("a"));
    assert_eq!(
        exchange.authorization().unwrap().unwrap().expose(),
        "Bearer t0"
    );
    let again = exchange.answer(&challenges(BEARER), &realm).unwrap();
    assert_eq!(again.authorization.expose(), "Bearer t1");
    let error = exchange.answer(&challenges(BEARER), &realm).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert_eq!(realm.seen().len(), 2);
    assert_eq!(first(&authenticator, &Scopes::pull("a")), None);
}

#[test]
fn many_threads_fetch_one_token() {
    let authenticator = with(user());
    let realm = Realm::counting();
    // First nobody has a token; then all have the same one, and it is refused.
    for round in ["Bearer t0", "Bearer t1"] {
        let begin = || {
            let mut exchange = authenticator.exchange(&registry(), &Scopes::pull("a"));
            exchange.authorization().unwrap();
            exchange
        };
        let exchanges: Vec<_> = (0..8).map(|_| begin()).collect();
        thread::scope(|scope| {
            for mut exchange in exchanges {
                let realm = &realm;
                scope.spawn(move || {
                    let answer = exchange.answer(&challenges(BEARER), realm).unwrap();
                    assert_eq!(answer.authorization.expose(), round);
                });
            }
        });
    }
    assert_eq!(realm.seen().len(), 2);
}

#[test]
fn another_registry_gets_no_token_of_this_one() {
    let credentials = Credentials::new(Environment::empty())
        .with_credential(HOST, user())
        .with_credential("evil.example.com", user());
    let authenticator = Authenticator::new(credentials);
    let realm = Realm::counting();
    answer(&authenticator, &Scopes::pull("a"), &realm).unwrap();
    let evil = Registry::new("evil.example.com", "a");
    let mut exchange = authenticator.exchange(&evil, &Scopes::pull("a"));
    let answer = exchange.answer(&challenges(BEARER), &realm).unwrap();
    assert_eq!(answer.authorization.expose(), "Bearer t1");
    assert_eq!(realm.seen().len(), 2);
}

#[test]
fn identity_tokens_are_posted_and_renewed() {
    let authenticator = with(Credential::IdentityToken(Secret::new("id+1")));
    let realm = Realm::new(|_, n| {
        (
            200,
            format!(r#"{{"access_token":"t{n}","refresh_token":"r{n}"}}"#),
        )
    });
    assert_eq!(
        answer(&authenticator, &Scopes::pull("a"), &realm).unwrap(),
        "Bearer t0"
    );
    answer(&authenticator, &Scopes::push("a"), &realm).unwrap();
    let seen = realm.seen();
    let body = |n: usize| seen[n].body.as_ref().unwrap().expose().to_owned();
    assert_eq!(
        body(0),
        "grant_type=refresh_token&refresh_token=id%2B1&client_id=lithify&service=svc&scope=repository%3Aa%3Apull"
    );
    assert!(body(1).contains("refresh_token=r0&"));
    assert!(
        seen.iter()
            .all(|r| r.method == Method::Post && r.authorization.is_none())
    );
    let refused = answer(
        &with(Credential::IdentityToken(Secret::new("x"))),
        &Scopes::none(),
        &Realm::status(400),
    );
    assert!(matches!(refused, Err(Error::Refused { .. })));
}

#[test]
fn a_realm_without_get_is_asked_by_password_grant() {
    let realm = Realm::new(|request, _| match request.method {
        Method::Get => (405, String::new()),
        Method::Post => (200, r#"{"access_token":"p"}"#.to_owned()),
    });
    assert_eq!(
        answer(&with(user()), &Scopes::pull("a"), &realm).unwrap(),
        "Bearer p"
    );
    let body = realm.seen()[1].body.clone().unwrap();
    assert!(
        body.expose()
            .starts_with("grant_type=password&username=me&password=hunter2&")
    );
}

#[test]
fn registry_tokens_are_sent_as_they_are() {
    let authenticator = with(Credential::RegistryToken(Secret::new("raw")));
    let realm = Realm::status(500);
    assert_eq!(
        answer(&authenticator, &Scopes::pull("a"), &realm).unwrap(),
        "Bearer raw"
    );
    assert!(matches!(
        answer(&authenticator, &Scopes::pull("a"), &realm),
        Err(Error::Refused { .. })
    ));
    let mut exchange = authenticator.exchange(&registry(), &Scopes::none());
    let error = exchange.answer(&challenges("Basic"), &realm).unwrap_err();
    assert!(matches!(error, Error::Kind { .. }));
    assert!(realm.seen().is_empty());
}

#[test]
fn having_no_credentials_says_where_they_were_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut environment = Environment::empty();
    environment.home = Some(directory.path().to_owned());
    environment.root = directory.path().to_owned();
    std::fs::create_dir(directory.path().join(".docker")).unwrap();
    std::fs::write(directory.path().join(".docker/config.json"), "{}").unwrap();
    let authenticator = Authenticator::new(Credentials::new(environment));
    let error = answer(&authenticator, &Scopes::pull("a"), &Realm::status(401)).unwrap_err();
    assert!(matches!(error, Error::NoCredentials { .. }), "{error}");
    let text = error.to_string();
    for part in [
        ".docker/config.json",
        ".config/containers/auth.json",
        "lithify login registry.example.com",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_realms_do_wrong_is_typed() {
    let error = |header: &str, realm: &Realm| {
        let authenticator = with(user());
        let mut exchange = authenticator.exchange(&registry(), &Scopes::pull("a"));
        exchange.answer(&challenges(header), realm).unwrap_err()
    };
    let quiet = Realm::counting();
    assert!(matches!(
        error("Negotiate", &quiet),
        Error::UnsupportedScheme { .. }
    ));
    assert!(matches!(
        error("Bearer service=x", &quiet),
        Error::Realm { .. }
    ));
    for realm in ["https://me@auth/", "/token", "file:///x"] {
        let header = format!("Bearer realm=\"{realm}\"");
        assert!(
            matches!(error(&header, &quiet), Error::Realm { .. }),
            "{realm}"
        );
    }
    assert!(quiet.seen().is_empty());
    assert!(matches!(
        error(BEARER, &Realm::status(500)),
        Error::Status { status: 500, .. }
    ));
    assert!(matches!(
        error(BEARER, &Realm::status(302)),
        Error::Status { status: 302, .. }
    ));
    assert!(matches!(
        error(BEARER, &Realm::status(401)),
        Error::Refused { .. }
    ));
    let junk = Realm::new(|_, _| (200, "hunter3".to_owned()));
    let wrong = error(BEARER, &junk);
    assert!(matches!(wrong, Error::Response { .. }));
    assert!(!format!("{wrong} {wrong:?}").contains("hunter"));
}
