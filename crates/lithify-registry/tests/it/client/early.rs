//! Answers that come before a request is sent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use lithify_oci::manifest::Descriptor;
use lithify_registry::daemon::{Daemon, DaemonError, DaemonOptions};
use lithify_registry::{Error, ManifestName, PushOptions, Repository};
use lithify_testkit::registry::{Action, Answer, Authority, FakeDaemon, Faulty, Kind, On};
use lithify_testkit::{require, temp_dir};

use super::support::{LIMIT, client, digest, noise, open, repository, shown, tag};

/// How a server treats its connection once it has answered.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Closed with bytes unread, which resets it.
    Reset,
    /// Its direction ended, nothing read any more.
    End,
    /// Left as it is, nothing read any more.
    Keep,
}

/// A server that answers uploads after so many bytes of them.
struct Refusing {
    address: String,
    heads: Receiver<String>,
    /// Dropped to let go of what is held.
    _hold: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

fn head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}

fn refusing(status: &'static str, after: usize, then: Then) -> Refusing {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (seen, heads) = mpsc::channel();
    let (hold, held) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(head) = head(&mut stream) else { break };
            if seen.send(head).is_err() {
                break;
            }
            let mut some = vec![0; after];
            stream.read_exact(&mut some).unwrap();
            let body = r#"{"errors":[{"code":"SIZE_INVALID","message":"too large for us"}]}"#;
            // In one piece: of several, those that wait for the first to be acknowledged are lost with a reset.
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
            match then {
                Then::Reset => drop(stream),
                Then::End => {
                    stream.shutdown(Shutdown::Write).unwrap();
                    kept.push(stream);
                }
                Then::Keep => kept.push(stream),
            }
        }
        // Until the test is over.
        held.recv().ok();
    });
    Refusing {
        address,
        heads,
        _hold: hold,
        thread: Some(thread),
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        // Wakes who accepts; the end of the hold ends the rest.
        drop(TcpStream::connect(&self.address));
        self.thread.take();
    }
}

/// Uploads to a registry whose uploads go there; the error.
fn push(repository: &Repository, blob: &[u8], options: &PushOptions) -> Error {
    repository
        .push_blob(&digest(blob), blob.len() as u64, &blob, options)
        .unwrap_err()
}

fn registry(refusing: &Refusing) -> Faulty {
    let registry = Faulty::start();
    registry.rule(
        On::kind(Kind::Upload).method("POST"),
        Action::Header("Location".into(), format!("http://{}/up", refusing.address)),
    );
    registry
}

#[test]
fn a_refusal_is_heard_and_not_argued_with() {
    // More than buffers on the way hold.
    let blob = noise(32 << 20);
    let pieces = PushOptions::default().chunk(Some(24 << 20));
    for options in [PushOptions::default(), pieces] {
        for (after, then) in [
            (0, Then::Reset),
            (0, Then::Keep),
            (100_000, Then::Reset),
            (100_000, Then::End),
            (100_000, Then::Keep),
        ] {
            let what = format!("{options:?} {after} {then:?}");
            let server = refusing("413 Content Too Large", after, then);
            let registry = registry(&server);
            let error = push(&repository(&registry), &blob, &options);
            let text = shown(&error);
            assert!(
                matches!(
                    error,
                    Error::Status {
                        status: 413,
                        tries: 1,
                        ..
                    }
                ),
                "{what}: {text}"
            );
            assert!(text.contains("too large for us"), "{what}: {text}");
            let first = server.heads.recv().unwrap().to_ascii_lowercase();
            assert!(first.contains("expect: 100-continue"), "{what}: {first}");
            assert!(server.heads.try_recv().is_err(), "{what}: sent again");
        }
    }
}

