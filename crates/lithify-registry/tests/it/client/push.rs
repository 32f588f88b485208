//! Writing.

use std::io;

use lithify_oci::manifest::Descriptor;
use lithify_registry::{Content, Error, PushOptions, Pushed, Repository};
use lithify_testkit::registry::{Action, Answer, Demand, Faulty, Kind, On, TokenServer};
use lithify_testkit::require;

use super::support::{
    INDEX, NAME, PASSWORD, client, count, digest, noise, open, options, repository, shown,
    signed_in, tag,
};

const SIZE: u64 = 300_000;

fn push(repository: &Repository, blob: &[u8], options: &PushOptions) -> Result<Pushed, Error> {
    repository.push_blob(&digest(blob), blob.len() as u64, &blob, options)
}

fn blob() -> Vec<u8> {
    noise(usize::try_from(SIZE).unwrap())
}

fn stored(registry: &Faulty, blob: &[u8]) -> bool {
    registry.blob(NAME, &digest(blob).to_string()).as_deref() == Some(blob)
}

fn in_pieces(bytes: u64) -> PushOptions {
    PushOptions::default().chunk(Some(bytes))
}

#[test]
fn what_is_there_is_not_sent() {
    let (registry, blob) = (Faulty::start(), blob());
    registry.add_blob(NAME, blob.clone());
    let pushed = push(&repository(&registry), &blob, &PushOptions::default());
    assert_eq!(pushed.unwrap(), Pushed::Existed);
    assert_eq!(count(&registry, Kind::Upload), 0);
}

#[test]
fn in_one_piece_and_in_several() {
    for absolute in [false, true] {
        for (chunk, requests) in [
            (None, 2),
            (Some(SIZE), 2),
            (Some(100_000), 5),
            (Some(70_000), 7),
        ] {
            let (registry, blob) = (Faulty::start(), blob());
            registry.set_absolute_locations(absolute);
            let options = PushOptions::default().chunk(chunk);
            let pushed = push(&repository(&registry), &blob, &options).unwrap();
            assert_eq!(pushed, Pushed::Uploaded);
            assert!(stored(&registry, &blob));
            assert_eq!(count(&registry, Kind::Upload), requests);
            assert_eq!(registry.open_uploads(), 0);
        }
    }
}

#[test]
fn broken_uploads_begin_again() {
    for percent in [0, 10, 50, 90, 99] {
        let (registry, blob) = (Faulty::start(), blob());
        let put = On::kind(Kind::Upload).method("PUT");
        registry.rule(put.nth(1), Action::ResetUpload(SIZE * percent / 100));
        push(&repository(&registry), &blob, &PushOptions::default()).unwrap();
        assert!(stored(&registry, &blob), "{percent}");
        assert_eq!(
            registry
                .requests_on(&On::kind(Kind::Upload).method("PUT"))
                .len(),
            2
        );
    }
}

#[test]
fn tries_do_not_multiply() {
    for method in ["POST", "PUT"] {
        for status in [500, 503] {
            let (registry, blob) = (Faulty::start(), blob());
            let on = On::kind(Kind::Upload).method(method);
            registry.rule(on.clone(), Action::Answer(Answer::status(status)));
            let error = push(&repository(&registry), &blob, &PushOptions::default()).unwrap_err();
            assert!(matches!(error, Error::Status { tries: 4, .. }), "{error:?}");
            assert_eq!(registry.requests_on(&on).len(), 4, "{method}");
        }
    }
}

#[test]
fn pieces_that_are_never_taken_end() {
    for action in [
        Action::Answer(Answer::status(500)),
        Action::Answer(Answer::status(416)),
        Action::Close,
    ] {
        let (registry, blob) = (Faulty::start(), blob());
        let patch = On::kind(Kind::Upload).method("PATCH");
        registry.rule(patch.clone(), action);
        let error = push(&repository(&registry), &blob, &in_pieces(100_000)).unwrap_err();
        shown(&error);
        assert_eq!(registry.requests_on(&patch).len(), 4);
    }
}

