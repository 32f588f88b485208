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
    // Nobody leads credentials to another host.
    let elsewhere = Faulty::start();
    tokens.set_html(false);
    tokens.rule(On::any(), Action::RedirectTo(307, elsewhere.url()));
    let error = repository.manifest(&tag(), LIMIT).unwrap_err();
    assert!(matches!(error, Error::Auth(_)), "{error:?}");
    let text = shown(&error);
    assert!(text.contains("credentials go to no other host"), "{text}");
    assert!(elsewhere.requests().is_empty());
    // A redirect to nowhere is told with what was expected of it.
    tokens.clear_rules();
    tokens.rule(On::any(), Action::Answer(Answer::status(302)));
    let error = repository.manifest(&tag(), LIMIT).unwrap_err();
    let text = shown(&error);
    assert!(text.contains("cannot ask its realm"), "{text}");
    assert!(text.contains("(status 302) has no `Location`"), "{text}");
    // Their own redirects are followed, as often as it takes.
    tokens.clear_rules();
    tokens.rule(On::any(), Action::Hops(307, 3));
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    let last = tokens.requests().pop().unwrap();
    assert!(last.basic().is_some());
    tokens.revoke_all();
    tokens.clear_rules();
    tokens.rule(On::any(), Action::RedirectLoop(302));
    let error = repository.manifest(&tag(), LIMIT).unwrap_err();
    assert!(shown(&error).contains("more than 10 redirects"), "{error}");
}

#[test]
fn a_token_for_everybody_may_come_from_elsewhere() {
    if !require::tool("openssl") {
        return;
    }
    let (registry, tokens, elsewhere) = (Faulty::start(), TokenServer::start(), Faulty::start());
    tokens.allow_anonymous(NAME, &["pull"]);
    registry.demand(Demand::token(&tokens));
    add_index(&registry);
    elsewhere.rule(On::any(), Action::RedirectTo(302, tokens_url(&tokens)));
    // The realm the registry names leads to the one that has tokens.
    let challenge = tokens
        .challenge()
        .replace(&tokens_url(&tokens), &elsewhere.url());
    registry.rule(
        On::kind(Kind::Manifest).authorized(false),
        Action::Answer(Answer::challenge(&challenge)),
    );
    let client = Client::new(options("")).unwrap();
    let found = open(&client, &registry.address()).manifest(&tag(), LIMIT);
    assert!(found.unwrap().is_some());
    assert_eq!(elsewhere.requests().len(), 1);
    // The same with a password stays where it is.
    tokens.add_user("alice", PASSWORD);
    tokens.clear_asked();
    let client = Client::new(signed_in(options(""), PASSWORD)).unwrap();
    let error = open(&client, &registry.address()).manifest(&tag(), LIMIT);
    assert!(matches!(error, Err(Error::Auth(_))));
    assert!(tokens.asked().is_empty());
}

/// `http://HOST:PORT` of a token server.
fn tokens_url(tokens: &TokenServer) -> String {
    let realm = tokens.realm();
    realm.strip_suffix("/token").unwrap().to_owned()
}

#[test]
fn pulls_ask_for_no_more_than_they_need() {
    if !require::tool("openssl") {
        return;
    }
    let (registry, tokens, client) = guarded();
    // Whatever the registry says that it has to give.
    let challenge = format!(
        "{},scope=\"repository:{NAME}:pull,push,delete\"",
        tokens.challenge()
    );
    registry.rule(
        On::kind(Kind::Manifest).authorized(false),
        Action::Answer(Answer::challenge(&challenge)),
    );
    let repository = open(&client, &registry.address());
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    let asked = tokens.requests().pop().unwrap();
    assert_eq!(asked.parameter("scope"), Some("repository:team/app:pull"));
}