#[test]
fn a_failure_that_passes_is_tried_again() {
    let blob = noise(16 << 20);
    let server = refusing("503 Service Unavailable", 100_000, Then::Reset);
    let registry = registry(&server);
    let error = push(&repository(&registry), &blob, &PushOptions::default());
    assert!(
        matches!(
            error,
            Error::Status {
                status: 503,
                tries: 4,
                ..
            }
        ),
        "{}",
        shown(&error)
    );
    let heads: Vec<_> = server.heads.try_iter().collect();
    assert_eq!(heads.len(), 4);
    // Who left the question without an answer is not asked it again.
    let asked = |head: &String| head.to_ascii_lowercase().contains("expect:");
    assert_eq!(heads.iter().filter(|head| asked(head)).count(), 1);
}

#[test]
fn a_yes_to_what_was_not_sent_is_none() {
    let blob = noise(16 << 20);
    let server = refusing("201 Created", 100_000, Then::Reset);
    let registry = registry(&server);
    let error = push(&repository(&registry), &blob, &PushOptions::default());
    let text = shown(&error);
    assert!(matches!(error, Error::Transport { .. }), "{text}");
    assert!(text.contains("before it had everything"), "{text}");
}

#[test]
fn one_who_does_not_know_the_question_gets_the_blob() {
    let blob = noise(2 << 20);
    let registry = Faulty::start();
    let refused = registry.rule(
        On::kind(Kind::Upload).method("PUT").nth(1),
        Action::Answer(Answer::status(417)),
    );
    let pushed = repository(&registry).push_blob(
        &digest(&blob),
        blob.len() as u64,
        &&blob[..],
        &PushOptions::default(),
    );
    pushed.unwrap();
    assert_eq!(refused.count(), 1);
}

const REFUSALS: [(u16, u32); 4] = [(401, 1), (403, 1), (413, 1), (500, 4)];

/// A registry's refusal, with its reason.
fn refusal(status: u16) -> Answer {
    let body = r#"{"errors":[{"code":"DENIED","message":"not from you"}]}"#;
    Answer::status(status)
        .header("content-type", "application/json")
        .body(body)
}

fn assert_refused(error: &Error, refused: u16, wanted: u32, what: &str) {
    let text = shown(error);
    let is_that = match error {
        // Without a challenge, no credentials were sent.
        Error::Unauthorized { .. } => (401, 1) == (refused, wanted),
        Error::Status { status, tries, .. } => (*status, *tries) == (refused, wanted),
        _ => false,
    };
    assert!(is_that, "{what} {refused}: {error:?}");
    assert!(text.contains("not from you"), "{what} {refused}: {text}");
}

/// Refuses blobs and manifests of a registry before they are sent.
fn refuse_early(registry: &Faulty, repository: &Repository, what: &str) {
    // More than buffers on the way hold.
    let bytes = noise(32 << 20);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = Descriptor::new(media_type, digest(&bytes), bytes.len() as u64);
    for (status, tries) in REFUSALS {
        for kind in [Kind::Upload, Kind::Manifest] {
            let what = format!("{what} {kind:?}");
            let hits = registry.rule(On::kind(kind).method("PUT"), Action::Early(refusal(status)));
            let error = match kind {
                Kind::Upload => push(repository, &bytes, &PushOptions::default()),
                _ => repository
                    .put_manifest(&tag(), &descriptor, &bytes)
                    .unwrap_err(),
            };
            assert_refused(&error, status, tries, &what);
            assert_eq!(hits.count(), tries as usize, "{what} {status}");
            registry.clear_rules();
        }
    }
    assert!(repository.manifest(&tag(), LIMIT).unwrap().is_none());
}

