//! Answers that go wrong.

use lithify_registry::Error;
use lithify_testkit::registry::{Action, Answer, Faulty, Framing, Kind, On};

use super::support::{
    LIMIT, NAME, add_index, client, count, digest, downloads, noise, open, options, read_blob,
    read_sized, repository, shown, tag,
};

#[test]
fn storms_pass() {
    for status in [408, 429, 500, 502, 503, 504] {
        let registry = Faulty::start();
        let (index, blob) = (add_index(&registry), noise(1000));
        registry.add_blob(NAME, blob.clone());
        let answer = Action::Answer(Answer::error(status, "TOOMANYREQUESTS", "later"));
        registry.rule(On::kind(Kind::Blob).times(2), answer.clone());
        registry.rule(On::kind(Kind::Manifest).times(3), answer);
        let repository = repository(&registry);
        let manifest = repository.manifest(&tag(), LIMIT).unwrap().unwrap();
        assert_eq!(manifest.bytes, index);
        assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
        assert_eq!(count(&registry, Kind::Manifest), 4, "{status}");
        assert_eq!(count(&registry, Kind::Blob), 3, "{status}");
    }
}

#[test]
fn storms_that_do_not_pass_are_told_after_the_last_try() {
    let registry = Faulty::start();
    add_index(&registry);
    registry.rule(
        On::kind(Kind::Manifest),
        Action::Answer(Answer::status(503)),
    );
    let error = repository(&registry).manifest(&tag(), LIMIT).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Status {
                status: 503,
                tries: 4,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(shown(&error).ends_with("(tried 4 times)"), "{error}");
    assert_eq!(count(&registry, Kind::Manifest), 4);
}

#[test]
fn other_refusals_are_not_repeated() {
    for status in [400, 403, 405, 410, 418, 451, 501] {
        let registry = Faulty::start();
        registry.rule(
            On::kind(Kind::Manifest),
            Action::Answer(Answer::status(status)),
        );
        let error = repository(&registry).manifest(&tag(), LIMIT).unwrap_err();
        assert!(matches!(error, Error::Status { status: s, tries: 1, .. } if s == status));
        assert_eq!(count(&registry, Kind::Manifest), 1);
    }
}

#[test]
fn pauses_are_made_as_asked_for_up_to_a_limit() {
    for (value, made) in [
        ("0", true),
        ("1", true),
        ("Sun, 06 Nov 1994 08:49:37 GMT", true),
        ("soon", true),
        ("100000", false),
        ("99999999999999999999999", false),
        ("Fri, 31 Dec 9999 23:59:59 GMT", false),
    ] {
        let registry = Faulty::start();
        add_index(&registry);
        let answer = Answer::status(429).header("Retry-After", value);
        registry.rule(On::kind(Kind::Manifest).nth(1), Action::Answer(answer));
        let found = repository(&registry).manifest(&tag(), LIMIT);
        match found {
            Ok(found) => assert!(made && found.is_some(), "{value}"),
            Err(Error::RetryLater { .. }) => assert!(!made, "{value}"),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(count(&registry, Kind::Manifest), if made { 2 } else { 1 });
    }
}

#[test]
fn connections_that_end_early_are_made_again() {
    for action in [Action::Close, Action::Reset] {
        let registry = Faulty::start();
        let index = add_index(&registry);
        let hits = registry.rule(On::kind(Kind::Manifest).times(2), action.clone());
        let found = repository(&registry).manifest(&tag(), LIMIT).unwrap();
        assert_eq!(found.unwrap().bytes, index);
        assert_eq!(hits.count(), 2);
        registry.clear_rules();
        registry.clear_requests();
        registry.rule(On::kind(Kind::Manifest), action);
        let error = repository(&registry).manifest(&tag(), LIMIT).unwrap_err();
        assert!(
            matches!(error, Error::Transport { tries: 4, .. }),
            "{error:?}"
        );
        assert_eq!(count(&registry, Kind::Manifest), 4);
    }
}

#[test]
fn silence_ends() {
    let registry = Faulty::start();
    add_index(&registry);
    registry.rule(On::kind(Kind::Manifest), Action::Stall);
    let mut impatient = options("[timeouts]\nidle = 1");
    impatient.retry.retries = 0;
    let client = lithify_registry::Client::new(impatient).unwrap();
    let error = open(&client, &registry.address())
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    assert!(
        matches!(&error, Error::Transport { source, .. } if source.is_timeout()),
        "{error:?}"
    );
    assert!(
        shown(&error).contains("it sent nothing for too long"),
        "{error}"
    );
}

#[test]
fn what_is_no_http_is_told() {
    for action in [
        Action::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        Action::Raw(b"HTTP/1.1 abc\r\n\r\n".to_vec()),
        Action::Raw(vec![0; 100_000]),
        Action::EndlessHeaders,
        Action::HugeHeader(1 << 20),
    ] {
        let registry = Faulty::start();
        add_index(&registry);
        registry.rule(On::kind(Kind::Manifest), action.clone());
        let error = repository(&registry).manifest(&tag(), LIMIT).unwrap_err();
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
        shown(&error);
    }
}

#[test]
fn documents_have_a_limit() {
    let registry = Faulty::start();
    let index = add_index(&registry);
    let repository = repository(&registry);
    let exact = index.len() as u64;
    assert!(repository.manifest(&tag(), exact).unwrap().is_some());
    let error = repository.manifest(&tag(), exact - 1).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit, .. } if limit == exact - 1));
    for framing in [Framing::Length, Framing::Chunked, Framing::UntilClose] {
        registry.rule(On::kind(Kind::Manifest), Action::Endless(framing));
        let error = repository.manifest(&tag(), LIMIT).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
        registry.clear_rules();
    }
}