/// What is there of a piece grows by a byte with every try: that is not for ever.
#[test]
fn pieces_that_hardly_get_further_end() {
    let (registry, blob) = (Faulty::start(), blob());
    let patch = On::kind(Kind::Upload).method("PATCH");
    for nth in 1..40 {
        registry.rule(patch.clone().nth(nth), Action::ResetUpload(1));
        let there = Action::Header("Range".into(), format!("0-{nth}"));
        let status = On::kind(Kind::Upload).method("GET");
        registry.rule(status.nth(nth), there);
    }
    let error = push(&repository(&registry), &blob, &in_pieces(100_000)).unwrap_err();
    assert!(
        matches!(error, Error::Transport { tries: 4, .. }),
        "{error:?}"
    );
    assert_eq!(registry.requests_on(&patch).len(), 4);
}

#[test]
fn pieces_go_on_where_they_broke() {
    for action in [
        Action::ResetUpload(50_000),
        Action::LoseAnswer,
        Action::Close,
        Action::Answer(Answer::status(503).header("Retry-After", 0)),
        Action::Answer(Answer::status(416)),
    ] {
        for nth in 1..=3 {
            let (registry, blob) = (Faulty::start(), blob());
            let patch = On::kind(Kind::Upload).method("PATCH");
            registry.rule(patch.clone().nth(nth), action.clone());
            push(&repository(&registry), &blob, &in_pieces(100_000)).unwrap();
            assert!(stored(&registry, &blob), "{action:?} {nth}");
            let status = On::kind(Kind::Upload).method("GET");
            assert_eq!(registry.requests_on(&status).len(), 1);
            assert!(registry.requests_on(&patch).len() <= 4);
        }
    }
}

#[test]
fn lost_answers_do_no_harm() {
    let manifest = br#"{"schemaVersion":2,"manifests":[]}"#;
    for (kind, method) in [
        (Kind::Upload, "POST"),
        (Kind::Upload, "PUT"),
        (Kind::Manifest, "PUT"),
        (Kind::Blob, "HEAD"),
    ] {
        let (registry, blob) = (Faulty::start(), blob());
        registry.rule(On::kind(kind).method(method).nth(1), Action::LoseAnswer);
        let repository = repository(&registry);
        push(&repository, &blob, &PushOptions::default()).unwrap();
        assert!(stored(&registry, &blob));
        let descriptor = Descriptor::new(INDEX, digest(manifest), manifest.len() as u64);
        repository
            .put_manifest(&tag(), &descriptor, manifest)
            .unwrap();
        assert_eq!(registry.tags(NAME), ["1"]);
    }
}

#[test]
fn an_upload_that_is_gone_begins_again() {
    let (registry, blob) = (Faulty::start(), blob());
    let unknown = Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown");
    registry.rule(
        On::kind(Kind::Upload).method("PUT").nth(1),
        Action::Answer(unknown.clone()),
    );
    push(&repository(&registry), &blob, &PushOptions::default()).unwrap();
    registry.rule(
        On::kind(Kind::Upload).method("PATCH").nth(2),
        Action::Answer(unknown),
    );
    let other = noise(250_000);
    push(&repository(&registry), &other, &in_pieces(100_000)).unwrap();
    assert!(stored(&registry, &blob) && stored(&registry, &other));
}

#[test]
fn what_is_no_success_is_none() {
    for status in [301, 302, 303, 304, 416] {
        let (registry, blob) = (Faulty::start(), blob());
        let answer = Answer::redirect(status, "/v2/");
        registry.rule(
            On::kind(Kind::Upload).method("PUT"),
            Action::Answer(answer.clone()),
        );
        let error = push(&repository(&registry), &blob, &PushOptions::default()).unwrap_err();
        assert!(
            matches!(error, Error::Status { status: s, .. } if s == status),
            "{error:?}"
        );
        registry.rule(
            On::kind(Kind::Manifest).method("PUT"),
            Action::Answer(answer),
        );
        let descriptor = Descriptor::new(INDEX, digest(b"{}"), 2);
        let error = repository(&registry)
            .put_manifest(&tag(), &descriptor, b"{}")
            .unwrap_err();
        assert!(matches!(error, Error::Status { .. }), "{error:?}");
    }
}

#[test]
fn uploads_are_redirected_with_their_body() {
    let (registry, elsewhere, blob) = (Faulty::start(), Faulty::start(), blob());
    registry.rule(
        On::kind(Kind::Upload).method("POST"),
        Action::RedirectTo(307, elsewhere.url()),
    );
    push(&repository(&registry), &blob, &PushOptions::default()).unwrap();
    assert!(stored(&elsewhere, &blob));
}

