//! What refers to a manifest: by the API and by the tag, with registries that have either, and with hostile ones.

use std::io::{self, Read};

use lithify_digest::{Algorithm, Digest};
use lithify_oci::manifest::{Descriptor, media_type};
use lithify_registry::config::{Config, Environment};
use lithify_registry::{Client, ClientOptions, Error, ManifestName, Repository};
use lithify_testkit::registry::{Action, Answer, Faulty, Kind, On, Real};
use lithify_testkit::require;
use serde_json::{Value, json};

const TYPE: &str = "application/vnd.example.note+json";
const OTHER: &str = "application/vnd.example.other";

struct Bytes(&'static [u8]);

impl lithify_registry::Content for Bytes {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(&self.0[usize::try_from(offset).unwrap()..]))
    }
}

fn repository(address: &str) -> Repository {
    let config = Config::load(Environment::empty(), None).unwrap();
    let mut options = ClientOptions::new(config);
    options.retry.retries = 0;
    let client = Client::new(options).unwrap();
    let reference = format!("{address}/a/b:v1").parse().unwrap();
    client.repository(&reference).unwrap()
}

fn described(media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    Descriptor::new(media_type, digest, bytes.len() as u64)
}

fn value(descriptor: &Descriptor) -> Value {
    serde_json::to_value(descriptor).unwrap()
}

/// An artifact's manifest and its entry in lists.
fn artifact(subject: &Descriptor, kind: &str, note: &str) -> (Descriptor, Vec<u8>) {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": kind,
        "config": value(&described(media_type::OCI_EMPTY, b"{}")),
        "layers": [value(&described(media_type::OCI_EMPTY, b"{}"))],
        "subject": value(subject),
        "annotations": { "note": note },
    });
    let bytes = manifest.to_string().into_bytes();
    let mut descriptor = described(media_type::OCI_MANIFEST, &bytes);
    descriptor.artifact_type = Some(kind.into());
    descriptor.annotations = [("note".into(), note.into())].into();
    (descriptor, bytes)
}

/// Puts an image, and what is needed by all artifacts.
fn subject(repository: &Repository) -> Descriptor {
    let empty = described(media_type::OCI_EMPTY, b"{}");
    let content = Bytes(b"{}");
    let options = lithify_registry::PushOptions::default();
    repository
        .upload_blob(&empty.digest, empty.size, &content, &options)
        .unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": value(&empty),
        "layers": [],
    });
    let bytes = manifest.to_string().into_bytes();
    let descriptor = described(media_type::OCI_MANIFEST, &bytes);
    repository
        .put_manifest(&ManifestName::Tag("v1".into()), &descriptor, &bytes)
        .unwrap();
    descriptor
}

/// Puts an artifact as a client has to.
fn put(repository: &Repository, subject: &Descriptor, (descriptor, bytes): &(Descriptor, Vec<u8>)) {
    let name = ManifestName::Digest(descriptor.digest);
    let stored = repository.put_manifest(&name, descriptor, bytes).unwrap();
    if !stored.lists_referrers {
        repository
            .list_referrer(&subject.digest, descriptor)
            .unwrap();
    }
}

fn sorted(mut list: Vec<Descriptor>) -> Vec<Descriptor> {
    list.sort_by_key(|d| d.digest.to_string());
    list
}

fn both_ways(repository: &Repository) -> Descriptor {
    let image = subject(repository);
    let list = |kind| repository.referrers(&image.digest, kind).unwrap();
    assert!(list(None).is_empty());
    let (one, two) = (artifact(&image, TYPE, "1"), artifact(&image, OTHER, "2"));
    put(repository, &image, &one);
    put(repository, &image, &two);
    put(repository, &image, &two);
    assert_eq!(
        sorted(list(None)),
        sorted(vec![one.0.clone(), two.0.clone()])
    );
    assert_eq!(list(Some(TYPE)), [one.0]);
    assert_eq!(list(Some("application/none")), []);
    // Of what does not exist too.
    let nothing = Digest::of(Algorithm::Sha256, b"nothing");
    assert!(repository.referrers(&nothing, None).unwrap().is_empty());
    image
}

