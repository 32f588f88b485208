//! Other places to read from.

use std::sync::Arc;

use lithify_oci::{Image, Limits, OpenOptions, Reference};
use lithify_registry::auth::{Credential, Credentials};
use lithify_registry::config::{ConfigError, Environment};
use lithify_registry::{
    Client, Error, ManifestName, PushOptions, Repository, RepositoryContent, Secret,
};
use lithify_testkit::registry::{Action, Answer, At, Demand, Faulty, Kind, On};
use lithify_testkit::{Layout, Tar, TarEntry, temp_dir};

use super::support::{
    INDEX, LIMIT, NAME, PASSWORD, add_index, client, count, digest, noise, open, options, read_all,
    read_blob, signed_in, tag,
};

/// The registry, a mirror of it, and a client that knows.
fn mirrored(more: &str) -> (Faulty, Faulty, Client) {
    let (registry, mirror) = (Faulty::start(), Faulty::start());
    let toml = format!(
        "[[registry]]\nprefix = \"{}\"\nmirror = [{{ location = \"{}\"{more} }}]",
        registry.address(),
        mirror.address()
    );
    (registry, mirror, client(&toml))
}

fn at(client: &Client, registry: &Faulty) -> Repository {
    open(client, &registry.address())
}

#[test]
fn mirrors_are_asked_and_enough() {
    let (registry, mirror, client) = mirrored("");
    let (index, blob) = (add_index(&mirror), noise(1000));
    mirror.add_blob(NAME, blob.clone());
    let repository = at(&client, &registry);
    let found = repository.manifest(&tag(), LIMIT).unwrap().unwrap();
    assert_eq!(found.bytes, index);
    assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    assert!(registry.requests().is_empty());
    assert_eq!(repository.host(), mirror.address());
}

