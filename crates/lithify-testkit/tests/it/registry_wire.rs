//! Bent answers of the registries, as bytes on the wire.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{exchange, raw};
use lithify_testkit::registry::{Action, Answer, At, Faulty, Framing, Kind, On};

struct Bent {
    registry: Faulty,
    path: String,
}

impl Bent {
    /// A registry with one blob of 100 000 bytes.
    fn new() -> Self {
        let registry = Faulty::start();
        let path = format!(
            "/v2/x/blobs/{}",
            registry.add_blob("x", vec![b'b'; 100_000])
        );
        Self { registry, path }
    }

    /// Status line and headers, body, and how it ended, under one action.
    fn get(&self, action: Action, headers: &str) -> (String, Vec<u8>, std::io::Result<()>) {
        self.registry.clear_rules();
        self.registry
            .rule(On::kind(Kind::Blob).method("GET"), action);
        self.plain(headers)
    }

    fn plain(&self, headers: &str) -> (String, Vec<u8>, std::io::Result<()>) {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n",
            self.path
        );
        let (answer, result) = raw(&self.registry.address(), &request);
        let split = answer.windows(4).position(|w| w == b"\r\n\r\n");
        let head = String::from_utf8_lossy(&answer[..split.unwrap_or(answer.len())]).into_owned();
        let body = split.map_or_else(Vec::new, |at| answer[at + 4..].to_vec());
        (head, body, result)
    }
}

#[test]
fn bodies_that_end_early() {
    let bent = Bent::new();
    for percent in (0..=100).step_by(10) {
        let (head, body, result) = bent.get(Action::ResetAt(At::Percent(percent)), "");
        assert!(head.contains("Content-Length: 100000"), "{head}");
        assert_eq!(body.len(), usize::from(percent) * 1000);
        assert_eq!(
            result.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset
        );
    }
    let (_, body, result) = bent.get(Action::Truncate(At::Byte(7)), "");
    assert_eq!((body.len(), result.is_ok()), (7, true));
    let (_, body, result) = bent.get(Action::Drip(50_000, Duration::from_millis(1)), "");
    assert_eq!((body.len(), result.is_ok()), (100_000, true));
    let (head, _, result) = bent.get(Action::Close, "");
    assert_eq!((head.as_str(), result.is_ok()), ("", true));
    let (head, _, result) = bent.get(Action::Reset, "");
    assert!(head.is_empty() && result.is_err());
    let last = bent.registry.requests().pop().unwrap();
    assert_eq!((last.status, last.sent), (None, 0));
}

#[test]
fn bodies_that_lie() {
    let bent = Bent::new();
    let (head, body, _) = bent.get(Action::Length(99_999), "");
    assert!(head.contains("Content-Length: 99999") && body.len() == 100_000);
    let (head, body, _) = bent.get(Action::Framing(Framing::Chunked), "");
    assert!(head.contains("Transfer-Encoding: chunked") && !head.contains("Content-Length"));
    assert!(body.starts_with(b"10000\r\nb") && body.ends_with(b"b\r\n0\r\n\r\n"));
    let (head, body, _) = bent.get(Action::Framing(Framing::UntilClose), "");
    assert!(!head.contains("Content-Length") && body.len() == 100_000);
    let (_, body, _) = bent.get(Action::FlipBit(99_999), "");
    assert_eq!((body[99_998], body[99_999]), (b'b', b'b' ^ 1));
    let (head, body, _) = bent.get(Action::Body(b"other".to_vec()), "");
    assert!(head.contains("Content-Length: 5") && body == b"other");
    let digest = Action::Header("docker-content-digest".into(), "sha256:0".into());
    assert!(
        bent.get(digest, "")
            .0
            .contains("docker-content-digest: sha256:0")
    );
    let (head, ..) = bent.get(Action::NoHeader("Docker-Content-Digest".into()), "");
    assert!(!head.contains("Docker-Content-Digest"));
    // The blob itself is as it was.
    bent.registry.clear_rules();
    assert_eq!(bent.plain("").1, vec![b'b'; 100_000]);
}

