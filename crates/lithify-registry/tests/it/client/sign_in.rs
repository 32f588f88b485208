//! Passwords and tokens.

use lithify_registry::auth;
use lithify_registry::{Client, Error};
use lithify_testkit::registry::{Action, Answer, Authority, Demand, Faulty, Kind, On, TokenServer};
use lithify_testkit::require;

use super::support::{
    LIMIT, NAME, PASSWORD, add_index, noise, open, options, read_blob, shown, signed_in, tag,
};

fn guarded() -> (Faulty, TokenServer, Client) {
    let (registry, tokens) = (Faulty::start(), TokenServer::start());
    tokens.add_user("alice", PASSWORD);
    registry.demand(Demand::token(&tokens));
    add_index(&registry);
    let client = Client::new(signed_in(options(""), PASSWORD)).unwrap();
    (registry, tokens, client)
}

#[test]
fn eight_threads_need_one_token() {
    if !require::tool("openssl") {
        return;
    }
    let (registry, tokens, client) = guarded();
    let blobs: Vec<_> = (0..8).map(|n| noise(50_000 + n)).collect();
    for blob in &blobs {
        registry.add_blob(NAME, blob.clone());
    }
    std::thread::scope(|scope| {
        for blob in &blobs {
            let repository = open(&client, &registry.address());
            scope.spawn(move || assert_eq!(read_blob(&repository, blob).unwrap(), *blob));
        }
    });
    assert_eq!(tokens.asked().len(), 1);
}

#[test]
fn tokens_that_are_revoked_in_the_middle_are_replaced() {
    if !require::tool("openssl") {
        return;
    }
    let (registry, tokens, client) = guarded();
    let repository = open(&client, &registry.address());
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    tokens.revoke_all();
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    assert_eq!(tokens.asked().len(), 2);
}

#[test]
fn a_token_server_may_have_a_bad_moment() {
    if !require::tool("openssl") {
        return;
    }
    for action in [
        Action::Answer(Answer::status(503)),
        Action::Answer(Answer::status(429).header("Retry-After", 0)),
        Action::Close,
    ] {
        let (registry, tokens, client) = guarded();
        let on = On::kind(Kind::Token);
        let hits = tokens.rule(on.clone().times(2), action.clone());
        let repository = open(&client, &registry.address());
        assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
        assert_eq!(hits.count(), 2);
        let (registry, tokens, client) = guarded();
        let hits = tokens.rule(on, action);
        let error = open(&client, &registry.address())
            .manifest(&tag(), LIMIT)
            .unwrap_err();
        assert!(matches!(error, Error::Auth(_)), "{error:?}");
        shown(&error);
        assert_eq!(hits.count(), 4, "tries do not multiply");
    }
}

#[test]
fn what_is_no_token_is_told() {
    if !require::tool("openssl") {
        return;
    }
    let (registry, tokens, client) = guarded();
    let repository = open(&client, &registry.address());
    tokens.set_html(true);
    let error = repository.manifest(&tag(), LIMIT).unwrap_err();
    let Error::Auth(inner) = &error else {
        panic!("{error:?}")
    };
    assert!(matches!(**inner, auth::Error::Response { .. }), "{error:?}");
    shown(&error);
    // Nobody leads credentials on.
    let elsewhere = Faulty::start();
    tokens.set_html(false);
    tokens.rule(On::any(), Action::RedirectTo(307, elsewhere.url()));
    let error = repository.manifest(&tag(), LIMIT).unwrap_err();
    assert!(matches!(error, Error::Auth(_)), "{error:?}");
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn refusals_end() {
    let registry = Faulty::start();
    let own = format!("Bearer realm=\"{}/token\",service=\"x\"", registry.url());
    for challenge in [
        own.as_str(),
        "Basic realm=\"x\"",
        "Digest realm=\"x\"",
        "",
        "Bearer",
    ] {
        registry.clear_rules();
        registry.clear_requests();
        registry.rule(
            On::kind(Kind::Manifest),
            Action::Answer(Answer::challenge(challenge)),
        );
        let client = Client::new(signed_in(options(""), PASSWORD)).unwrap();
        let error = open(&client, &registry.address())
            .manifest(&tag(), LIMIT)
            .unwrap_err();
        assert!(
            matches!(error, Error::Auth(_) | Error::Challenge { .. }),
            "{error:?}"
        );
        shown(&error);
        let asked = registry.requests_on(&On::kind(Kind::Manifest)).len();
        assert!(asked <= 3, "{challenge}: {asked}");
    }
}

#[test]
fn realms_may_be_elsewhere_if_encrypted_and_not_forbidden() {
    if !require::tool("openssl") {
        return;
    }
    let authority = Authority::new();
    let (registry, realm) = (Faulty::start_tls(&authority), Faulty::start_tls(&authority));
    let plain = Faulty::start();
    add_index(&registry);
    let ca = authority.certificate();
    let toml = |more: &str| {
        format!(
            "[[registry]]\nprefix = \"{}\"\nca = \"{ca}\"\n{more}\n[[registry]]\nprefix = \"{}\"\nca = \"{ca}\"",
            registry.address(),
            realm.address(),
            ca = ca.display()
        )
    };
    let ask = |toml: &str, realm: &str| {
        registry.demand(Demand::any_token(&format!(
            "Bearer realm=\"{realm}/token\",service=\"x\""
        )));
        let client = Client::new(signed_in(options(toml), PASSWORD)).unwrap();
        open(&client, &registry.address()).manifest(&tag(), LIMIT)
    };
    assert!(ask(&toml(""), &realm.url()).unwrap().is_some());
    assert!(realm.requests().iter().any(|r| r.basic().is_some()));
    assert!(
        ask(&toml("realms = [\"127.0.0.1\"]"), &realm.url())
            .unwrap()
            .is_some()
    );
    realm.clear_requests();
    for (toml, realm) in [
        (toml("realms = []"), realm.url()),
        (toml("realms = [\"auth.example\"]"), realm.url()),
        (toml(""), plain.url()),
    ] {
        let error = ask(&toml, &realm).unwrap_err();
        let Error::Auth(inner) = &error else {
            panic!("{error:?}")
        };
        assert!(matches!(**inner, auth::Error::Realm { .. }), "{error:?}");
    }
    assert!(realm.requests().is_empty() && plain.requests().is_empty());
}
