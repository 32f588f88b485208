//! Other ways to a registry.

use lithify_registry::{Client, Error, PushOptions};
use lithify_testkit::registry::{Action, Answer, At, Authority, Faulty, Framing, Kind, On, Proxy};
use lithify_testkit::require;

use super::support::{
    LIMIT, NAME, PASSWORD, add_index, client, digest, noise, open, options, read_blob, shown, tag,
};

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
    // No tunnel: proxies as they come lead those to port 443 alone.
    let requests = proxy.requests();
    assert_eq!(
        (requests[0].method.as_str(), requests[0].target.as_str()),
        (
            "GET",
            format!("http://registry.example/v2/{NAME}/manifests/1").as_str()
        )
    );
    // What is sent is sent once, and as it is.
    let (large, small) = (noise(3 << 20), noise(100));
    let options = PushOptions::default();
    for blob in [&large, &small] {
        let content = blob.as_slice();
        repository
            .upload_blob(&digest(blob), blob.len() as u64, &content, &options)
            .unwrap();
        assert_eq!(read_blob(&repository, blob).unwrap(), *blob);
        let stored = registry.blob(NAME, &digest(blob).to_string());
        assert_eq!(stored.as_ref(), Some(blob));
    }
    for request in proxy.requests() {
        assert!(
            request.target.starts_with("http://registry.example/v2/"),
            "{request:?}"
        );
    }
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let nobody = Proxy::start().address();
    for (scheme, more) in [("http", "plain-http = true"), ("https", "")] {
        for kind in ["http", "socks5h"] {
            let toml = format!("proxy = \"{kind}://alice:{PASSWORD}@{nobody}\"\n{NAMED}{more}");
            let error = open(&client(&toml), "registry.example")
                .manifest(&tag(), LIMIT)
                .unwrap_err();
            assert!(
                matches!(error, Error::Transport { tries: 1, .. }),
                "{scheme}: {error:?}"
            );
            let text = shown(&error);
            let named = format!("the proxy {kind}://{nobody} (`proxy` in registries.toml)");
            assert!(text.contains(&named), "{text}");
            assert!(text.contains("NO_PROXY"), "{text}");
        }
    }
    let toml = format!("proxy = \"http://proxy.invalid\"\n{NAMED}");
    let error = open(&client(&toml), "registry.example")
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    let text = shown(&error);
    assert!(text.contains("the proxy http://proxy.invalid:80"), "{text}");
}

#[test]
fn names_that_socks_leaves_to_this_side_are_told() {
    // Nobody is asked, because the name is not found before.
    let nobody = Proxy::start().address();
    for kind in ["socks4", "socks5"] {
        let toml = format!(
            "retries = 0\nproxy = \"{kind}://{nobody}\"\n{}",
            NAMED.replace("example", "invalid")
        );
        let mut once = options(&toml);
        once.retry.retries = 0;
        let error = open(&Client::new(once).unwrap(), "registry.invalid")
            .manifest(&tag(), LIMIT)
            .unwrap_err();
        let text = shown(&error);
        let words = format!(
            "the proxy {kind}://{nobody} (`proxy` in registries.toml): the name registry.invalid cannot be looked up here"
        );
        assert!(text.contains(&words), "{text}");
        assert!(text.contains("write socks5h:// or socks4a://"), "{text}");
    }
    // Its own name is another matter.
    let toml = format!("proxy = \"socks5h://proxy.invalid\"\n{NAMED}");
    let mut once = options(&toml);
    once.retry.retries = 0;
    let error = open(&Client::new(once).unwrap(), "registry.example")
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    let text = shown(&error);
    assert!(
        text.contains("the proxy socks5h://proxy.invalid:1080"),
        "{text}"
    );
    assert!(text.contains("is it running"), "{text}");
}

