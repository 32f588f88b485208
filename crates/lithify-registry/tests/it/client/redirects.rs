//! Being sent elsewhere.

use lithify_registry::{Client, Error, LocationError, PushOptions, UrlError};
use lithify_testkit::registry::{Action, Answer, Authority, Demand, Faulty, Kind, On, Proxy};
use lithify_testkit::require;

use super::support::{
    LIMIT, NAME, PASSWORD, add_index, digest, downloads, noise, open, options, read_blob,
    repository, shown, signed_in, tag,
};

/// Two registries with the same blob.
fn pair() -> (Faulty, Faulty, Vec<u8>) {
    let (registry, elsewhere, blob) = (Faulty::start(), Faulty::start(), noise(5000));
    registry.add_blob(NAME, blob.clone());
    elsewhere.add_blob(NAME, blob.clone());
    (registry, elsewhere, blob)
}

#[test]
fn a_few_are_followed() {
    for status in [301, 302, 303, 307, 308] {
        let (registry, elsewhere, blob) = pair();
        registry.rule(
            On::kind(Kind::Blob),
            Action::RedirectTo(status, elsewhere.url()),
        );
        assert_eq!(read_blob(&repository(&registry), &blob).unwrap(), blob);
        assert_eq!(downloads(&elsewhere).len(), 1);
    }
    let (registry, _, blob) = pair();
    registry.rule(On::kind(Kind::Blob), Action::Hops(307, 10));
    assert_eq!(read_blob(&repository(&registry), &blob).unwrap(), blob);
    assert_eq!(downloads(&registry).len(), 11);
}

#[test]
fn addresses_with_what_no_address_has_are_read() {
    for name in ["a\"b", "a b", "\u{e9}t\u{e9}", "{x}|y"] {
        let (registry, elsewhere, blob) = pair();
        let encoded: String = name
            .bytes()
            .map(|b| match b.is_ascii_alphanumeric() {
                true => char::from(b).to_string(),
                false => format!("%{b:02X}"),
            })
            .collect();
        elsewhere.add_file(&format!("/{name}"), blob.clone());
        let to = format!("{}/{name}", elsewhere.url());
        let answer = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: {to}\r\n\r\n"
        );
        registry.rule(On::kind(Kind::Blob), Action::Raw(answer.into_bytes()));
        assert_eq!(
            read_blob(&repository(&registry), &blob).unwrap(),
            blob,
            "{name}"
        );
        assert_eq!(elsewhere.requests()[0].target, format!("/{encoded}"));
    }
}

#[test]
fn circles_end() {
    for action in [Action::RedirectLoop(307), Action::Hops(302, 11)] {
        let (registry, _, blob) = pair();
        registry.rule(On::kind(Kind::Blob), action);
        let error = read_blob(&repository(&registry), &blob).unwrap_err();
        assert!(
            matches!(error, Error::Redirects { limit: 10, .. }),
            "{error:?}"
        );
        assert_eq!(downloads(&registry).len(), 11);
    }
}

#[test]
fn credentials_stay_at_home() {
    let (registry, elsewhere, blob) = pair();
    let guarded = signed_in(options(""), PASSWORD);
    let repository = open(&Client::new(guarded).unwrap(), &registry.address());
    registry.demand(Demand::basic("alice", PASSWORD));
    add_index(&registry);
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    registry.rule(
        On::kind(Kind::Blob),
        Action::RedirectTo(307, elsewhere.url()),
    );
    assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    // Nor does it help to ask.
    elsewhere.demand(Demand::basic("alice", PASSWORD));
    let error = read_blob(&repository, &blob).unwrap_err();
    assert!(
        matches!(&error, Error::SignInElsewhere { to, .. } if to.authority() == elsewhere.address()),
        "{error:?}"
    );
    let text = shown(&error);
    assert!(text.contains("name the image there"), "{text}");
    // Nor to send back what came.
    elsewhere.rule(
        On::kind(Kind::Blob),
        Action::RedirectTo(307, registry.url()),
    );
    registry.clear_rules();
    registry.rule(
        On::kind(Kind::Blob).nth(1),
        Action::RedirectTo(307, elsewhere.url()),
    );
    registry.clear_requests();
    // (A registry that sends its own clients on such a detour refuses them.)
    drop(read_blob(&repository, &blob));
    let back = &downloads(&registry)[1];
    assert_eq!(back.authorization(), None);
    for request in elsewhere.requests() {
        assert_eq!(request.authorization(), None);
        assert!(!format!("{:?}", request.headers).contains(PASSWORD));
    }
}