#[test]
fn an_upload_elsewhere_gets_no_credentials() {
    let (registry, elsewhere, blob) = (Faulty::start(), Faulty::start(), blob());
    registry.demand(Demand::basic("alice", PASSWORD));
    let repository = repository(&elsewhere);
    push(&repository, &noise(10), &PushOptions::default()).unwrap();
    let post = On::kind(Kind::Upload).method("POST");
    elsewhere.clear_requests();
    // An upload that is open there.
    let location = format!(
        "{}/v2/{NAME}/blobs/uploads/?digest={}",
        elsewhere.url(),
        digest(&blob)
    );
    registry.rule(
        post.authorized(true),
        Action::Header("Location".into(), location),
    );
    elsewhere.rule(On::any(), Action::Answer(Answer::status(201)));
    let client = lithify_registry::Client::new(signed_in(options(""), PASSWORD)).unwrap();
    push(
        &open(&client, &registry.address()),
        &blob,
        &PushOptions::default(),
    )
    .unwrap();
    let requests = elsewhere.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (requests[0].authorization(), requests[0].received),
        (None, SIZE)
    );
}

#[test]
fn mounts_where_it_may() {
    let (registry, blob) = (Faulty::start(), blob());
    registry.add_blob("other/app", blob.clone());
    let options = PushOptions::default()
        .mount_from("none/such")
        .mount_from("other/app");
    let pushed = push(&repository(&registry), &blob, &options).unwrap();
    assert_eq!(pushed, Pushed::Mounted("other/app".into()));
    assert!(stored(&registry, &blob));
    let refusals = [400, 401, 403, 404, 405, 415, 422, 429, 500, 501, 503];
    for refusal in [None].into_iter().chain(refusals.map(Some)) {
        let registry = Faulty::start();
        registry.add_blob("other/app", blob.clone());
        registry.set_mounts(false);
        if let Some(status) = refusal {
            registry.rule(
                On::kind(Kind::Upload).path("mount="),
                Action::Answer(Answer::status(status)),
            );
        }
        let pushed = push(&repository(&registry), &blob, &options).unwrap();
        assert_eq!(pushed, Pushed::Uploaded);
        assert!(stored(&registry, &blob), "{refusal:?}");
        // Once for each repository: what can be sent is not waited for.
        let mounts = registry.requests_on(&On::kind(Kind::Upload).path("mount="));
        assert_eq!(mounts.len(), 2, "{refusal:?}");
    }
}

#[test]
fn who_does_not_say_what_is_there_is_sent_it() {
    for status in [400, 401, 403, 405, 406, 422, 501] {
        let (registry, blob) = (Faulty::start(), blob());
        let head = On::kind(Kind::Blob).method("HEAD");
        registry.rule(head, Action::Answer(Answer::status(status)));
        let pushed = push(&repository(&registry), &blob, &PushOptions::default());
        assert_eq!(pushed.unwrap(), Pushed::Uploaded, "{status}");
        assert!(stored(&registry, &blob));
    }
}

#[test]
fn pieces_are_as_long_as_the_registry_wants_them() {
    let blob = blob();
    for (least, pieces) in [(1, 6), (50_000, 6), (120_000, 3), (SIZE, 1), (u64::MAX, 1)] {
        let registry = Faulty::start();
        registry.set_least_chunk(least);
        push(&repository(&registry), &blob, &in_pieces(50_000)).unwrap();
        assert!(stored(&registry, &blob), "{least}");
        let patch = On::kind(Kind::Upload).method("PATCH");
        assert_eq!(registry.requests_on(&patch).len(), pieces, "{least}");
    }
}

#[test]
fn who_does_not_say_how_far_an_upload_is_gets_a_new_one() {
    let (registry, blob) = (Faulty::start(), blob());
    let (patch, post) = (
        On::kind(Kind::Upload).method("PATCH"),
        On::kind(Kind::Upload).method("POST"),
    );
    registry.rule(
        On::kind(Kind::Upload).method("GET"),
        Action::NoHeader("Range".into()),
    );
    registry.rule(patch.clone().nth(2), Action::LoseAnswer);
    push(&repository(&registry), &blob, &in_pieces(100_000)).unwrap();
    assert!(stored(&registry, &blob));
    assert_eq!(registry.requests_on(&post).len(), 2);
    assert_eq!(registry.requests_on(&patch).len(), 5);
    // One that never gets further ends.
    let (registry, _) = (Faulty::start(), ());
    registry.rule(
        On::kind(Kind::Upload).method("GET"),
        Action::NoHeader("Range".into()),
    );
    for piece in 1..40 {
        registry.rule(patch.clone().nth(2 * piece), Action::LoseAnswer);
    }
    let error = push(&repository(&registry), &blob, &in_pieces(100_000)).unwrap_err();
    shown(&error);
    assert_eq!(registry.requests_on(&post).len(), 4);
}