#[test]
fn a_registry_with_the_api() {
    let registry = Faulty::start();
    let repository = repository(&registry.address());
    both_ways(&repository);
    assert_eq!(registry.tags("a/b"), ["v1"]);
    // A registry that does not filter.
    let digest = registry.requests_on(&On::kind(Kind::Referrers)).len();
    assert!(digest > 0);
}

#[test]
fn a_registry_without_it() {
    let registry = Faulty::start();
    registry.set_referrers(false);
    let repository = repository(&registry.address());
    let image = both_ways(&repository);
    let tag = image.digest.to_string().replace(':', "-");
    assert_eq!(registry.tags("a/b"), [tag.clone(), "v1".to_owned()]);
    let (kind, bytes) = registry.manifest("a/b", &tag).unwrap();
    assert_eq!(kind, media_type::OCI_INDEX);
    let list: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(list["manifests"][0]["artifactType"], TYPE);
    assert_eq!(list["manifests"][0]["annotations"]["note"], "1");
}

#[test]
fn docker_registry_has_no_api() {
    if !require::tool("docker-registry") {
        return;
    }
    let registry = Real::start();
    both_ways(&repository(registry.address()));
}

#[test]
fn other_ways_to_say_that_there_is_none() {
    for answer in [Answer::status(405), Answer::status(501)] {
        let registry = Faulty::start();
        registry.set_referrers(false);
        registry.rule(On::kind(Kind::Referrers), Action::Answer(answer));
        both_ways(&repository(&registry.address()));
    }
}

fn page(entries: &[Descriptor]) -> Answer {
    let list: Vec<_> = entries.iter().map(value).collect();
    let index =
        json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": list });
    Answer::status(200)
        .header("Content-Type", media_type::OCI_INDEX)
        .body(index.to_string())
}

#[test]
fn pages_are_joined_and_filtered_here_where_they_are_not_there() {
    let registry = Faulty::start();
    let repository = repository(&registry.address());
    let image = described(media_type::OCI_MANIFEST, b"image");
    let entries: Vec<_> = (0..4)
        .map(|n| {
            artifact(
                &image,
                if n % 2 == 0 { TYPE } else { OTHER },
                &n.to_string(),
            )
            .0
        })
        .collect();
    let next = |n: u8| {
        format!(
            "</v2/a/b/referrers/{}?page={n}>; rel=\"next\"",
            image.digest
        )
    };
    let on = |text: &str| On::kind(Kind::Referrers).path(text);
    let first = page(&entries[..2]).header("Link", next(2));
    registry.rule(on("?page=2"), Action::Answer(page(&entries[1..])));
    registry.rule(on("artifactType"), Action::Answer(first.clone()));
    let found = repository.referrers(&image.digest, Some(TYPE)).unwrap();
    assert_eq!(found, [entries[0].clone(), entries[2].clone()]);
    let asked = &registry.requests_on(&on("artifactType"))[0].target;
    assert!(
        asked.ends_with("?artifactType=application%2Fvnd.example.note%2Bjson"),
        "{asked}"
    );

    registry.clear_rules();
    registry.rule(on("?page=2"), Action::Answer(page(&entries[1..])));
    registry.rule(
        on(&image.digest.to_string()).times(1),
        Action::Answer(first),
    );
    assert_eq!(repository.referrers(&image.digest, None).unwrap(), entries);
}

#[test]
fn hostile_answers_are_errors() {
    let image = described(media_type::OCI_MANIFEST, b"image");
    let index = || Answer::status(200).header("Content-Type", media_type::OCI_INDEX);
    let fail = |answer: Answer| {
        let registry = Faulty::start();
        registry.rule(On::kind(Kind::Referrers), Action::Answer(answer));
        let found = repository(&registry.address()).referrers(&image.digest, None);
        found.unwrap_err()
    };
    for answer in [
        index().body("no JSON"),
        index().body("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"x\",\"digest\":\"../x\",\"size\":1}]}"),
        index().body("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"x\",\"digest\":\"sha256:00\",\"size\":-1}]}"),
        index().body("{\"schemaVersion\":2,\"config\":{},\"layers\":[]}"),
        // In a circle.
        page(&[]).header("Link", format!("</v2/a/b/referrers/{}>; rel=next", image.digest)),
        page(&(0..10_001_u32).map(|n| described(TYPE, &n.to_le_bytes())).collect::<Vec<_>>()),
    ] {
        let error = fail(answer);
        assert!(matches!(error, Error::Answer { .. }), "{error}");
    }
    let elsewhere = page(&[]).header("Link", "<file:///etc/passwd>; rel=next");
    assert!(matches!(fail(elsewhere), Error::Location { .. }));
    let huge = index().body(vec![b' '; 17 << 20]);
    assert!(matches!(fail(huge), Error::TooLarge { .. }));
    // Some proxies and registries answer so to paths they do not know; others may mean it.
    let later = fail(Answer::status(503));
    assert!(
        matches!(later, Error::Status { status: 503, .. }),
        "{later}"
    );
    let who = fail(Answer::error(401, "UNAUTHORIZED", "no"));
    assert!(matches!(who, Error::Unauthorized { .. }), "{who}");
}

