//! Heads of answers as every other client puts up with them.

use lithify_registry::Client;
use lithify_testkit::registry::{Action, Demand, Faulty, Kind, On};

use super::support::{
    INDEX, LIMIT, PASSWORD, add_index, digest, open, options, repository, shown, signed_in, tag,
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
fn many_lines_of_lists_are_read_and_of_others_told() {
    let registry = Faulty::start();
    let index = add_index(&registry);
    let of = |line: &str| -> String { (0..900).map(|n| format!("{line}{n}\r\n")).collect() };
    let ask = |lines: &str| {
        let head = format!(
            "HTTP/1.1 200 OK\r\n{lines}Content-Type: {INDEX}\r\nContent-Length: {}\r\n\r\n",
            index.len()
        );
        let answer = [head.as_bytes(), &index].concat();
        registry.clear_rules();
        registry.rule(On::kind(Kind::Manifest), Action::Raw(answer));
        repository(&registry).manifest(&tag(), LIMIT)
    };
    for line in ["Link: </x>; rel=", "Connection: x-", "link: "] {
        let found = ask(&of(line)).unwrap().unwrap();
        assert_eq!(found.bytes, index, "{line}");
    }
    let error = ask(&of("WWW-Authenticate: Basic realm=")).unwrap_err();
    let text = shown(&error);
    assert!(text.contains("more than 128 header lines"), "{text}");
    // The next page is found among them.
    let list = br#"{"name":"team/app","tags":["a"]}"#;
    let page = |lines: &str| {
        let length = list.len();
        let head = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: {length}\r\n\r\n");
        Action::Raw([head.as_bytes(), list].concat())
    };
    let next = "Link: </v2/team/app/tags/list?last=a>; rel=\"next\"\r\n";
    let many = of("Link: </x>; rel=");
    registry.clear_rules();
    registry.rule(
        On::kind(Kind::Tags).nth(1),
        page(&format!("{many}{next}{many}")),
    );
    registry.rule(On::kind(Kind::Tags).nth(2), page(&many));
    registry.clear_requests();
    repository(&registry).tags().unwrap();
    assert_eq!(registry.requests_on(&On::kind(Kind::Tags)).len(), 2);
}

/// A limit of the HTTP library: docs/registries.md says it.
#[test]
fn the_line_of_a_chunk_s_size_has_twenty_bytes_at_most() {
    let registry = Faulty::start();
    let index = add_index(&registry);
    for (length, is_read) in [(20, true), (21, false)] {
        let size = format!("{:x};", index.len());
        let line = format!("{size}{}", "e".repeat(length - size.len()));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {INDEX}\r\nTransfer-Encoding: chunked\r\n\r\n{line}\r\n"
        );
        let answer = [head.as_bytes(), &index, b"\r\n0\r\n\r\n"].concat();
        registry.clear_rules();
        registry.rule(On::kind(Kind::Manifest), Action::Raw(answer));
        let found = repository(&registry).manifest(&tag(), LIMIT);
        assert_eq!(found.is_ok(), is_read, "{line}: {found:?}");
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