#[test]
fn a_proxy_that_does_not_lead_on_is_named() {
    let registry = Faulty::start();
    add_index(&registry);
    for (more, tunnel) in [("plain-http = true", false), ("", true)] {
        for (action, words, tries) in [
            (
                Action::Answer(Answer::status(407)),
                "it wants a user name and password",
                1,
            ),
            (
                Action::Answer(squid(403)),
                "it refuses to lead to registry.example",
                1,
            ),
            (
                Action::Answer(squid(503)),
                "it does not reach registry.example",
                4,
            ),
        ] {
            let proxy = Proxy::start();
            proxy.map("registry.example:80", &registry.address());
            proxy.rule(On::any(), action);
            let toml = format!("proxy = \"{}\"\n{NAMED}{more}", proxy.url());
            let error = open(&client(&toml), "registry.example")
                .manifest(&tag(), LIMIT)
                .unwrap_err();
            let text = shown(&error);
            assert!(
                text.contains(&format!("the proxy {} (", proxy.url())),
                "{text}"
            );
            assert!(text.contains(words), "{text}");
            assert!(
                matches!(error, Error::Transport { tries: made, .. } if made == tries),
                "{error:?}"
            );
            let method = if tunnel { "CONNECT" } else { "GET" };
            assert_eq!(proxy.requests().len(), tries as usize);
            assert!(proxy.requests().iter().all(|r| r.method == method));
        }
    }
    // What answers tunnels in another language, or hangs up.
    for (action, words) in [
        (
            Action::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
            "what it answers is no HTTP",
        ),
        (
            Action::Raw(b"\x05\xff".to_vec()),
            "what it answers is no HTTP",
        ),
        (Action::EndlessHeaders, "what it answers is no HTTP"),
        (Action::Close, "the proxy http://"),
        (Action::Reset, "the proxy http://"),
    ] {
        let proxy = Proxy::start();
        proxy.rule(On::any(), action);
        let toml = format!("proxy = \"{}\"\n{NAMED}", proxy.url());
        let error = open(&client(&toml), "registry.example")
            .manifest(&tag(), LIMIT)
            .unwrap_err();
        assert!(shown(&error).contains(words), "{error}");
    }
    // A registry's own refusal is its own.
    registry.rule(
        On::kind(Kind::Manifest),
        Action::Answer(Answer::status(403)),
    );
    let proxy = Proxy::start();
    proxy.map("registry.example:80", &registry.address());
    let toml = format!("proxy = \"{}\"\n{NAMED}plain-http = true", proxy.url());
    let error = open(&client(&toml), "registry.example")
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 403, .. }),
        "{error:?}"
    );
}

#[test]
fn broken_answers_to_plain_requests_name_the_proxy() {
    for (action, words) in [
        (
            Action::Raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec()),
            "its answer is no HTTP",
        ),
        (
            Action::Raw(b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n".to_vec()),
            "a blank between name and colon",
        ),
        (Action::Close, ""),
        (Action::Reset, ""),
    ] {
        let proxy = Proxy::start();
        proxy.rule(On::any(), action);
        let toml = format!("proxy = \"{}\"\n{NAMED}plain-http = true", proxy.url());
        let error = open(&client(&toml), "registry.example")
            .manifest(&tag(), LIMIT)
            .unwrap_err();
        let text = shown(&error);
        let named = format!(
            "the proxy {} (`proxy` in registries.toml), asked for registry.example",
            proxy.url()
        );
        assert!(text.contains(&named) && text.contains(words), "{text}");
        assert!(
            matches!(error, Error::Transport { tries: 4, .. }),
            "{error:?}"
        );
    }
}

#[test]
fn bodies_that_break_off_name_the_proxy() {
    if !require::tool("openssl") {
        return;
    }
    let authority = Authority::new();
    let encrypted = Faulty::start_with(&authority.server_for("DNS:registry.example"));
    let plain = Faulty::start();
    let blob = noise(1 << 20);
    for (registry, is_https) in [(&plain, false), (&encrypted, true)] {
        add_index(registry);
        registry.add_blob(NAME, blob.clone());
        let proxy = Proxy::start();
        let port = if is_https { 443 } else { 80 };
        proxy.map(&format!("registry.example:{port}"), &registry.address());
        let more = match is_https {
            true => format!("ca = \"{}\"", authority.certificate().display()),
            false => "plain-http = true".to_owned(),
        };
        let toml = format!("proxy = \"{}\"\n{NAMED}{more}", proxy.url());
        for framing in [Framing::Length, Framing::Chunked, Framing::UntilClose] {
            for action in [
                Action::Truncate(At::Byte(20)),
                Action::ResetAt(At::Byte(20)),
            ] {
                let what = format!("{is_https} {framing:?} {action:?}");
                registry.rule(On::any(), Action::Framing(framing));
                registry.rule(On::any(), action);
                let repository = open(&client(&toml), "registry.example");
                let part = repository.blob_part(&digest(&blob), blob.len() as u64, 0..100_000);
                let failed = [
                    repository.manifest(&tag(), LIMIT).err(),
                    read_blob(&repository, &blob).err(),
                    part.err(),
                ];
                registry.clear_rules();
                // Nobody can tell that such a manifest is not all of it, but by its digest.
                let is_whole = framing == Framing::UntilClose;
                for error in failed.into_iter().skip(usize::from(is_whole)) {
                    let error = error.unwrap_or_else(|| panic!("{what}"));
                    let text = shown(&error);
                    assert!(text.starts_with("registry.example: "), "{what}: {text}");
                    let named = format!("the proxy {} (`proxy` in registries.toml)", proxy.url());
                    assert!(text.contains(&named), "{what}: {text}");
                    assert!(
                        matches!(error, Error::Transport { tries: 4, .. }),
                        "{what}: {error:?}"
                    );
                }
            }
        }
        // What is whole, and not what was promised, is the registry's own.
        registry.rule(On::kind(Kind::Blob), Action::FlipBit(5));
        let repository = open(&client(&toml), "registry.example");
        assert_ne!(read_blob(&repository, &blob).unwrap(), blob);
        registry.clear_rules();
    }
}

