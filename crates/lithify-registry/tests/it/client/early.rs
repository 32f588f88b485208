//! Answers that come before a request is sent.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use lithify_registry::{Error, PushOptions, Repository};
use lithify_testkit::registry::{Action, Faulty, Kind, On};

use super::support::{digest, noise, repository, shown};

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

fn head(stream: &mut TcpStream) -> Option<String> {
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
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
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
    use lithify_testkit::registry::Answer;

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