#[test]
fn mirrors_that_fail_are_passed_over() {
    let no_tag = Action::Answer(Answer::error(404, "MANIFEST_UNKNOWN", "unknown"));
    for action in [
        no_tag,
        Action::Answer(Answer::status(500)),
        Action::Answer(Answer::status(401)),
        Action::Answer(Answer::status(403)),
        Action::Answer(Answer::status(429).header("Retry-After", 100_000)),
        Action::Answer(Answer::status(200).body("<html>Welcome")),
        Action::RedirectLoop(302),
        Action::FlipBit(3),
        Action::Truncate(At::Percent(50)),
        Action::Close,
    ] {
        let (registry, mirror, client) = mirrored("");
        let index = add_index(&registry);
        add_index(&mirror);
        let hits = mirror.rule(On::kind(Kind::Manifest), action.clone());
        let repository = at(&client, &registry);
        let name = ManifestName::Digest(digest(&index));
        let found = repository.manifest(&name, LIMIT).unwrap().unwrap();
        assert_eq!(found.bytes, index, "{action:?}");
        assert!(hits.count() > 0 && count(&registry, Kind::Manifest) == 1);
    }
    // By a tag, nothing says what it should be.
    let page = |kind: &str, body: &str| {
        Answer::status(200)
            .header("Content-Type", kind)
            .body(body.to_owned())
    };
    for answer in [
        page("text/html", "<html>Welcome"),
        page("text/html", ""),
        page("application/json", "{}"),
        page(INDEX, "<html>Welcome"),
        page(INDEX, r#"{"schemaVersion":2,"config":{},"layers":[]}"#),
        page(
            "application/vnd.docker.distribution.manifest.v1+json",
            r#"{"schemaVersion":1}"#,
        ),
    ] {
        let (registry, mirror, client) = mirrored("");
        let index = add_index(&registry);
        mirror.rule(On::kind(Kind::Manifest), Action::Answer(answer.clone()));
        let repository = at(&client, &registry);
        let found = repository.manifest(&tag(), LIMIT).unwrap().unwrap();
        assert_eq!(found.bytes, index, "{answer:?}");
        let resolved = at(&client, &registry).resolve(&tag(), LIMIT).unwrap();
        assert_eq!(resolved.unwrap().digest, digest(&index), "{answer:?}");
    }
    let (registry, mirror, client) = mirrored("");
    add_index(&registry);
    drop(mirror);
    let repository = at(&client, &registry);
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
}

#[test]
fn what_is_given_for_the_registry_is_not_for_its_mirrors() {
    let (registry, mirror) = (Faulty::start(), Faulty::start());
    let index = add_index(&registry);
    add_index(&mirror);
    for guarded in [&registry, &mirror] {
        guarded.demand(Demand::basic("alice", PASSWORD));
    }
    let toml = format!(
        "[[registry]]\nprefix = \"{}\"\nmirror = [{{ location = \"{}\" }}]",
        registry.address(),
        mirror.address()
    );
    let hidden = Action::Answer(Answer::error(404, "NAME_UNKNOWN", "unknown"));
    for _ in 0..2 {
        let client = Client::new(signed_in(options(&toml), PASSWORD)).unwrap();
        let found = at(&client, &registry).manifest(&tag(), LIMIT).unwrap();
        assert_eq!(found.unwrap().bytes, index);
        let asked = mirror.requests();
        assert!(!asked.is_empty());
        assert!(asked.iter().all(|r| r.authorization().is_none()));
        // Nor where it asks at its root only.
        mirror.rule(On::kind(Kind::Manifest), hidden.clone());
    }
    // What is stored for the mirror is for it.
    mirror.clear_rules();
    let mut options = options(&toml);
    let credential = Credential::Basic {
        username: "alice".into(),
        password: Secret::new(PASSWORD),
    };
    options.credentials =
        Credentials::new(Environment::empty()).with_credential(&mirror.address(), credential);
    let client = Client::new(options).unwrap();
    let repository = at(&client, &registry);
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    assert_eq!(repository.host(), mirror.address());
}

#[test]
fn a_blob_goes_on_at_the_next_place() {
    for action in [
        Action::Answer(Answer::status(404)),
        Action::Answer(Answer::status(500)),
        Action::ResetAt(At::Byte(0)),
    ] {
        let (registry, mirror, client) = mirrored("");
        let blob = noise(100_000);
        registry.add_blob(NAME, blob.clone());
        mirror.add_blob(NAME, blob.clone());
        mirror.rule(
            On::kind(Kind::Blob).nth(1),
            Action::Truncate(At::Percent(40)),
        );
        mirror.rule(On::kind(Kind::Blob).after(1), action.clone());
        assert_eq!(read_blob(&at(&client, &registry), &blob).unwrap(), blob);
        let requests = registry.requests_on(&On::kind(Kind::Blob));
        assert_eq!(requests.len(), 1, "{action:?}");
        assert_eq!(requests[0].range(), Some("bytes=40000-99999"));
    }
}

#[test]
fn a_mirror_that_lies_is_turned_away_from() {
    let (registry, mirror, client) = mirrored("");
    let blob = noise(1000);
    registry.add_blob(NAME, blob.clone());
    mirror.add_blob_as(NAME, &digest(&blob).to_string(), noise(1004)[4..].to_vec());
    let repository = at(&client, &registry);
    let digest = digest(&blob);
    assert_ne!(read_blob(&repository, &blob).unwrap(), blob);
    assert_eq!(repository.given_by(&digest), [mirror.address()]);
    assert!(repository.distrust(&digest));
    assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    assert_eq!(repository.given_by(&digest), [registry.address()]);
    assert!(!repository.distrust(&digest));
}

/// Two blobs that come from a lying mirror at the same time: each is asked for elsewhere.
#[test]
fn every_blob_is_turned_away_from_the_mirror_that_gave_it() {
    let (registry, mirror, client) = mirrored("");
    let blobs = [noise(1000), noise(2000)];
    for blob in &blobs {
        registry.add_blob(NAME, blob.clone());
        let wrong = vec![0; blob.len()];
        mirror.add_blob_as(NAME, &digest(blob).to_string(), wrong);
    }
    let repository = at(&client, &registry);
    let mut readers: Vec<_> = blobs
        .iter()
        .map(|blob| repository.blob(&digest(blob), blob.len() as u64, 0))
        .map(|reader| reader.unwrap().unwrap())
        .collect();
    for (reader, blob) in readers.drain(..).zip(&blobs) {
        assert_ne!(&read_all(reader).unwrap(), blob);
    }
    for blob in &blobs {
        assert!(repository.distrust(&digest(blob)));
        assert_eq!(&read_blob(&repository, blob).unwrap(), blob);
    }
}

#[test]
fn what_a_mirror_begins_wrong_is_asked_for_as_a_whole() {
    let (registry, mirror, client) = mirrored("");
    let blob = noise(100_000);
    registry.add_blob(NAME, blob.clone());
    mirror.add_blob_as(NAME, &digest(&blob).to_string(), vec![0; 100_000]);
    mirror.rule(
        On::kind(Kind::Blob).nth(1),
        Action::Truncate(At::Percent(40)),
    );
    mirror.rule(
        On::kind(Kind::Blob).after(1),
        Action::Answer(Answer::status(404)),
    );
    let repository = at(&client, &registry);
    let digest = digest(&blob);
    assert_ne!(read_blob(&repository, &blob).unwrap(), blob);
    assert_eq!(
        repository.given_by(&digest),
        [mirror.address(), registry.address()]
    );
    assert!(repository.distrust(&digest));
    assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    let ranges: Vec<_> = registry
        .requests_on(&On::kind(Kind::Blob))
        .iter()
        .map(|r| r.range().is_some())
        .collect();
    assert_eq!(ranges, [true, false]);
}

#[test]
fn some_mirrors_know_no_tags_and_some_nothing_else() {
    for (more, tags) in [
        (", pull-from = \"digest-only\"", false),
        (", pull-from = \"tag-only\"", true),
    ] {
        let (registry, mirror, client) = mirrored(more);
        let index = add_index(&registry);
        add_index(&mirror);
        let repository = at(&client, &registry);
        assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
        assert_eq!(count(&mirror, Kind::Manifest), usize::from(tags));
        let name = ManifestName::Digest(digest(&index));
        assert!(repository.manifest(&name, LIMIT).unwrap().is_some());
        assert_eq!(
            (
                count(&mirror, Kind::Manifest),
                count(&registry, Kind::Manifest)
            ),
            (1, 1)
        );
    }
}

#[test]
fn mirrors_are_told_for_whom_they_stand() {
    let (registry, mirror, client) = mirrored(", ns = true");
    add_index(&mirror);
    let repository = at(&client, &registry);
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    let requests = mirror.requests_on(&On::kind(Kind::Manifest));
    assert_eq!(
        requests[0].parameter("ns"),
        Some(registry.address().as_str())
    );
}

#[test]
fn nothing_is_written_to_a_mirror() {
    let (registry, mirror, client) = mirrored("");
    let repository = at(&client, &registry);
    let blob = noise(100);
    mirror.add_blob(NAME, blob.clone());
    repository
        .push_blob(
            &digest(&blob),
            100,
            &blob.as_slice(),
            &PushOptions::default(),
        )
        .unwrap();
    assert!(registry.blob(NAME, &digest(&blob).to_string()).is_some());
    assert!(mirror.requests().is_empty());
}

#[test]
fn names_are_rewritten_or_blocked() {
    let registry = Faulty::start();
    registry.add_manifest(
        "copies/of/team/app",
        Some("1"),
        super::support::INDEX,
        r#"{"schemaVersion":2,"manifests":[]}"#,
    );
    let toml = format!(
        "[[registry]]\nprefix = \"registry.example\"\nlocation = \"{}/copies/of\"\n\
         [[registry]]\nprefix = \"blocked.example\"\nblocked = true",
        registry.address()
    );
    let client = client(&toml);
    let repository = open(&client, "registry.example");
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_some());
    let reference: Reference = "blocked.example/x/y".parse().unwrap();
    let error = client.repository(&reference).unwrap_err();
    assert!(matches!(error, Error::Config(e) if matches!(*e, ConfigError::Blocked { .. })));
}