#[test]
fn places_that_are_not_gone_to() {
    let (registry, elsewhere, blob) = pair();
    let host = elsewhere.address();
    for (to, expected) in [
        (
            format!("http://alice:{PASSWORD}@{host}/x"),
            UrlError::UserInfo,
        ),
        (format!("http://alice@{host}/x"), UrlError::UserInfo),
        ("ftp://127.0.0.1/x".into(), UrlError::Scheme),
        ("file:///etc/passwd".into(), UrlError::Syntax),
        ("http://".into(), UrlError::Syntax),
        ("http://[::1/x".into(), UrlError::Syntax),
        (format!("/{}", "x".repeat(20_000)), UrlError::Length),
    ] {
        registry.clear_rules();
        registry.rule(On::kind(Kind::Blob), Action::Redirect(307, to));
        let error = read_blob(&repository(&registry), &blob).unwrap_err();
        shown(&error);
        let Error::Location { source, .. } = error else {
            panic!("{error:?}");
        };
        assert!(
            matches!(source, LocationError::Url(found) if found == expected),
            "{source}"
        );
    }
    registry.clear_rules();
    registry.rule(On::kind(Kind::Blob), Action::Answer(Answer::status(307)));
    let error = read_blob(&repository(&registry), &blob).unwrap_err();
    assert!(matches!(
        error,
        Error::Location {
            source: LocationError::Missing { status: 307 },
            ..
        }
    ));
    let text = shown(&error);
    assert!(text.contains("(status 307) has no `Location`"), "{text}");
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn relative_places_are_meant_from_here() {
    let (registry, _, blob) = pair();
    registry.add_file("/cdn/x", blob.clone());
    let host = registry.address();
    for to in [
        "/cdn/x?X-Signature=sw0rdfish".to_owned(),
        format!("//{host}/cdn/x"),
        "../../../../cdn/x".to_owned(),
        "/v2/../cdn/./x#fragment".to_owned(),
    ] {
        registry.clear_rules();
        registry.rule(On::kind(Kind::Blob), Action::Redirect(302, to.clone()));
        let read = read_blob(&repository(&registry), &blob);
        assert_eq!(read.unwrap(), blob, "{to}");
    }
    // What is signed is not shown.
    registry.clear_rules();
    registry.rule(
        On::kind(Kind::Blob),
        Action::Redirect(302, "/cdn/x?X-Signature=sw0rdfish".into()),
    );
    registry.rule(On::kind(Kind::File), Action::Answer(Answer::status(403)));
    shown(&read_blob(&repository(&registry), &blob).unwrap_err());
    registry.clear_rules();
    registry.rule(On::any(), Action::RedirectLoop(302));
    let location = Action::Redirect(302, "?X-Signature=sw0rdfish".into());
    registry.rule(On::kind(Kind::Blob), location);
    shown(&read_blob(&repository(&registry), &blob).unwrap_err());
}

#[test]
fn encryption_is_not_given_up() {
    if !require::tool("openssl") {
        return;
    }
    let authority = Authority::new();
    let (registry, elsewhere) = (Faulty::start_tls(&authority), Faulty::start());
    let blob = noise(3000);
    elsewhere.add_blob(NAME, blob.clone());
    let toml = format!(
        "[[registry]]\nprefix = \"{}\"\nca = \"{}\"",
        registry.address(),
        authority.certificate().display()
    );
    let repository = open(&super::support::client(&toml), &registry.address());
    registry.rule(
        On::kind(Kind::Blob),
        Action::RedirectTo(307, elsewhere.url()),
    );
    let error = read_blob(&repository, &blob).unwrap_err();
    let downgrade = |error: &Error| {
        let Error::Location { source, .. } = error else {
            return false;
        };
        matches!(source, LocationError::Downgrade { to, .. } if to.authority() == elsewhere.address())
    };
    assert!(downgrade(&error), "{error:?}");
    registry.clear_rules();
    // Uploads, too.
    registry.rule(
        On::kind(Kind::Upload).method("POST"),
        Action::Header("Location".into(), format!("{}/upload", elsewhere.url())),
    );
    let error = repository
        .push_blob(
            &digest(&blob),
            3000,
            &blob.as_slice(),
            &PushOptions::default(),
        )
        .unwrap_err();
    assert!(downgrade(&error), "{error:?}");
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn nobody_is_sent_to_this_machine_from_elsewhere() {
    let (registry, elsewhere, blob) = pair();
    let proxy = Proxy::start();
    proxy.map("registry.example:80", &registry.address());
    let toml = format!(
        "proxy = \"{}\"\n[[registry]]\nprefix = \"registry.example\"\nplain-http = true",
        proxy.url()
    );
    let repository = open(&super::support::client(&toml), "registry.example");
    assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    for host in [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "127.1",
        "[::ffff:127.0.0.1]",
    ] {
        registry.clear_rules();
        let port = elsewhere.address().rsplit(':').next().unwrap().to_owned();
        registry.rule(
            On::kind(Kind::Blob),
            Action::RedirectTo(307, format!("http://{host}:{port}")),
        );
        let error = read_blob(&repository, &blob).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Location {
                    source: LocationError::Loopback { .. },
                    ..
                }
            ),
            "{host}: {error:?}"
        );
    }
    assert!(elsewhere.requests().is_empty());
}
