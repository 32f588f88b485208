//! Other ways to a registry.

use lithify_registry::{Client, Error};
use lithify_testkit::registry::{Authority, Faulty, Proxy};
use lithify_testkit::require;

use super::support::{LIMIT, PASSWORD, add_index, client, open, options, shown, tag};

const NAMED: &str = "[[registry]]\nprefix = \"registry.example\"\n";

#[test]
fn encrypted_through_a_proxy() {
    if !require::tool("openssl") {
        return;
    }
    let authority = Authority::new();
    let registry = Faulty::start_with(&authority.server_for("DNS:registry.example"));
    add_index(&registry);
    let proxy = Proxy::start();
    proxy.map("registry.example:443", &registry.address());
    let ca = authority.certificate();
    let toml = format!(
        "proxy = \"{}\"\n{NAMED}ca = \"{}\"",
        proxy.url(),
        ca.display()
    );
    let repository = open(&client(&toml), "registry.example");
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    let requests = proxy.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (requests[0].method.as_str(), requests[0].target.as_str()),
        ("CONNECT", "registry.example:443")
    );
    // Who cannot show a certificate for that name is not believed, proxy or not.
    let other = Faulty::start_tls(&authority);
    proxy.map("other.example:443", &other.address());
    let toml = toml.replace("registry.example", "other.example");
    let error = open(&client(&toml), "other.example")
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    assert!(shown(&error).contains("certificate"), "{error}");
}

#[test]
fn plain_through_a_proxy() {
    let registry = Faulty::start();
    add_index(&registry);
    let proxy = Proxy::start();
    proxy.map("registry.example:80", &registry.address());
    let toml = format!("proxy = \"{}\"\n{NAMED}plain-http = true", proxy.url());
    let repository = open(&client(&toml), "registry.example");
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    assert_eq!(proxy.requests().len(), 1);
}

#[test]
fn this_machine_is_asked_itself() {
    let (registry, proxy) = (Faulty::start(), Proxy::start());
    add_index(&registry);
    let toml = format!("proxy = \"{}\"", proxy.url());
    let repository = open(&client(&toml), &registry.address());
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    assert!(proxy.requests().is_empty());
}

#[test]
fn some_are_asked_without() {
    let proxy = Proxy::start();
    let toml = format!(
        "proxy = \"{}\"\nno-proxy = [\"registry.invalid\"]\n{}plain-http = true",
        proxy.url(),
        NAMED.replace("example", "invalid")
    );
    let mut once = options(&toml);
    once.retry.retries = 0;
    let error = open(&Client::new(once).unwrap(), "registry.invalid")
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(proxy.requests().is_empty());
}

#[test]
fn proxies_have_passwords() {
    let (registry, proxy) = (Faulty::start(), Proxy::start());
    add_index(&registry);
    proxy.map("registry.example:80", &registry.address());
    proxy.demand("alice", PASSWORD);
    let toml = |user: &str| {
        format!(
            "proxy = \"http://{user}{}\"\n{NAMED}plain-http = true",
            proxy.address()
        )
    };
    let right = toml(&format!("alice:{PASSWORD}@"));
    let repository = open(&client(&right), "registry.example");
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    super::support::assert_no_secret(&format!("{:?}{repository:?}", client(&right)));
    let wrong = toml("alice:wrong@");
    let error = open(&client(&wrong), "registry.example")
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    shown(&error);
    let nonsense = options(&format!("proxy = \"ftp://alice:{PASSWORD}@proxy.example\""));
    let error = Client::new(nonsense).unwrap_err();
    assert!(matches!(error, Error::Proxy));
    shown(&error);
}