#[test]
fn images_are_opened_and_verified() {
    let mut tar = Tar::new();
    tar.add(TarEntry::file("etc/motd", noise(30_000)));
    let layout = Layout::new().gzip_layer(&tar.finish());
    let tmp = temp_dir();
    layout.write(tmp.path());
    let (registry, mirror, _) = mirrored("");
    registry.add_layout(tmp.path(), NAME, "1");
    mirror.add_layout(tmp.path(), NAME, "1");
    let toml = format!(
        "[[registry]]\nprefix = \"{}\"\nmirror = [{{ location = \"{}\" }}]",
        registry.address(),
        mirror.address()
    );
    let client = Client::new(options(&toml)).unwrap();
    let reference: Reference = format!("{}/{NAME}:1", registry.address()).parse().unwrap();
    let repository = client.repository(&reference).unwrap();
    let located = RepositoryContent::locate(&repository, &reference, &Limits::default()).unwrap();
    // The config is damaged at the mirror, so another place is asked.
    let options = OpenOptions::default();
    let open = || {
        let content = Arc::clone(&located.content);
        Image::from_content(
            content,
            located.root.clone(),
            located.names.clone(),
            &options,
        )
    };
    let image = open().unwrap();
    assert_eq!(image.layers().len(), 1);
    let config = image.config_digest().to_string();
    mirror.rule(On::kind(Kind::Blob).path(&config), Action::FlipBit(0));
    match open() {
        Ok(image) => assert_eq!(image.layers().len(), 1),
        Err(error) => {
            assert!(error.to_string().contains("digest"), "{error}");
            assert!(repository.distrust(image.config_digest()));
            open().unwrap();
        }
    }
}