#[test]
fn odd_ways_to_have_no_api_lead_to_the_tag() {
    let index = |media_type: &str, digest: &Digest| {
        let list = json!({"schemaVersion": 2, "manifests": [{
            "mediaType": media_type::OCI_MANIFEST, "digest": digest.to_string(), "size": 1,
        }]});
        Answer::status(200)
            .header("Content-Type", media_type)
            .body(list.to_string())
    };
    let listed = Digest::of(Algorithm::Sha256, b"listed");
    // Without a tag, some say that there is no list, and the others nothing.
    for (answer, is_no_api) in [
        (Answer::status(404), true),
        (Answer::status(405), true),
        (Answer::status(501), true),
        (Answer::status(400), false),
        (Answer::status(403), false),
        (Answer::status(406), false),
        (
            Answer::status(200)
                .header("Content-Type", "text/html")
                .body("<html>"),
            false,
        ),
        (
            Answer::status(200)
                .header("Content-Type", "application/json")
                .body("{}"),
            false,
        ),
        // An index under another name is no answer either.
        (index(media_type::DOCKER_LIST, &listed), false),
    ] {
        let registry = Faulty::start();
        registry.set_referrers(false);
        let repository = repository(&registry.address());
        let image = subject(&repository);
        let note = artifact(&image, TYPE, "1");
        registry.rule(On::kind(Kind::Referrers), Action::Answer(answer.clone()));
        match repository.referrers(&image.digest, None) {
            Ok(found) => assert!(is_no_api && found.is_empty(), "{answer:?}: {found:?}"),
            Err(error) => assert!(!is_no_api && error.is_refusal(), "{answer:?}: {error}"),
        }
        put(&repository, &image, &note);
        let found = repository.referrers(&image.digest, None).unwrap();
        assert_eq!(found, [note.0], "{answer:?}");
    }
    // A list whose kind is not said is one.
    let registry = Faulty::start();
    let repository = repository(&registry.address());
    let image = subject(&repository);
    for media_type in [media_type::OCI_INDEX, "application/json", "text/plain"] {
        registry.clear_rules();
        let on = On::kind(Kind::Referrers);
        registry.rule(on, Action::Answer(index(media_type, &listed)));
        let found = repository.referrers(&image.digest, None).unwrap();
        assert_eq!(found.len(), 1, "{media_type}");
        assert_eq!(found[0].digest, listed);
    }
}

