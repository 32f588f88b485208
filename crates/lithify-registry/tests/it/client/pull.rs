//! Reading, as it should be: against Debian's registry, and what is asked of ours.

use lithify_oci::manifest::Descriptor;
use lithify_registry::{Client, Error, ManifestName, PushOptions, Pushed, Repository};
use lithify_testkit::registry::{Action, Authority, Faulty, Kind, On, Real, TokenServer};
use lithify_testkit::{require, run};

use super::support::{
    INDEX, LIMIT, NAME, PASSWORD, add_index, client, count, digest, noise, open, options,
    read_blob, repository, shown, signed_in, tag,
};

pub(crate) fn tools() -> bool {
    ["docker-registry", "htpasswd", "openssl"]
        .into_iter()
        .all(require::tool)
}

/// Blobs and an image in and out again, whole and in pieces.
pub(crate) fn round_trip(repository: &Repository) {
    let blob = noise(300_000);
    let options = [
        PushOptions::default(),
        PushOptions::default().chunk(Some(70_000)),
    ];
    for (n, options) in options.iter().enumerate() {
        let blob = &blob[n..];
        let pushed = repository.push_blob(&digest(blob), blob.len() as u64, &blob, options);
        assert_eq!(pushed.unwrap(), Pushed::Uploaded);
        let again = repository.push_blob(&digest(blob), blob.len() as u64, &blob, options);
        assert_eq!(again.unwrap(), Pushed::Existed);
        assert_eq!(read_blob(repository, blob).unwrap(), blob);
        let part = repository.blob_part(&digest(blob), blob.len() as u64, 1000..2000);
        assert_eq!(part.unwrap(), blob[1000..2000]);
    }
    let manifest = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let descriptor = Descriptor::new(INDEX, digest(manifest), manifest.len() as u64);
    for name in [tag(), ManifestName::Digest(digest(manifest))] {
        repository
            .put_manifest(&name, &descriptor, manifest)
            .unwrap();
        let found = repository.manifest(&name, LIMIT).unwrap().unwrap();
        assert_eq!(
            (found.bytes.as_slice(), &found.descriptor),
            (&manifest[..], &descriptor)
        );
        assert_eq!(
            repository.resolve(&name, LIMIT).unwrap(),
            Some(descriptor.clone())
        );
    }
    assert_eq!(repository.tags().unwrap(), ["1"]);
    let missing = ManifestName::Tag("missing".into());
    assert!(repository.manifest(&missing, LIMIT).unwrap().is_none());
}

#[test]
fn plain() {
    if !tools() {
        return;
    }
    let registry = Real::start();
    let client = client("");
    round_trip(&open(&client, registry.address()));
    let reference = format!("{}/other/app:1", registry.address());
    let other = client.repository(&reference.parse().unwrap()).unwrap();
    let blob = noise(300_000);
    let options = PushOptions::default().mount_from(NAME);
    let pushed = other.push_blob(&digest(&blob), 300_000, &blob.as_slice(), &options);
    assert_eq!(pushed.unwrap(), Pushed::Mounted(NAME.into()));
}

#[test]
fn with_passwords_and_tokens() {
    if !tools() {
        return;
    }
    let basic = Real::setup().user("alice", PASSWORD).start();
    let tokens = TokenServer::start();
    tokens.add_user("alice", PASSWORD);
    let bearer = Real::setup().token(&tokens).start();
    for registry in [&basic, &bearer] {
        let client = Client::new(signed_in(options(""), PASSWORD)).unwrap();
        client.check_login(registry.address()).unwrap();
        round_trip(&open(&client, registry.address()));
        for wrong in [signed_in(options(""), "sw0rdfish2"), options("")] {
            let client = Client::new(wrong).unwrap();
            let error = open(&client, registry.address())
                .manifest(&tag(), LIMIT)
                .unwrap_err();
            assert!(matches!(error, Error::Auth(_)), "{error:?}");
            shown(&error);
            if !std::ptr::eq(registry, &raw const bearer) {
                assert!(client.check_login(registry.address()).is_err());
            }
        }
    }
}