#[test]
fn ranges() {
    let bent = Bent::new();
    let (head, body, _) = bent.plain("Range: bytes=99990-\r\n");
    assert!(
        head.starts_with("HTTP/1.1 206 ")
            && head.contains("Content-Range: bytes 99990-99999/100000")
    );
    assert_eq!(body.len(), 10);
    assert_eq!(bent.plain("Range: bytes=5-9\r\n").1.len(), 5);
    assert_eq!(bent.plain("Range: bytes=-3\r\n").1.len(), 3);
    let (head, ..) = bent.plain("Range: bytes=100000-\r\n");
    assert!(head.starts_with("HTTP/1.1 416 ") && head.contains("Content-Range: bytes */100000"));
    let (head, body, _) = bent.get(Action::IgnoreRange, "Range: bytes=10-\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.len() == 100_000);
    let (head, body, _) = bent.get(Action::ShiftRange(5), "Range: bytes=10-\r\n");
    assert!(head.contains("Content-Range: bytes 10-99999/100000") && body.len() == 99_985);
    let (head, body, _) = bent.get(Action::ShortRange(4), "Range: bytes=10-\r\n");
    assert!(
        head.contains("Content-Range: bytes 10-")
            && head.contains("Content-Length: 4\r\n")
            && body.len() == 4
    );
}

#[test]
fn rules_count() {
    let bent = Bent::new();
    let busy = Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", 1);
    let hits = bent
        .registry
        .rule(On::kind(Kind::Blob).after(1).times(2), Action::Answer(busy));
    let statuses: Vec<_> = (0..5).map(|_| bent.plain("").0[9..12].to_owned()).collect();
    assert_eq!(statuses, ["200", "429", "429", "200", "200"]);
    assert_eq!(hits.count(), 2);
    let requests = bent.registry.requests();
    assert_eq!(requests.len(), 5);
    assert_eq!((requests[0].status, requests[0].sent), (Some(200), 100_000));
    // Over one connection: a connection is kept where nothing is said.
    let request = format!("GET {} HTTP/1.1\r\nRange: bytes=0-0\r\n\r\n", bent.path);
    let last = format!(
        "GET {} HTTP/1.1\r\nRange: bytes=0-0\r\nConnection: close\r\n\r\n",
        bent.path
    );
    let answer = exchange(
        &bent.registry.address(),
        &format!("{request}{request}{last}"),
    );
    assert_eq!(answer.matches("HTTP/1.1 206 ").count(), 3);
}

#[test]
fn redirects() {
    let bent = Bent::new();
    let location = |head: &str| {
        head.lines()
            .find_map(|l| l.strip_prefix("Location: ").map(str::to_owned))
    };
    let (head, ..) = bent.get(Action::RedirectLoop(302), "");
    assert_eq!(location(&head).as_ref(), Some(&bent.path));
    let (head, ..) = bent.get(Action::RedirectTo(308, "http://u:p@127.0.0.1:1".into()), "");
    assert_eq!(
        location(&head),
        Some(format!("http://u:p@127.0.0.1:1{}", bent.path))
    );
    bent.registry.add_file("/cdn/x", "abc");
    let (head, ..) = bent.get(
        Action::Redirect(301, format!("{}/cdn/x", bent.registry.url())),
        "",
    );
    assert!(location(&head).unwrap().ends_with("/cdn/x"));
    bent.registry.clear_rules();
    bent.registry
        .rule(On::kind(Kind::Blob), Action::Hops(307, 3));
    let mut path = bent.path.clone();
    let mut hops = 0;
    loop {
        let answer = exchange(
            &bent.registry.address(),
            &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n"),
        );
        match location(&answer) {
            Some(next) => (path, hops) = (next, hops + 1),
            None => break assert!(answer.starts_with("HTTP/1.1 200 ")),
        }
    }
    assert_eq!(hops, 3);
}

#[test]
fn what_never_ends_ends_with_the_server() {
    let bent = Bent::new();
    let address = bent.registry.address();
    bent.registry
        .rule(On::kind(Kind::Blob).nth(1), Action::Stall);
    bent.registry
        .rule(On::kind(Kind::Blob).nth(2), Action::StallAt(At::Byte(10)));
    bent.registry
        .rule(On::kind(Kind::Blob).nth(3), Action::EndlessHeaders);
    bent.registry.rule(
        On::kind(Kind::Blob).nth(4),
        Action::Endless(Framing::Chunked),
    );
    bent.registry.rule(
        On::kind(Kind::Blob).nth(5),
        Action::Endless(Framing::Length),
    );
    bent.registry.rule(
        On::kind(Kind::Blob).nth(6),
        Action::Delay(Duration::from_secs(3600)),
    );
    let request = format!("GET {} HTTP/1.1\r\n\r\n", bent.path);
    let mut streams = Vec::new();
    for number in 1..=6 {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        while bent.registry.requests().len() < number {
            std::thread::yield_now();
        }
        streams.push(stream);
    }
    let mut start = [0; 17];
    streams[4].read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK\r\n");
    // The join of every thread is the test.
    drop(bent);
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn uploads_in_pieces() {
    let registry = Faulty::start();
    let address = registry.address();
    let send = |method: &str, path: &str, headers: &str, body: &str| {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nConnection: close\r\nHost: {address}\r\n{headers}"
        );
        exchange(
            &address,
            &format!("{head}Content-Length: {length}\r\n\r\n{body}"),
        )
    };
    let header = |answer: &str, name: &str| {
        let line = answer
            .lines()
            .find_map(|l| l.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name} in {answer}"))
    };
    let begun = send("POST", "/v2/x/blobs/uploads/", "", "");
    let location = header(&begun, "Location");
    let first = send("PATCH", &location, "Content-Range: 0-4\r\n", "hello");
    assert_eq!(
        (&first[9..12], header(&first, "Range").as_str()),
        ("202", "0-4")
    );
    let wrong = send("PATCH", &location, "Content-Range: 9-13\r\n", "hello");
    assert_eq!(&wrong[9..12], "416");
    let (status, _) = location.split_once('?').unwrap();
    let status = send("GET", status, "", "");
    assert_eq!(
        (&status[9..12], header(&status, "Range").as_str()),
        ("204", "0-4")
    );
    // sha256 of "hello world"
    let digest = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
    let done = send(
        "PUT",
        &format!("{location}&digest={}", digest.replace(':', "%3A")),
        "",
        " world",
    );
    assert_eq!(&done[9..12], "201");
    assert_eq!(registry.blob("x", digest).unwrap(), b"hello world");
    let mounted = send(
        "POST",
        &format!("/v2/y/blobs/uploads/?mount={digest}&from=x"),
        "",
        "",
    );
    assert_eq!(&mounted[9..12], "201");
    let one = send(
        "POST",
        &format!("/v2/z/blobs/uploads/?digest={digest}"),
        "",
        "hello world",
    );
    assert_eq!(&one[9..12], "201");

    let subject = registry.add_manifest(
        "x",
        Some("1"),
        "application/vnd.oci.image.manifest.v1+json",
        "{}",
    );
    let config = registry.add_blob("x", "{}");
    let artifact = format!(
        r#"{{"artifactType":"a/b","config":{{"digest":"{config}"}},"subject":{{"digest":"{subject}"}}}}"#
    );
    let put = send(
        "PUT",
        "/v2/x/manifests/art",
        "Content-Type: m/t\r\n",
        &artifact,
    );
    assert_eq!(
        (&put[9..12], header(&put, "OCI-Subject")),
        ("201", subject.clone())
    );
    let list = send(
        "GET",
        &format!("/v2/x/referrers/{subject}?artifactType=a/b"),
        "",
        "",
    );
    assert!(
        list.contains("\"artifactType\":\"a/b\"")
            && list.contains("OCI-Filters-Applied: artifactType")
    );
    let none = send(
        "GET",
        &format!("/v2/x/referrers/{subject}?artifactType=c"),
        "",
        "",
    );
    assert!(none.contains("\"manifests\":[]"));
    registry.set_referrers(false);
    assert_eq!(
        &send("GET", &format!("/v2/x/referrers/{subject}"), "", "")[9..12],
        "404"
    );
    let lost = send(
        "PUT",
        "/v2/x/manifests/2",
        "Content-Type: m/t\r\n",
        r#"{"layers":[{"digest":"sha256:00"}]}"#,
    );
    assert!(lost.contains("MANIFEST_BLOB_UNKNOWN"));
    assert_eq!(
        &send("DELETE", &format!("/v2/x/manifests/{subject}"), "", "")[9..12],
        "202"
    );
    assert_eq!(registry.tags("x"), ["art"]);

    registry.rule(
        On::kind(Kind::Upload).method("PATCH"),
        Action::ResetUpload(3),
    );
    let location = header(&send("POST", "/v2/x/blobs/uploads/", "", ""), "Location");
    let patch = format!("PATCH {location} HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
    assert!(raw(&address, &patch).1.is_err());
    registry.rule(On::kind(Kind::Upload).method("PUT"), Action::LoseAnswer);
    let put = send(
        "PUT",
        &format!("{location}&digest={digest}"),
        "",
        "hello world",
    );
    assert_eq!((put.as_str(), registry.open_uploads()), ("", 0));
}
