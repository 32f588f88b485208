//! Certificates people have.

use std::fs;
use std::path::Path;

use lithify_registry::config::{Config, Environment};
use lithify_registry::{Client, Error};
use lithify_testkit::registry::{Authority, Certificate, Faulty, Recipe};
use lithify_testkit::{require, run, temp_dir};

use super::support::{LIMIT, NAME, add_index, open, options, shown, tag};

pub(super) const HOST: &str = "IP:127.0.0.1,DNS:localhost";
pub(super) const LEAF: &str = "basicConstraints = critical,CA:FALSE\n";

/// A registry that shows a certificate.
pub(super) fn registry(certificate: &Certificate) -> Faulty {
    let registry = Faulty::start_with(certificate);
    add_index(&registry);
    registry
}

/// A client with a configuration, whose directories of certificates are below `root`.
fn client_at(toml: &str, root: &Path) -> Client {
    let mut environment = Environment::empty();
    environment.root = root.to_owned();
    let mut options = options("");
    options.config = Config::parse(toml, &root.join("registries.toml"), environment).unwrap();
    Client::new(options).unwrap()
}

/// What a registry says to who trusts one file.
pub(super) fn ask(registry: &Faulty, trusted: &Path) -> Result<(), Error> {
    let nowhere = temp_dir();
    let toml = format!(
        "[[registry]]\nprefix = \"{}\"\nca = \"{}\"",
        registry.address(),
        trusted.display()
    );
    let repository = open(&client_at(&toml, nowhere.path()), &registry.address());
    repository.manifest(&tag(), LIMIT).map(|found| {
        assert!(found.is_some());
    })
}

/// Whether skopeo, whose TLS is Go's, reads from a registry when it trusts one file.
fn skopeo_reads(registry: &Faulty, trusted: &Path) -> bool {
    let directory = temp_dir();
    fs::copy(trusted, directory.path().join("ca.crt")).unwrap();
    let output = run::output(
        run::command("skopeo")
            .args(["inspect", "--raw", "--cert-dir"])
            .arg(directory.path())
            .arg(format!("docker://{}/{NAME}:1", registry.address())),
    );
    output.status.success()
}

/// Both are of one mind, and it is this; what we say against it.
pub(super) fn judged(
    what: &str,
    certificate: &Certificate,
    trusted: &Path,
    accepted: bool,
) -> String {
    let registry = registry(certificate);
    let answer = ask(&registry, trusted);
    assert_eq!(answer.is_ok(), accepted, "{what}: {answer:?}");
    assert_eq!(skopeo_reads(&registry, trusted), accepted, "skopeo: {what}");
    answer.map_or_else(|error| shown(&error), |()| String::new())
}

pub(super) fn tools() -> bool {
    require::tool("openssl") && require::tool("skopeo")
}

/// Keys, and hashes they sign with.
const KINDS: [(&str, &str); 13] = [
    ("rsa:2048", "sha256"),
    ("rsa:2048", "sha512"),
    ("rsa:4096", "sha384"),
    ("prime256v1", "sha256"),
    ("prime256v1", "sha384"),
    ("prime256v1", "sha512"),
    ("secp384r1", "sha256"),
    ("secp384r1", "sha384"),
    ("secp384r1", "sha512"),
    ("secp521r1", "sha256"),
    ("secp521r1", "sha384"),
    ("secp521r1", "sha512"),
    ("ed25519", "sha256"),
];

#[test]
fn what_openssl_makes_when_nothing_else_is_said_is_trusted_by_itself() {
    if !tools() {
        return;
    }
    for (key, digest) in KINDS {
        let server = Authority::by(&Recipe::plain(HOST).with(key, digest));
        judged(key, &server.itself(), &server.certificate(), true);
    }
}