#[test]
fn encrypted() {
    if !tools() {
        return;
    }
    let (authority, stranger) = (Authority::new(), Authority::new());
    let registry = Real::setup().tls(&authority).start();
    let trusting = |authority: &Authority| {
        let ca = authority.certificate();
        let (host, ca) = (registry.address(), ca.display());
        open(
            &client(&format!("[[registry]]\nprefix = \"{host}\"\nca = \"{ca}\"")),
            host,
        )
    };
    round_trip(&trusting(&authority));
    for repository in [trusting(&stranger), open(&client(""), registry.address())] {
        let error = repository.manifest(&tag(), LIMIT).unwrap_err();
        assert!(
            matches!(error, Error::Transport { tries: 1, .. }),
            "{error:?}"
        );
        assert!(
            shown(&error).contains("its certificate is signed by nobody who is trusted here"),
            "{error}"
        );
    }
    let insecure = options("").config.with_insecure(true);
    let mut options = options("");
    options.config = insecure;
    let repository = open(&Client::new(options).unwrap(), registry.address());
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    let elsewhere = authority.server_for("DNS:elsewhere.example");
    let registry = Real::setup().certificate(elsewhere).start();
    let (host, ca) = (registry.address(), authority.certificate());
    let toml = format!(
        "[[registry]]\nprefix = \"{host}\"\nca = \"{}\"",
        ca.display()
    );
    let error = open(&client(&toml), host)
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    assert!(shown(&error).contains("certificate"), "{error}");
}

#[test]
fn with_client_certificates() {
    if !tools() {
        return;
    }
    let authority = Authority::new();
    let registry = Real::setup().tls(&authority).clients_of(&authority).start();
    let (host, ca, own) = (
        registry.address(),
        authority.certificate(),
        authority.client(),
    );
    let toml = format!(
        "[[registry]]\nprefix = \"{host}\"\nca = \"{}\"",
        ca.display()
    );
    let error = open(&client(&toml), host)
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(shown(&error).contains("ertificate"), "{error}");
    let pair = format!(
        "{toml}\nclient-cert = \"{}\"\nclient-key = \"{}\"",
        own.certificate.display(),
        own.key.display()
    );
    round_trip(&open(&client(&pair), host));
    // The same from the directory docker and podman read.
    let root = lithify_testkit::temp_dir();
    let directory = root.path().join("etc/containers/certs.d");
    std::fs::create_dir_all(&directory).unwrap();
    let certificates = authority.cert_dir(Some(&own));
    run::ok(
        run::command("cp")
            .arg("-r")
            .arg(certificates.path())
            .arg(directory.join(host)),
    );
    let mut environment = lithify_registry::config::Environment::empty();
    environment.root = root.path().to_owned();
    let mut options = options("");
    options.config = lithify_registry::config::Config::empty(environment);
    let repository = open(&Client::new(options).unwrap(), host);
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
}

#[test]
fn tags_come_in_pages() {
    let registry = Faulty::start();
    let manifest = add_index(&registry);
    for n in 0..7 {
        registry.add_manifest(NAME, Some(&format!("t{n}")), INDEX, manifest.clone());
    }
    registry.set_page(3);
    let tags = repository(&registry).tags().unwrap();
    assert_eq!(tags, ["1", "t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
    assert_eq!(count(&registry, Kind::Tags), 3);
    // A list without end, and pages that are somewhere else.
    for (link, requests) in [
        (format!("</v2/{NAME}/tags/list?n=1000>; rel=\"next\""), 1),
        (format!("</v2/{NAME}/tags/list?n=1>; rel=next"), 2),
    ] {
        registry.clear_rules();
        registry.clear_requests();
        registry.rule(On::kind(Kind::Tags), Action::Header("Link".into(), link));
        let error = repository(&registry).tags().unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{error:?}");
        assert_eq!(count(&registry, Kind::Tags), requests);
    }
    registry.clear_rules();
    registry.rule(On::kind(Kind::Tags), Action::Body(b"[1".to_vec()));
    assert!(matches!(
        repository(&registry).tags(),
        Err(Error::Answer { .. })
    ));
}

#[test]
fn connections_are_used_again() {
    let registry = Faulty::start();
    let blob = noise(100_000);
    add_index(&registry);
    registry.add_blob(NAME, blob.clone());
    let repository = repository(&registry);
    for _ in 0..5 {
        assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
        assert!(repository.resolve(&tag(), LIMIT).unwrap().is_some());
        assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
        assert!(
            repository
                .manifest(&ManifestName::Tag("none".into()), LIMIT)
                .unwrap()
                .is_none()
        );
    }
    let requests = registry.requests_on(&On::any());
    let mut connections: Vec<_> = requests.iter().map(|r| r.connection).collect();
    connections.dedup();
    // One that tries TLS, one for everything else.
    assert!(connections.len() <= 2, "{connections:?}");
    // What is not read to its end is not mixed up with the next answer.
    drop(repository.blob(&digest(&blob), 100_000, 0).unwrap());
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
}