#[test]
fn a_tag_taken_for_the_digest_is_no_list() {
    let registry = Faulty::start();
    registry.set_referrers(false);
    let repository = repository(&registry.address());
    let image = subject(&repository);
    let tag = image.digest.to_string().replace(':', "-");
    let (_, bytes) = registry.manifest("a/b", "v1").unwrap();
    registry.add_manifest("a/b", Some(&tag), media_type::OCI_MANIFEST, bytes);
    assert!(
        repository
            .referrers(&image.digest, None)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_the_tag_does_not_tell_is_not_known() {
    for status in [401, 403, 406] {
        let registry = Faulty::start();
        registry.set_referrers(false);
        let repository = repository(&registry.address());
        let image = subject(&repository);
        let tag = image.digest.to_string().replace(':', "-");
        let on = On::kind(Kind::Manifest).path(&tag);
        registry.rule(on, Action::Answer(Answer::status(status)));
        let error = repository.referrers(&image.digest, None).unwrap_err();
        assert!(error.is_refusal(), "{error}");
        let (descriptor, _) = artifact(&image, TYPE, "1");
        let error = repository
            .list_referrer(&image.digest, &descriptor)
            .unwrap_err();
        assert!(error.is_refusal(), "{error}");
    }
}

#[test]
fn a_tag_that_is_no_list_is_not_replaced() {
    let registry = Faulty::start();
    registry.set_referrers(false);
    let repository = repository(&registry.address());
    let image = subject(&repository);
    let tag = image.digest.to_string().replace(':', "-");
    let (_, bytes) = registry.manifest("a/b", "v1").unwrap();
    registry.add_manifest("a/b", Some(&tag), media_type::OCI_MANIFEST, bytes.clone());
    let (descriptor, _) = artifact(&image, TYPE, "1");
    let put = repository.list_referrer(&image.digest, &descriptor);
    assert!(matches!(put, Err(Error::Answer { .. })), "{put:?}");
    assert_eq!(registry.manifest("a/b", &tag).unwrap().1, bytes);
    // Nor is another one.
    let (other, bytes) = artifact(&image, OTHER, "2");
    registry.add_manifest("a/b", Some(&tag), &other.media_type, bytes.clone());
    let put = repository.list_referrer(&image.digest, &descriptor);
    assert!(matches!(put, Err(Error::Answer { .. })), "{put:?}");
    let listed = repository.referrers(&image.digest, None);
    assert!(matches!(listed, Err(Error::Answer { .. })), "{listed:?}");
    assert_eq!(registry.manifest("a/b", &tag).unwrap().1, bytes);
}

#[test]
fn what_others_say_in_the_list_stays() {
    let registry = Faulty::start();
    registry.set_referrers(false);
    let repository = repository(&registry.address());
    let image = subject(&repository);
    let tag = image.digest.to_string().replace(':', "-");
    let (first, first_bytes) = artifact(&image, OTHER, "1");
    let (second, second_bytes) = artifact(&image, TYPE, "2");
    for (descriptor, bytes) in [(&first, &first_bytes), (&second, &second_bytes)] {
        let name = ManifestName::Digest(descriptor.digest);
        repository.put_manifest(&name, descriptor, bytes).unwrap();
    }
    let list = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "artifactType": "application/vnd.example.list",
        "org.example": { "deep": [1, null, "x"] },
        "annotations": { "org.example.a": "b" },
        "manifests": [{
            "mediaType": media_type::OCI_MANIFEST,
            "digest": first.digest.to_string(),
            "size": first.size,
            "artifactType": OTHER,
            "org.example.seen": { "at": 17 },
        }],
    });
    let text = serde_json::to_vec(&list).unwrap();
    registry.add_manifest("a/b", Some(&tag), media_type::OCI_INDEX, text);
    repository.list_referrer(&image.digest, &second).unwrap();

    let (_, bytes) = registry.manifest("a/b", &tag).unwrap();
    let mut found: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let entries = found["manifests"].as_array_mut().unwrap();
    let added = entries.pop().unwrap();
    assert_eq!(added["digest"], second.digest.to_string());
    assert_eq!(found, list);
}

#[test]
fn a_lost_race_is_run_again() {
    let registry = Faulty::start();
    registry.set_referrers(false);
    let repository = repository(&registry.address());
    let image = subject(&repository);
    let tag = image.digest.to_string().replace(':', "-");
    let (descriptor, _) = artifact(&image, TYPE, "1");
    // The put is answered, and another one's list stands there afterwards.
    let digest = descriptor.digest.to_string();
    let put = || On::kind(Kind::Manifest).method("PUT").path(&tag);
    let lost = registry.rule(put().times(1), Action::Answer(Answer::status(201)));
    let name = ManifestName::Digest(descriptor.digest);
    let (_, bytes) = artifact(&image, TYPE, "1");
    repository.put_manifest(&name, &descriptor, &bytes).unwrap();
    repository
        .list_referrer(&image.digest, &descriptor)
        .unwrap();
    assert_eq!(lost.count(), 1);
    let found = repository.referrers(&image.digest, None).unwrap();
    assert_eq!(found[0].digest.to_string(), digest);

    registry.clear_rules();
    registry.rule(put(), Action::Answer(Answer::status(201)));
    let (second, _) = artifact(&image, TYPE, "2");
    let error = repository
        .list_referrer(&image.digest, &second)
        .unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
}