#[test]
fn a_manifest_that_is_refused_before_it_is_sent() {
    let registry = Faulty::start();
    refuse_early(&registry, &repository(&registry), "plain");
    // Who closes at once, too.
    let bytes = noise(32 << 20);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = Descriptor::new(media_type, digest(&bytes), bytes.len() as u64);
    for (after, then) in [
        (0, Then::Reset),
        (100_000, Then::Reset),
        (100_000, Then::End),
    ] {
        let server = refusing("413 Content Too Large", after, then);
        registry.rule(
            On::kind(Kind::Manifest).method("PUT"),
            Action::Redirect(307, format!("http://{}/m", server.address)),
        );
        let repository = repository(&registry);
        let name = ManifestName::Digest(descriptor.digest);
        let error = repository
            .put_manifest(&name, &descriptor, &bytes)
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Status {
                    status: 413,
                    tries: 1,
                    ..
                }
            ),
            "{after} {then:?}: {error:?}"
        );
        assert!(
            shown(&error).contains("too large for us"),
            "{after} {then:?}"
        );
        let asked: Vec<_> = server.heads.try_iter().collect();
        assert_eq!(asked.len(), 1, "{asked:?}");
        registry.clear_rules();
    }
}

#[test]
fn a_refusal_is_heard_through_tls() {
    if !require::tool("openssl") {
        return;
    }
    let authority = Authority::new();
    let registry = Faulty::start_tls(&authority);
    let toml = format!(
        "[[registry]]\nprefix = \"{}\"\nca = \"{}\"",
        registry.address(),
        authority.certificate().display()
    );
    let repository = open(&client(&toml), &registry.address());
    refuse_early(&registry, &repository, "TLS");
}

fn daemon_at(host: String) -> Daemon {
    let mut options = DaemonOptions::default();
    options.host = Some(host);
    Daemon::connect(&options).unwrap()
}

fn load(daemon: &Daemon) -> DaemonError {
    let archive = noise(32 << 20);
    daemon
        .load(&mut &archive[..], archive.len() as u64)
        .unwrap_err()
}

fn assert_not_loaded(error: &DaemonError, refused: u16, what: &str) {
    let text = error.to_string();
    assert!(
        matches!(error, DaemonError::Status { status, .. } if *status == refused),
        "{what} {refused}: {error:?}"
    );
    assert!(text.contains("no space left"), "{what} {refused}: {text}");
}

#[test]
fn a_daemon_that_refuses_before_it_has_the_archive() {
    let daemon = FakeDaemon::start();
    for status in [401, 403, 413, 500] {
        let answer = Answer::status(status).body(r#"{"message":"no space left on device"}"#);
        let hits = daemon.rule(On::kind(Kind::Load), Action::Early(answer));
        let error = load(&daemon_at(daemon.host()));
        assert_not_loaded(&error, status, "open");
        assert_eq!(hits.count(), 1, "{status}");
        daemon.clear_rules();
    }
    assert!(daemon.loaded().is_empty());
}

/// A daemon that closes its side with most of the archive unread: a `Broken pipe` to who sends it.
#[test]
fn a_daemon_that_refuses_and_closes() {
    let tmp = temp_dir();
    let socket = tmp.path().join("docker.sock");
    for status in [401_u16, 403, 413, 500] {
        for after in [0, 100_000] {
            let listener = UnixListener::bind(&socket).unwrap();
            let serving = std::thread::spawn(move || {
                let mut loads = 0;
                while loads == 0 {
                    let (mut stream, _) = listener.accept().unwrap();
                    while let Some(head) = head(&mut stream) {
                        if !head.contains("/images/load") {
                            // Its headers say all that is asked for; the client may be gone by now.
                            answer(&mut stream, 200, "").ok();
                            continue;
                        }
                        loads += 1;
                        stream.read_exact(&mut vec![0; after]).unwrap();
                        answer(
                            &mut stream,
                            status,
                            r#"{"message":"no space left on device"}"#,
                        )
                        .unwrap();
                        break;
                    }
                }
            });
            let error = load(&daemon_at(format!("unix://{}", socket.display())));
            assert_not_loaded(&error, status, "closed");
            serving.join().unwrap();
            std::fs::remove_file(&socket).unwrap();
        }
    }
}

fn answer(stream: &mut UnixStream, status: u16, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\nApi-Version: 1.43\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes())
}
