//! Configuration: which endpoints a reference has.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lithify_registry::config::{Config, ConfigError, Endpoint, Environment, PlainHttp, Role};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    let mut environment = Environment::empty();
    environment.root = "/nonexistent".into();
    Config::parse(text, Path::new("/etc/x/registries.toml"), environment)
}

fn endpoints(config: &Config, reference: &str) -> Vec<Endpoint> {
    config.endpoints(&reference.parse().unwrap()).unwrap()
}

fn places(config: &Config, reference: &str) -> Vec<String> {
    endpoints(config, reference)
        .iter()
        .map(|e| format!("{}/{}", e.host, e.repository))
        .collect()
}

#[test]
fn the_documented_example_is_valid() {
    let document = include_str!("../../../../docs/registries.md");
    let start = document.find("```toml\n").unwrap() + 8;
    let end = start + document[start..].find("```").unwrap();
    let config = parse(&document[start..end]).unwrap();
    assert_eq!(
        places(&config, "alpine"),
        [
            "mirror.example.com:5000/hub/library/alpine",
            "registry-1.docker.io/library/alpine"
        ]
    );
}

#[test]
fn names_without_configuration() {
    let config = parse("").unwrap();
    let one = |reference: &str| endpoints(&config, reference).remove(0);
    assert_eq!(
        places(&config, "alpine"),
        ["registry-1.docker.io/library/alpine"]
    );
    assert_eq!(
        places(&config, "index.docker.io/me/app"),
        ["registry-1.docker.io/me/app"]
    );
    assert_eq!(places(&config, "Quay.io/me/app"), ["quay.io/me/app"]);
    assert_eq!(one("quay.io/a").plain_http, PlainHttp::Refused);
    for loopback in ["localhost:5000/a", "127.1.2.3/a", "[::1]:5000/a"] {
        assert_eq!(one(loopback).plain_http, PlainHttp::Allowed, "{loopback}");
        assert!(one(loopback).verify);
    }
    let insecure = config.clone().with_insecure(true);
    let endpoint = endpoints(&insecure, "quay.io/a").remove(0);
    assert_eq!(
        (endpoint.plain_http, endpoint.verify),
        (PlainHttp::Allowed, false)
    );
}

#[test]
fn the_longest_prefix_and_mirrors() {
    let config = parse(
        r#"
        retries = 2
        timeouts = { connect = 3 }
        [[registry]]
        prefix = "*.example.com"
        insecure = true
        [[registry]]
        prefix = "a.example.com"
        location = "b.example.org/all"
        timeouts = { idle = 7 }
        ca = "a.pem"
        client-cert = "c.pem"
        client-key = "/k.pem"
        [[registry]]
        prefix = "a.example.com/team"
        mirror = [
            { location = "m1.io/x", pull-from = "digest-only" },
            { location = "m2.io", pull-from = "tag-only", insecure = true, ns = true },
            { location = "m3.io", plain-http = true },
        ]
        [[registry]]
        location = "bad.io"
        blocked = true
        "#,
    )
    .unwrap();
    assert_eq!(config.retries(), 2);
    let star = endpoints(&config, "x.y.example.com/a").remove(0);
    assert!(!star.verify);
    let moved = endpoints(&config, "a.example.com/teams/app").remove(0);
    assert_eq!(
        (moved.host.as_str(), moved.repository.as_str()),
        ("b.example.org", "all/teams/app")
    );
    assert_eq!(moved.tls.ca, [PathBuf::from("/etc/x/a.pem")]);
    assert_eq!(
        moved.tls.client,
        Some(("/etc/x/c.pem".into(), "/k.pem".into()))
    );
    assert_eq!(moved.timeouts.idle, Duration::from_secs(7));
    assert_eq!(moved.timeouts.connect, Duration::from_secs(3));
    let tagged = endpoints(&config, "a.example.com/team/app:1");
    assert_eq!(
        places(&config, "a.example.com/team/app:1"),
        ["m2.io/app", "m3.io/app", "a.example.com/team/app"]
    );
    assert_eq!(tagged[0].namespace.as_deref(), Some("a.example.com"));
    assert_eq!(tagged[1].plain_http, PlainHttp::Forced);
    assert_eq!(
        (tagged[0].role, tagged[2].role),
        (Role::Mirror, Role::Primary)
    );
    assert!(!tagged[0].verify && tagged[2].verify);
    let pinned = format!("a.example.com/team/app@sha256:{}", "a".repeat(64));
    assert_eq!(places(&config, &pinned)[0], "m1.io/x/app");
    let primary = config
        .primary(&"a.example.com/team/app".parse().unwrap())
        .unwrap();
    assert_eq!(primary.host, "a.example.com");
    let blocked = config.endpoints(&"bad.io/x".parse().unwrap()).unwrap_err();
    assert!(matches!(blocked, ConfigError::Blocked { .. }), "{blocked}");
}