#[test]
fn authorities_of_every_kind() {
    if !tools() {
        return;
    }
    let end = Recipe::new(&format!("{LEAF}subjectAltName = {HOST}\n"));
    for (key, digest) in KINDS {
        let own = "basicConstraints = critical,CA:TRUE\n";
        let authority = Authority::by(&Recipe::new(own).with(key, digest));
        let recipe = end.clone().with("secp521r1", digest);
        let server = authority.issue_by(&recipe);
        judged(key, &server, &authority.certificate(), true);
        if key.starts_with("rsa") {
            let pss = Recipe {
                pss: true,
                ..recipe
            };
            let server = authority.issue_by(&pss);
            judged("PSS", &server, &authority.certificate(), true);
        }
        // A server's certificate that is an authority's too.
        let server = authority.issue_by(&Recipe::plain(HOST).with(key, digest));
        judged("CA:TRUE", &server, &authority.certificate(), true);
    }
}

#[test]
fn what_a_certificate_is_for() {
    if !tools() {
        return;
    }
    let authority = Authority::new();
    for (usage, accepted) in [
        ("", true),
        ("extendedKeyUsage = serverAuth\n", true),
        ("extendedKeyUsage = clientAuth,serverAuth\n", true),
        ("extendedKeyUsage = anyExtendedKeyUsage\n", true),
        ("extendedKeyUsage = clientAuth\n", false),
        ("extendedKeyUsage = emailProtection\n", false),
    ] {
        let more = |recipe: Recipe| {
            let extensions = format!("{}{usage}", recipe.extensions);
            Recipe {
                extensions,
                ..recipe
            }
        };
        let end = more(Recipe::new(&format!("{LEAF}subjectAltName = {HOST}\n")));
        let plain = more(Recipe::plain(HOST));
        let own = [Authority::by(&end), Authority::by(&plain)];
        for (server, trusted) in [
            (authority.issue_by(&end), authority.certificate()),
            (authority.issue_by(&plain), authority.certificate()),
            (own[0].itself(), own[0].certificate()),
            (own[1].itself(), own[1].certificate()),
        ] {
            let text = judged(usage, &server, &trusted, accepted);
            assert_eq!(text.contains("is not for servers"), !accepted, "{text}");
        }
    }
}

#[test]
fn what_is_trusted_by_itself_is_checked_like_any_other() {
    if !tools() {
        return;
    }
    let kinds = [
        Recipe::plain(HOST),
        Recipe::new(&format!("{LEAF}subjectAltName = {HOST}\n")),
    ];
    for recipe in kinds {
        for (from, until, words) in [
            ("20200101000000Z", "20210203040506Z", "2021-02-03 04:05 UTC"),
            ("20900101000000Z", "20910101000000Z", "2090-01-01 00:00 UTC"),
        ] {
            let server = Authority::by(&recipe.clone().dated(from, until));
            let text = judged(until, &server.itself(), &server.certificate(), false);
            assert!(text.contains(words) && text.contains("clock"), "{text}");
        }
        let names = |names: &str| Recipe {
            extensions: recipe.extensions.replace(HOST, names),
            ..recipe.clone()
        };
        let server = Authority::by(&names("DNS:a.example,DNS:*.b.example,IP:::2"));
        let text = judged("name", &server.itself(), &server.certificate(), false);
        let words = "is for `a.example`, `*.b.example`, `::2`, not for `127.0.0.1`";
        assert!(text.contains(words), "{text}");
        let server = Authority::by(&Recipe {
            extensions: LEAF.to_owned(),
            ..recipe
        });
        let text = judged("none", &server.itself(), &server.certificate(), false);
        assert!(text.contains("names no host"), "{text}");
    }
}

#[test]
fn a_trusted_server_is_no_authority() {
    if !tools() {
        return;
    }
    let end = Recipe::new(&format!("{LEAF}subjectAltName = {HOST}\n"));
    let (trusted, stranger) = (Authority::by(&end), Authority::new());
    let other = Authority::by(&Recipe::plain(HOST));
    judged("itself", &trusted.itself(), &trusted.certificate(), true);
    for (what, server) in [
        ("signed by a server", trusted.issue_by(&end)),
        (
            "an authority signed by a server",
            trusted.issue_by(&Recipe::plain(HOST)),
        ),
        ("another authority", other.itself()),
        ("signed by another authority", stranger.issue_by(&end)),
    ] {
        let text = judged(what, &server, &trusted.certificate(), false);
        assert!(
            text.contains("signed by nobody who is trusted here: put"),
            "{text}"
        );
        assert!(text.contains("/certs.d/127.0.0.1:"), "{text}");
    }
}