#[test]
fn what_is_too_much_at_once_can_be_sent_in_pieces() {
    let (registry, blob) = (Faulty::start(), blob());
    let page = Answer::status(413).header("Content-Type", "text/plain");
    registry.rule(
        On::kind(Kind::Upload).method("PUT"),
        Action::Answer(page.body("at most 1 MB\n")),
    );
    let error = push(&repository(&registry), &blob, &PushOptions::default()).unwrap_err();
    let text = shown(&error);
    assert!(text.contains("--chunk"), "{text}");
    assert!(text.contains("(at most 1 MB)"), "{text}");
    let descriptor = Descriptor::new(INDEX, digest(b"{}"), 2);
    registry.rule(
        On::kind(Kind::Manifest),
        Action::Answer(Answer::status(413)),
    );
    let error = repository(&registry).put_manifest(&tag(), &descriptor, b"{}");
    let text = shown(&error.unwrap_err());
    assert!(!text.contains("--chunk"), "{text}");
}

#[test]
fn the_registry_has_to_understand_what_is_meant() {
    let registry = Faulty::start();
    let wrong = Action::Header("Docker-Content-Digest".into(), digest(b"other").to_string());
    registry.rule(On::any().method("PUT"), wrong);
    let repository = repository(&registry);
    let manifest = br#"{"schemaVersion":2,"manifests":[]}"#;
    let descriptor = Descriptor::new(INDEX, digest(manifest), manifest.len() as u64);
    let error = repository
        .put_manifest(&tag(), &descriptor, manifest)
        .unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
    let error = push(&repository, &blob(), &PushOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
    let registry = Faulty::start();
    registry.rule(
        On::kind(Kind::Upload).method("POST"),
        Action::NoHeader("Location".into()),
    );
    let error = push(
        &super::support::repository(&registry),
        &blob(),
        &PushOptions::default(),
    );
    assert!(matches!(error, Err(Error::Answer { .. })));
}

#[test]
fn content_that_cannot_be_read_is_told() {
    struct Broken;
    impl Content for Broken {
        fn open(&self, _: u64) -> io::Result<Box<dyn io::Read + Send + '_>> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    let registry = Faulty::start();
    let pushed =
        repository(&registry).push_blob(&digest(b"x"), 1, &Broken, &PushOptions::default());
    assert!(matches!(pushed, Err(Error::Source { .. })));
}

#[test]
fn tokens_that_run_out_are_replaced() {
    if !require::tool("openssl") {
        return;
    }
    let (registry, blob) = (Faulty::start(), blob());
    let tokens = TokenServer::start();
    tokens.add_user("alice", PASSWORD);
    registry.demand(Demand::token(&tokens));
    let client = lithify_registry::Client::new(signed_in(options(""), PASSWORD)).unwrap();
    let repository = open(&client, &registry.address());
    push(&repository, &noise(10), &PushOptions::default()).unwrap();
    let before = tokens.asked().len();
    assert_eq!(before, 1);
    // Between the beginning of an upload and its end.
    let challenge = Action::Answer(Answer::challenge(&tokens.challenge()));
    registry.rule(On::kind(Kind::Upload).method("PUT").nth(1), challenge);
    push(&repository, &blob, &in_pieces(100_000)).unwrap();
    tokens.revoke_all();
    push(&repository, &noise(20), &PushOptions::default()).unwrap();
    assert!(stored(&registry, &blob));
    assert_eq!(tokens.asked().len(), before + 2);
}

#[test]
fn eight_threads_push_through_one_client() {
    let registry = Faulty::start();
    let repository = open(&client(""), &registry.address());
    std::thread::scope(|scope| {
        for n in 0..8 {
            let repository = &repository;
            scope.spawn(move || {
                push(repository, &noise(1000 + n), &PushOptions::default()).unwrap()
            });
        }
    });
    assert_eq!(registry.blobs(NAME).len(), 8);
}
