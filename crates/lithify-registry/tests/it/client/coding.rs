//! Content that is compressed, though nobody asked for that.

use lithify_registry::Error;
use lithify_testkit::gzip;
use lithify_testkit::registry::{Action, Answer, Faulty, Framing, Kind, On};

use super::support::{
    INDEX, LIMIT, NAME, add_index, client, digest, noise, open, options, read_blob, repository,
    shown, tag,
};

/// An answer as a server gives it that compresses everything on its way.
fn compressed(coding: &str, content: &[u8]) -> Answer {
    Answer::status(200)
        .header("Content-Type", INDEX)
        .header("Content-Encoding", coding)
        .body(gzip(content))
}

#[test]
fn manifests_and_lists_are_decompressed() {
    for coding in ["gzip", "x-gzip", "GZIP"] {
        let registry = Faulty::start();
        let index = add_index(&registry);
        let manifest = On::kind(Kind::Manifest);
        registry.rule(manifest, Action::Answer(compressed(coding, &index)));
        let tags = compressed(coding, br#"{"name":"team/app","tags":["1","2"]}"#);
        registry.rule(On::kind(Kind::Tags), Action::Answer(tags));
        let repository = repository(&registry);
        let found = repository.manifest(&tag(), LIMIT).unwrap().unwrap();
        assert_eq!(found.bytes, index);
        // Its length is not that of what was sent.
        let descriptor = repository.resolve(&tag(), LIMIT).unwrap().unwrap();
        assert_eq!(descriptor.size, index.len() as u64);
        assert_eq!(repository.tags().unwrap(), ["1", "2"]);
    }
    // A limit is one of what comes of it.
    let registry = Faulty::start();
    let bomb = compressed("gzip", &vec![b' '; 8 << 20]);
    registry.rule(On::kind(Kind::Manifest), Action::Answer(bomb));
    let error = repository(&registry).manifest(&tag(), LIMIT).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    // Words of an error, too.
    let registry = Faulty::start();
    let said = gzip(br#"{"errors":[{"code":"DENIED","message":"not you"}]}"#);
    let answer = Answer::status(403)
        .header("Content-Encoding", "gzip")
        .body(said);
    registry.rule(On::kind(Kind::Manifest), Action::Answer(answer));
    let error = repository(&registry).manifest(&tag(), LIMIT).unwrap_err();
    assert!(shown(&error).contains("not you"), "{error}");
}

#[test]
fn tokens_are_decompressed() {
    let registry = Faulty::start();
    add_index(&registry);
    let challenge = format!("Bearer realm=\"{}/token\"", registry.url());
    registry.rule(
        On::kind(Kind::Manifest).authorized(false),
        Action::Answer(Answer::challenge(&challenge)),
    );
    let token = compressed("gzip", br#"{"token":"abc"}"#);
    registry.rule(On::kind(Kind::Token), Action::Answer(token));
    let client = lithify_registry::Client::new(options("")).unwrap();
    let found = open(&client, &registry.address()).manifest(&tag(), LIMIT);
    assert!(found.unwrap().is_some());
}

#[test]
fn blobs_are_what_their_length_says() {
    let blob = noise(300_000);
    // Compressed on the way.
    for framing in [Framing::Length, Framing::Chunked, Framing::UntilClose] {
        let registry = Faulty::start();
        let answer = compressed("gzip", &blob).framing(framing);
        registry.rule(On::kind(Kind::Blob), Action::Answer(answer));
        let repository = repository(&registry);
        assert_eq!(read_blob(&repository, &blob).unwrap(), blob, "{framing:?}");
        let size = blob.len() as u64;
        let part = repository.blob_part(&digest(&blob), size, 1000..2000);
        assert_eq!(part.unwrap(), blob[1000..2000]);
        let mut rest = Vec::new();
        let reader = repository.blob(&digest(&blob), size, 299_000).unwrap();
        std::io::Read::read_to_end(&mut reader.unwrap(), &mut rest).unwrap();
        assert_eq!(rest, blob[299_000..]);
    }
    // A gzip file that a server takes for its coding, also in parts.
    let file = gzip(&blob);
    let registry = Faulty::start();
    registry.add_blob(NAME, file.clone());
    let label = Action::Header("Content-Encoding".into(), "gzip".into());
    registry.rule(On::kind(Kind::Blob), label);
    let repository = repository(&registry);
    assert_eq!(read_blob(&repository, &file).unwrap(), file);
    let part = repository.blob_part(&digest(&file), file.len() as u64, 10..20);
    assert_eq!(part.unwrap(), file[10..20]);
}

#[test]
fn compressed_blobs_that_break_begin_again() {
    let blob = noise(300_000);
    let registry = Faulty::start();
    let answer = compressed("gzip", &blob).framing(Framing::Chunked);
    let on = On::kind(Kind::Blob);
    registry.rule(on.clone(), Action::Answer(answer));
    registry.rule(
        on.clone().nth(1),
        Action::Truncate(lithify_testkit::registry::At::Percent(60)),
    );
    let repository = repository(&registry);
    assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    assert!(registry.requests_on(&on).len() > 1);
}

#[test]
fn what_is_coded_otherwise_is_told() {
    let blob = noise(1000);
    for coding in ["br", "zstd", "gzip, gzip"] {
        let registry = Faulty::start();
        let answer = compressed(coding, &blob);
        registry.rule(On::kind(Kind::Blob), Action::Answer(answer));
        let error = read_blob(&open(&client(""), &registry.address()), &blob).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{error}");
        assert!(shown(&error).contains("content coding"), "{error}");
    }
}