/// What Squid answers when it speaks for itself.
fn squid(status: u16) -> Answer {
    Answer::status(status).header("X-Squid-Error", "ERR_ACCESS_DENIED 0")
}

#[test]
fn where_no_tunnel_leads_plain_http_may() {
    let registry = Faulty::start();
    add_index(&registry);
    let proxy = Proxy::start();
    proxy.map("registry.example:80", &registry.address());
    proxy.rule(On::any().method("CONNECT"), Action::Answer(squid(403)));
    let read = |more: &str| {
        let toml = format!("proxy = \"{}\"\n{NAMED}{more}", proxy.url());
        open(&client(&toml), "registry.example").manifest(&tag(), LIMIT)
    };
    assert!(read("insecure = true").unwrap().is_some());
    // But only there.
    assert!(shown(&read("").unwrap_err()).contains("it refuses to lead to"));
}

#[test]
fn a_proxy_that_says_nothing_is_named() {
    for (more, words) in [
        ("plain-http = true", "it sent nothing for too long"),
        ("", "no connection through it in time"),
    ] {
        let proxy = Proxy::start();
        proxy.rule(On::any(), Action::Stall);
        let toml = format!(
            "timeouts = {{ connect = 1, idle = 1 }}\nproxy = \"{}\"\n{NAMED}{more}",
            proxy.url()
        );
        let mut once = options(&toml);
        once.retry.retries = 0;
        let error = open(&Client::new(once).unwrap(), "registry.example")
            .manifest(&tag(), LIMIT)
            .unwrap_err();
        assert!(shown(&error).contains(words), "{error}");
        assert!(
            matches!(&error, Error::Transport { source, .. } if source.is_timeout()),
            "{error:?}"
        );
    }
}

#[test]
fn domains_ports_and_networks_are_asked_without() {
    let proxy = Proxy::start();
    for (entry, host) in [
        ("invalid", "registry.invalid"),
        (".invalid", "registry.invalid"),
        ("*.invalid", "a.registry.invalid"),
        ("invalid:5000,x", "registry.invalid:5000"),
    ] {
        let toml = format!(
            "retries = 0\nproxy = \"{}\"\nno-proxy = [\"{entry}\"]\n[[registry]]\nprefix = \"{host}\"\nplain-http = true",
            proxy.url(),
        );
        let error = open(&client(&toml), host)
            .manifest(&tag(), LIMIT)
            .unwrap_err();
        assert!(!shown(&error).contains("proxy"), "{error}");
    }
    assert!(proxy.requests().is_empty());
    let toml = format!(
        "proxy = \"{}\"\nno-proxy = [\"invalid:5001\"]\n[[registry]]\nprefix = \"registry.invalid\"\nplain-http = true",
        proxy.url(),
    );
    let error = open(&client(&toml), "registry.invalid")
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 502, .. }),
        "{error:?}"
    );
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
    for request in proxy.requests() {
        assert!(
            request.header("proxy-authorization").is_some(),
            "{request:?}"
        );
    }
    for request in registry.requests() {
        assert!(
            request.header("proxy-authorization").is_none(),
            "{request:?}"
        );
    }
    for (user, words) in [
        (
            "alice:wrong@",
            "it does not accept the user name and password",
        ),
        ("", "it wants a user name and password"),
    ] {
        for encrypted in [false, true] {
            let toml = toml(user).replace(
                "plain-http = true",
                if encrypted { "" } else { "plain-http = true" },
            );
            let error = open(&client(&toml), "registry.example")
                .manifest(&tag(), LIMIT)
                .unwrap_err();
            let text = shown(&error);
            assert!(text.contains(words) && !text.contains("wrong"), "{text}");
        }
    }
    let nonsense = options(&format!("proxy = \"ftp://alice:{PASSWORD}@proxy.example\""));
    let error = Client::new(nonsense).unwrap_err();
    assert!(matches!(error, Error::Proxy));
    shown(&error);
}