#[test]
fn documents_are_what_their_digest_says() {
    let registry = Faulty::start();
    let index = add_index(&registry);
    let repository = repository(&registry);
    let by_digest = lithify_registry::ManifestName::Digest(digest(&index));
    registry.rule(On::kind(Kind::Manifest).method("GET"), Action::FlipBit(5));
    for name in [tag(), by_digest.clone()] {
        let error = repository.manifest(&name, LIMIT).unwrap_err();
        assert!(matches!(error, Error::Digest { .. }) && error.is_verification());
    }
    registry.clear_rules();
    let other = digest(b"other").to_string();
    registry.rule(
        On::kind(Kind::Manifest),
        Action::Header("Docker-Content-Digest".into(), other),
    );
    let error = repository.manifest(&tag(), LIMIT).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
    // Who asks by digest knows better.
    let found = repository.manifest(&by_digest, LIMIT).unwrap().unwrap();
    assert_eq!(found.bytes, index);
    let error = repository.resolve(&by_digest, LIMIT).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
}

#[test]
fn a_part_of_a_document_is_none() {
    for status in [201, 204, 206, 304, 416] {
        let registry = Faulty::start();
        let answer = Answer::status(status).body(r#"{"schemaVersion":2,"manifests":[]}"#);
        registry.rule(On::kind(Kind::Manifest), Action::Answer(answer));
        let error = repository(&registry).manifest(&tag(), LIMIT).unwrap_err();
        assert!(
            matches!(error, Error::Answer { .. } | Error::Status { .. }),
            "{status}: {error:?}"
        );
    }
}

#[test]
fn words_of_a_registry_are_escaped() {
    let registry = Faulty::start();
    let answer = Answer::error(403, "DENIED", "\u{1b}[31mred\r\nlithify: \u{202e}done");
    registry.rule(On::kind(Kind::Manifest), Action::Answer(answer));
    let error = repository(&registry).manifest(&tag(), LIMIT).unwrap_err();
    let text = shown(&error);
    assert!(
        text.contains("\\x1b[31mred; lithify: \\u{202e}done"),
        "{text}"
    );
    let registry = Faulty::start();
    registry.rule(
        On::kind(Kind::Manifest),
        Action::Answer(Answer::status(500)),
    );
    registry.rule(On::kind(Kind::Manifest), Action::Endless(Framing::Chunked));
    let error = repository(&registry).manifest(&tag(), LIMIT).unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 500, .. }),
        "{error:?}"
    );
}

#[test]
fn absence_is_no_error() {
    let registry = Faulty::start();
    let repository = repository(&registry);
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_none());
    assert!(repository.resolve(&tag(), LIMIT).unwrap().is_none());
    assert!(repository.blob(&digest(b"x"), 1, 0).unwrap().is_none());
    assert!(matches!(repository.tags(), Err(Error::NotFound { .. })));
    assert!(!repository.has_blob(&digest(b"x"), 1).unwrap());
}

#[test]
fn nobody_listens() {
    let address = Faulty::start().address();
    let error = open(&client(""), &address)
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    assert!(
        matches!(error, Error::Transport { tries: 1, .. }),
        "{error:?}"
    );
}

#[test]
fn blobs_are_as_long_as_their_descriptor_says() {
    let registry = Faulty::start();
    let blob = noise(100_000);
    registry.add_blob(NAME, blob.clone());
    let repository = repository(&registry);
    let size = blob.len() as u64;
    for wrong in [size - 1, size + 1] {
        let error = read_sized(&repository, &blob, wrong).unwrap_err();
        assert!(
            matches!(error, Error::Length { expected, found, .. } if (expected, found) == (wrong, size))
        );
    }
    for framing in [Framing::Chunked, Framing::UntilClose] {
        registry.clear_rules();
        registry.rule(On::kind(Kind::Blob), Action::Framing(framing));
        assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
        let error = read_sized(&repository, &blob, size - 1).unwrap_err();
        assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
        let error = read_sized(&repository, &blob, size + 1).unwrap_err();
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    }
    for framing in [Framing::Length, Framing::Chunked, Framing::UntilClose] {
        registry.clear_rules();
        registry.rule(On::kind(Kind::Blob), Action::Endless(framing));
        let error = read_blob(&repository, &blob).unwrap_err();
        assert!(error.is_verification(), "{error:?}");
    }
    registry.clear_rules();
    for length in [size - 1, size + 1] {
        registry.clear_rules();
        registry.rule(On::kind(Kind::Blob), Action::Length(length));
        let error = read_blob(&repository, &blob).unwrap_err();
        assert!(matches!(error, Error::Length { .. }), "{error:?}");
    }
}

#[test]
fn empty_blobs_are_read_and_verified() {
    let registry = Faulty::start();
    registry.add_blob(NAME, Vec::new());
    let repository = repository(&registry);
    assert_eq!(read_blob(&repository, b"").unwrap(), b"");
    registry.add_blob_as(NAME, &digest(b"").to_string(), b"more".to_vec());
    assert!(read_blob(&repository, b"").unwrap_err().is_verification());
}

#[test]
fn a_damaged_blob_is_delivered_for_its_digest_to_tell() {
    let registry = Faulty::start();
    let blob = noise(50_000);
    registry.add_blob(NAME, blob.clone());
    registry.rule(On::kind(Kind::Blob), Action::FlipBit(40_000));
    let read = read_blob(&repository(&registry), &blob).unwrap();
    assert_eq!(read.len(), blob.len());
    assert_ne!(digest(&read), digest(&blob));
    assert_eq!(downloads(&registry).len(), 1);
}