#[test]
fn what_is_hidden_from_strangers_is_asked_for_by_name() {
    if !require::tool("openssl") {
        return;
    }
    let refusals = [
        Answer::error(404, "NAME_UNKNOWN", "unknown"),
        Answer::error(403, "DENIED", "no"),
        Answer::status(401),
    ];
    for refusal in refusals {
        // Whoever shows no credentials is told that there is nothing; only the root asks for some.
        let (registry, tokens, client) = guarded();
        let blob = noise(1000);
        registry.add_blob(NAME, blob.clone());
        let hidden = [Kind::Manifest, Kind::Blob, Kind::Tags];
        for kind in hidden {
            registry.rule(
                On::kind(kind).authorized(false),
                Action::Answer(refusal.clone()),
            );
        }
        let repository = open(&client, &registry.address());
        assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
        assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
        assert_eq!(repository.tags().unwrap(), ["1"]);
        let roots = || registry.requests_on(&On::kind(Kind::Base)).len();
        // One to see whether it is encrypted, one for what it asks for.
        assert_eq!(roots(), 2, "{refusal:?}");
        assert_eq!(tokens.asked().len(), 1);
        // What is not there stays so.
        let absent = lithify_registry::ManifestName::Tag("absent".into());
        assert_eq!(repository.manifest(&absent, LIMIT).unwrap(), None);
        assert_eq!(roots(), 2, "{refusal:?}");
        // Nobody is asked by who has nothing to show.
        let stranger = Client::new(options("")).unwrap();
        registry.clear_requests();
        let repository = open(&stranger, &registry.address());
        let found = repository.manifest(&tag(), LIMIT);
        assert!(!matches!(found, Ok(Some(_))));
        assert_eq!(roots(), 1, "{refusal:?}");
    }
    // A registry that asks for nothing is asked once, and wrong credentials change nothing.
    let registry = Faulty::start();
    let client = Client::new(signed_in(options(""), PASSWORD)).unwrap();
    for _ in 0..3 {
        let repository = open(&client, &registry.address());
        assert_eq!(repository.manifest(&tag(), LIMIT).unwrap(), None);
    }
    assert_eq!(registry.requests_on(&On::kind(Kind::Base)).len(), 2);
    let (registry, tokens, _) = guarded();
    registry.rule(
        On::kind(Kind::Manifest),
        Action::Answer(Answer::status(404)),
    );
    let client = Client::new(signed_in(options(""), "wrong")).unwrap();
    let repository = open(&client, &registry.address());
    for _ in 0..3 {
        assert_eq!(repository.manifest(&tag(), LIMIT).unwrap(), None);
    }
    // What is refused once is not asked for with everything that is not there.
    assert_eq!(tokens.requests().len(), 1);
}

#[test]
fn a_place_a_registry_sends_us_to_may_want_a_token_for_everybody() {
    if !require::tool("openssl") {
        return;
    }
    let (registry, elsewhere, tokens) = (Faulty::start(), Faulty::start(), TokenServer::start());
    let blob = noise(5000);
    add_index(&elsewhere);
    elsewhere.add_blob(NAME, blob.clone());
    tokens.allow_anonymous(NAME, &["pull"]);
    tokens.add_user("alice", PASSWORD);
    elsewhere.demand(Demand::token(&tokens));
    for kind in [Kind::Manifest, Kind::Blob] {
        registry.rule(On::kind(kind), Action::RedirectTo(307, elsewhere.url()));
    }
    // Also with credentials for it: the registry alone names it.
    for options in [options(""), signed_in(options(""), PASSWORD)] {
        let client = Client::new(options).unwrap();
        let repository = open(&client, &registry.address());
        assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
        assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    }
    for asked in tokens.requests() {
        assert_eq!(asked.authorization(), None);
    }
}

#[test]
fn challenges_bent_on_their_way_are_read() {
    let registry = Faulty::start();
    add_index(&registry);
    registry.demand(Demand::basic("alice", PASSWORD));
    for header in [
        &b"Basic realm=\"Acc\xe8s refus\xe9\""[..],
        b"\xef\xbb\xbfBasic realm=\"x\"",
        b"Basic realm=\"x\" charset=\"UTF-8\"",
        b"Basic realm=\"x\", realm=\"y\"",
        b"Basic",
    ] {
        registry.clear_rules();
        let answer = [
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: ",
            header,
            b"\r\n\r\n",
        ];
        registry.rule(
            On::kind(Kind::Manifest).authorized(false),
            Action::Raw(answer.concat()),
        );
        let client = Client::new(signed_in(options(""), PASSWORD)).unwrap();
        let found = open(&client, &registry.address()).manifest(&tag(), LIMIT);
        assert!(found.unwrap().is_some(), "{header:?}");
    }
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
    ] {
        let error = ask(&toml, &realm).unwrap_err();
        let Error::Auth(inner) = &error else {
            panic!("{error:?}")
        };
        assert!(matches!(**inner, auth::Error::Realm { .. }), "{error:?}");
    }
    assert!(realm.requests().is_empty());
    // A realm that is called plain is asked with encryption, or not at all.
    let error = ask(&toml(""), &plain.url()).unwrap_err();
    assert!(
        matches!(&error, Error::Auth(inner) if matches!(**inner, auth::Error::Transport { .. }))
    );
    let text = shown(&error);
    assert!(text.contains("which it calls http://"), "{text}");
    assert!(plain.requests().is_empty());
    let called_plain = realm.url().replace("https://", "http://");
    assert!(ask(&toml(""), &called_plain).unwrap().is_some());
    assert!(realm.requests().iter().any(|r| r.basic().is_some()));
}
