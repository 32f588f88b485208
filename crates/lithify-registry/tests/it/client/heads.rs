//! Heads of answers as every other client puts up with them.

use lithify_registry::Client;
use lithify_testkit::registry::{Action, Demand, Faulty, Kind, On};

use super::support::{
    INDEX, LIMIT, PASSWORD, add_index, digest, open, options, repository, signed_in, tag,
};

/// Header lines nobody asks for.
fn many() -> String {
    (0..300).map(|n| format!("X-Cache-{n}: hit\r\n")).collect()
}

#[test]
fn long_heads_and_values_of_several_lines_are_read() {
    let registry = Faulty::start();
    let index = add_index(&registry);
    let folded = "X-Note: a\r\n b\r\n\tc\r\n".to_owned();
    for (lines, end) in [
        (many(), "\r\n"),
        (folded, "\r\n"),
        (many(), "\n"),
        (String::new(), "\n"),
    ] {
        registry.clear_rules();
        let head = format!(
            "HTTP/1.1 200 OK\r\n{lines}Content-Type:\r\n {INDEX}\r\n{lines}Docker-Content-Digest:\r\n  {}\r\n\
             Content-Length: {}\r\n\r\n",
            digest(&index),
            index.len()
        );
        // A line may end with the feed alone.
        let head = head.replace("\r\n", end);
        let answer = [head.as_bytes(), &index].concat();
        registry.rule(On::kind(Kind::Manifest), Action::Raw(answer));
        let found = repository(&registry).manifest(&tag(), LIMIT).unwrap();
        let found = found.unwrap();
        assert_eq!(found.bytes, index);
        assert_eq!(found.descriptor.media_type, INDEX);
    }
}

#[test]
fn a_challenge_of_two_lines_is_answered() {
    let registry = Faulty::start();
    add_index(&registry);
    registry.demand(Demand::basic("alice", PASSWORD));
    for lines in [many(), String::new()] {
        registry.clear_rules();
        let challenge = format!(
            "HTTP/1.1 401 Unauthorized\r\n{lines}WWW-Authenticate: Basic\r\n  realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
        );
        registry.rule(
            On::kind(Kind::Manifest).authorized(false),
            Action::Raw(challenge.into_bytes()),
        );
        let client = Client::new(signed_in(options(""), PASSWORD)).unwrap();
        let found = open(&client, &registry.address()).manifest(&tag(), LIMIT);
        assert!(found.unwrap().is_some());
    }
}