#[test]
fn mistakes_name_file_and_line() {
    let error =
        parse("retries = 1\n\n[[registry]]\nprefix = \"a.io\"\ninsecur = true\n").unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("/etc/x/registries.toml:5:1: "), "{text}");
    assert!(text.contains("insecur"), "{text}");
    for bad in [
        "retries = -1",
        "retries = \"x\"",
        "timeouts = { idle = 0 }",
        "timeouts = { connect = 0.0 }",
        "[[registry]]\nprefix = \"r.example\"\ntimeouts = { answer = 0 }",
        "timeouts = { idle = -1 }",
        "timeouts = { idle = -0.5 }",
        "timeouts = { idle = nan }",
        "timeouts = { idle = inf }",
        "timeouts = { idle = 1e10 }",
        "timeouts = { idle = \"1\" }",
        "timeouts = { min-rate = -1 }",
        "timeouts = { min-rate = 0.5 }",
        "= ",
        "[[registry]]",
        "[[registry]]\nprefix = \"http://a.io\"",
        "[[registry]]\nprefix = \"a.io/x:tag\"",
        "[[registry]]\nprefix = \"a.io\"\nlocation = \"../x\"",
        "[[registry]]\nprefix = \"a.io\"\nclient-cert = \"x\"",
        "[[registry]]\nprefix = \"a.io\"\n[[registry]]\nprefix = \"A.io\"",
        "[[registry]]\nprefix = \"a.io\"\nmirror = [{}]",
        "[[registry]]\nprefix = \"a.io\"\nmirror = [{ location = \"b.io\", pull-from = \"x\" }]",
        "[[registry]]\nprefix = \"a.io\"\nca = 1",
    ] {
        let error = parse(bad).map(drop).unwrap_err();
        assert!(
            error.to_string().contains("/etc/x/registries.toml"),
            "{bad}: {error}"
        );
    }
}

#[test]
fn times_and_rates() {
    let timeouts = |text: &str| {
        endpoints(&parse(text).unwrap(), "r.example/a")
            .remove(0)
            .timeouts
    };
    let seconds = Duration::from_secs;
    let usual = timeouts("");
    assert_eq!((usual.connect, usual.idle), (seconds(10), seconds(60)));
    assert_eq!((usual.answer, usual.window), (seconds(120), seconds(60)));
    assert_eq!(usual.min_rate, 1024);
    // Who waits long for a byte waits as long for an answer.
    assert_eq!(timeouts("timeouts = { idle = 300 }").answer, seconds(300));
    let said = timeouts("timeouts = { idle = 300, answer = 0.25, min-rate = 0, window = 7.5 }");
    assert_eq!(said.answer, Duration::from_millis(250));
    assert_eq!(
        (said.min_rate, said.window),
        (0, Duration::from_millis(7500))
    );
    let own = "timeouts = { min-rate = 5 }\n[[registry]]\nprefix = \"r.example\"\ntimeouts = { idle = 200 }";
    let own = timeouts(own);
    assert_eq!((own.min_rate, own.answer), (5, seconds(200)));
}

#[test]
fn files_are_found_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let write = |path: &str, retries: u32| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("retries = {retries}")).unwrap();
        path
    };
    let mut environment = Environment::empty();
    environment.root = root.to_owned();
    environment.home = Some(root.join("home"));
    let retries = |environment: &Environment, file: Option<&Path>| {
        Config::load(environment.clone(), file).unwrap().retries()
    };
    assert_eq!(retries(&environment, None), 5);
    write("etc/lithify/registries.toml", 11);
    assert_eq!(retries(&environment, None), 11);
    write("home/.config/lithify/registries.toml", 12);
    assert_eq!(retries(&environment, None), 12);
    environment.lithify_registries = Some(write("env.toml", 13));
    assert_eq!(retries(&environment, None), 13);
    assert_eq!(retries(&environment, Some(&write("own.toml", 14))), 14);
    let missing = Config::load(environment.clone(), Some(&root.join("none"))).unwrap_err();
    assert!(matches!(missing, ConfigError::Missing { .. }));
}

#[test]
fn certificates_come_from_the_first_directory() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut environment = Environment::empty();
    environment.root = root.to_owned();
    let touch = |path: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        path
    };
    let ca = touch("etc/containers/certs.d/quay.io:8443/b.crt");
    let first = touch("etc/containers/certs.d/quay.io:8443/a.crt");
    let certificate = touch("etc/containers/certs.d/quay.io:8443/client.cert");
    let key = touch("etc/containers/certs.d/quay.io:8443/client.key");
    touch("etc/docker/certs.d/quay.io:8443/other.crt");
    let hub = touch("etc/docker/certs.d/docker.io/ca.crt");
    touch("etc/docker/certs.d/half.io/x.cert");
    let config = Config::empty(environment);
    let tls = |reference: &str| endpoints(&config, reference).remove(0).tls;
    assert_eq!(tls("quay.io:8443/a").found.ca, [first, ca]);
    assert_eq!(
        tls("quay.io:8443/a").found.clients,
        [(certificate, key)],
        "by name"
    );
    assert!(tls("quay.io/a").found.ca.is_empty());
    assert_eq!(tls("alpine").found.ca, [hub]);
    // Half of a pair is nobody's certificate.
    assert_eq!(tls("half.io/x").found.clients, []);
}

proptest! {
    #[test]
    fn never_panics(text in "(\\[\\[registry\\]\\]\n)?((prefix|location|ca|mirror|x) = [\"\\[{a-z.*/:0-9=}\\]]{0,12}\n){0,4}") {
        if let Ok(config) = parse(&text) {
            drop(config.endpoints(&"a.io/x".parse().unwrap()));
        }
    }
}