#[test]
fn hashes_of_old_are_not_accepted() {
    if !require::tool("openssl") {
        return;
    }
    let authority = Authority::new();
    let end = Recipe::new(&format!("{LEAF}subjectAltName = {HOST}\n"));
    let server = authority.issue_by(&end.with("prime256v1", "sha1"));
    let error = ask(&registry(&server), &authority.certificate()).unwrap_err();
    assert!(
        shown(&error).contains("signed by ECDSA with SHA-1"),
        "{error}"
    );
}

#[test]
fn stray_files_are_passed_over() {
    if !require::tool("openssl") {
        return;
    }
    let authority = Authority::by(&Recipe::plain(HOST));
    let registry = registry(&authority.itself());
    let root = temp_dir();
    let directory = root
        .path()
        .join("etc/containers/certs.d")
        .join(registry.address());
    fs::create_dir_all(directory.join("directory.crt")).unwrap();
    for (name, text) in [
        ("empty.crt", &b""[..]),
        ("garbage.crt", b"\x00\xff not a certificate"),
        (
            "broken.crt",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        ("half.crt", b"-----BEGIN CERTIFICATE-----\nMIIB"),
        ("alone.cert", b""),
        ("other.key", b""),
        ("pair.cert", b"neither"),
        ("pair.key", b"nor"),
        ("README", b"x"),
    ] {
        fs::write(directory.join(name), text).unwrap();
    }
    let read = || {
        let client = client_at("", root.path());
        open(&client, &registry.address()).manifest(&tag(), LIMIT)
    };
    // No reason to believe anybody.
    let text = shown(&read().unwrap_err());
    assert!(text.contains("signed by nobody who is trusted"), "{text}");
    fs::copy(authority.certificate(), directory.join("x.crt")).unwrap();
    assert!(read().unwrap().is_some());
    // What a user names is not passed over.
    let garbage = directory.join("garbage.crt");
    let error = ask(&registry, &garbage).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(
        shown(&error).contains("holds no certificate in PEM form"),
        "{error}"
    );
}

#[test]
fn clients_show_certificates_and_are_told_when_they_do_not() {
    if !require::tool("openssl") {
        return;
    }
    let (authority, stranger) = (Authority::new(), Authority::new());
    let registry = registry(&authority.server().demanding(&authority));
    let root = temp_dir();
    let read = |client: Option<&Certificate>| {
        let own = client.map_or_else(String::new, |client| {
            format!(
                "client-cert = \"{}\"\nclient-key = \"{}\"",
                client.certificate.display(),
                client.key.display()
            )
        });
        let toml = format!(
            "[[registry]]\nprefix = \"{}\"\nca = \"{}\"\n{own}",
            registry.address(),
            authority.certificate().display()
        );
        let client = client_at(&toml, root.path());
        open(&client, &registry.address()).manifest(&tag(), LIMIT)
    };
    for (key, digest) in KINDS {
        let usage = format!("{LEAF}extendedKeyUsage = clientAuth\n");
        let client = authority.issue_by(&Recipe::new(&usage).with(key, digest));
        assert!(read(Some(&client)).unwrap().is_some(), "{key}");
    }
    let text = shown(&read(None).unwrap_err());
    assert!(
        text.contains("wants a certificate of the client, and none is configured"),
        "{text}"
    );
    let strange = stranger.client();
    let text = shown(&read(Some(&strange)).unwrap_err());
    let name = format!(
        "`{}`: it does not know who signed it",
        strange.certificate.display()
    );
    assert!(
        text.contains("does not accept the client's certificate"),
        "{text}"
    );
    assert!(text.contains(&name), "{text}");
    let mut mixed = authority.client();
    mixed.key = strange.key;
    let text = shown(&read(Some(&mixed)).unwrap_err());
    assert!(
        text.contains("the key is not that of the certificate: name the key it was made with"),
        "{text}"
    );
    for file in [&mixed.certificate, &mixed.key] {
        assert!(text.contains(&format!("`{}`", file.display())), "{text}");
    }
}
