//! The first lines of answers, as servers write them that others put up with.
//!
//! Two things stand in the way of the HTTP library, and in nobody else's: values that go on in the next line (`obs-fold`;
//! RFC 9112, section 5.2, has a client take the break for spaces), and more header lines than it has room for, which
//! proxies and caches add to. Both are mended before it sees them, in place: a line break becomes two spaces between the
//! parts of a value. Of too many lines, those that nobody here asks for become one, and so do those whose values are lists,
//! as their lists put together (RFC 9110, section 5.3, which also says that the order of different headers means nothing).
//! The status, and every other header that is asked for, stay as they are.

use std::ops::Range;

use ureq::Error;
use ureq::unversioned::transport::Buffers;

/// The most lines that are left alone; the library has room for 128.
const LINES: usize = 100;
/// The header lines the library has room for.
const ROOM: usize = 128;
/// The longest head that is looked at. The library takes half as much.
const LONGEST: usize = 128 << 10;

/// Headers somebody asks for: the client, and the library.
const ASKED_FOR: [&[u8]; 16] = [
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"docker-content-digest",
    b"link",
    b"location",
    b"oci-chunk-min-length",
    b"oci-filters-applied",
    b"oci-subject",
    b"range",
    b"retry-after",
    b"transfer-encoding",
    b"www-authenticate",
    b"x-squid-error",
];

/// Those of them whose values are lists, so that many lines mean what one does.
const LISTS: [&[u8]; 2] = [b"connection", b"link"];

/// What has come of an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// Some of it; more is to come.
    Part,
    /// All of it, or what is no head.
    All,
}

/// Mends the head of an answer, once all of it has arrived. How much was looked at in vain is kept in `seen`, so that a head
/// that comes in many pieces is not searched from its start for each.
pub(super) fn arrived(buffers: &mut dyn Buffers, seen: &mut usize) -> Result<Arrived, Error> {
    let from = std::mem::take(seen);
    let input = buffers.input();
    let start = input.len().min(5);
    if input[..start] != b"HTTP/"[..start] || input.len() > LONGEST {
        return Ok(Arrived::All);
    }
    let Some(length) = head(input, from) else {
        *seen = input.len();
        return Ok(Arrived::Part);
    };
    if has_blank_name(&input[..length]) {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, BlankName).into());
    }
    let mut mended = input[..length].to_vec();
    let is_mended = mend(&mut mended);
    if breaks(&mended).len() > ROOM + 1 {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, TooManyLines).into());
    }
    if !is_mended {
        return Ok(Arrived::All);
    }
    mended.extend_from_slice(&input[length..]);
    // There is no other way to what has come than to take it and put it back.
    buffers.input_consume(mended.len());
    let room = buffers.input_append_buf();
    let Some(room) = room.get_mut(..mended.len()) else {
        return Err(std::io::Error::other("no room for what has come").into());
    };
    room.copy_from_slice(&mended);
    buffers.input_appended(mended.len());
    Ok(Arrived::All)
}

/// A header whose name is none.
#[derive(Debug, thiserror::Error)]
#[error("its answer has a header with a blank between name and colon")]
struct BlankName;

/// More headers than there is room for, which are not lists.
#[derive(Debug, thiserror::Error)]
#[error(
    "its answer has more than {ROOM} header lines that mean something each: it, or what stands before it, repeats them"
)]
struct TooManyLines;

/// Whether a name and its colon have a blank between them, which some take for a part of the name and others do not
/// (RFC 9112, section 5.1): Go 1.19.8 does not find the header.
fn has_blank_name(head: &[u8]) -> bool {
    let lines = head.split(|b| *b == b'\n').skip(1);
    lines
        .filter(|line| !matches!(line.first(), None | Some(b' ' | b'\t')))
        .filter_map(|line| line.split_at_checked(line.iter().position(|b| *b == b':')?))
        .any(|(name, _)| matches!(name.last(), Some(b' ' | b'\t')))
}

/// The bytes up to the empty line, and that. Lines may end with a line feed alone (RFC 9112, section 2.2).
/// The first `from` bytes are known to have no end in them.
fn head(input: &[u8], from: usize) -> Option<usize> {
    // The end has three bytes at most.
    let start = from.saturating_sub(3);
    let feeds = input.iter().enumerate().skip(start);
    let feeds = feeds.filter(|(_, b)| **b == b'\n');
    let mut ends = feeds.filter_map(|(at, _)| match input[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    });
    ends.next()
}

/// Mends a whole head in place; says whether anything changed.
pub(crate) fn mend(head: &mut [u8]) -> bool {
    let mut changed = false;
    let mut breaks = breaks(head);
    // The status line goes on in no other one.
    if let Some((_, values)) = breaks.split_first() {
        for line_break in values {
            if matches!(head.get(line_break.end), Some(b' ' | b'\t')) {
                head[line_break.clone()].fill(b' ');
                changed = true;
            }
        }
    }
    breaks.retain(|line_break| head[line_break.end - 1] == b'\n');
    if breaks.len() <= LINES {
        return changed;
    }
    changed |= sort(head, &breaks);
    let breaks = self::breaks(head);
    let (mut start, mut is_plain) = (0, false);
    for pair in breaks.windows(2) {
        let [this, next] = [&pair[0], &pair[1]];
        let second_line = &head[this.end..next.start];
        let is_next_plain = second_line
            .iter()
            .all(|&b| b == b'\t' || (b' '..=b'~').contains(&b));
        let (first, second) = (name(&head[start..this.start]), name(second_line));
        let (joined, length) = match (first, second) {
            (Some(first), Some(second)) if !is_asked_for(first) && !is_asked_for(second) => {
                (Some(b' '), 0)
            }
            // What is no text would spoil the others.
            (Some(first), Some(second))
                if is_plain
                    && is_next_plain
                    && first.eq_ignore_ascii_case(second)
                    && is_among(&LISTS, first) =>
            {
                (Some(b','), second.len() + 1)
            }
            _ => (None, 0),
        };
        match joined {
            Some(joined) => {
                head[this.start..this.end + length].fill(b' ');
                head[this.start] = joined;
                changed = true;
            }
            None => (start, is_plain) = (this.end, is_next_plain),
        }
    }
    changed
}

/// Puts lines that become one beside each other; says whether anything changed. Those of one name stay in order.
fn sort(head: &mut [u8], breaks: &[Range<usize>]) -> bool {
    let (Some(first), Some(last)) = (breaks.first(), breaks.last()) else {
        return false;
    };
    let all = first.end..last.end;
    let pairs = breaks.windows(2);
    let mut lines: Vec<_> = pairs.map(|pair| &head[pair[0].end..pair[1].end]).collect();
    lines.sort_by_cached_key(|line| match name(line) {
        Some(name) => ASKED_FOR
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
            .unwrap_or(ASKED_FOR.len()),
        None => ASKED_FOR.len() + 1,
    });
    let sorted = lines.concat();
    let changed = head[all.clone()] != *sorted;
    head[all].copy_from_slice(&sorted);
    changed
}

/// The ends of lines, but for the empty one.
fn breaks(head: &[u8]) -> Vec<Range<usize>> {
    let feeds = head.iter().enumerate().filter(|(_, b)| **b == b'\n');
    let mut breaks: Vec<_> = feeds
        .map(|(at, _)| {
            let is_pair = at > 0 && head[at - 1] == b'\r';
            at - usize::from(is_pair)..at + 1
        })
        .collect();
    let is_empty = |pair: &[Range<usize>]| pair[0].end == pair[1].start;
    if breaks.len() > 1 && is_empty(&breaks[breaks.len() - 2..]) {
        breaks.pop();
    }
    breaks
}

/// The name of a header line; the status line has none.
fn name(line: &[u8]) -> Option<&[u8]> {
    let end = line.iter().position(|&b| b == b':')?;
    let name = &line[..end];
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    (!name.is_empty() && name.iter().all(is_word)).then_some(name)
}

fn is_asked_for(name: &[u8]) -> bool {
    is_among(&ASKED_FOR, name)
}

fn is_among(names: &[&[u8]], name: &[u8]) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mended(head: &str) -> String {
        let mut bytes = head.as_bytes().to_vec();
        assert_eq!(super::head(&bytes, 0), Some(bytes.len()));
        // In whatever pieces it comes.
        for from in 0..bytes.len() {
            if bytes.len() < 1000 && super::head(&bytes[..from], 0).is_none() {
                assert_eq!(super::head(&bytes, from), Some(bytes.len()));
            }
        }
        let changed = mend(&mut bytes);
        assert_eq!(changed, bytes != head.as_bytes());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn values_go_on_in_the_next_line() {
        assert_eq!(
            mended("HTTP/1.1 401 No\r\nA: b\r\n c\r\n\t d\r\nE: f\r\n\r\n"),
            "HTTP/1.1 401 No\r\nA: b   c  \t d\r\nE: f\r\n\r\n"
        );
        assert_eq!(
            mended("HTTP/1.1 401 No\nA: b\n c\nE: f\n\n"),
            "HTTP/1.1 401 No\nA: b  c\nE: f\n\n"
        );
        for same in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\nA: b\r\n\n",
            // Nothing a header could go on from.
            "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
        ] {
            assert_eq!(mended(same), same);
        }
    }

    #[test]
    fn blanks_before_the_colon_are_found() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", true),
            ("HTTP/1.1 200 OK\nC: d\nA\t: b\n\n", true),
            ("HTTP/1.1 200 O : K\r\nA: b : c\r\n d : e\r\n\r\n", false),
        ] {
            assert_eq!(has_blank_name(head.as_bytes()), expected, "{head}");
        }
    }

    #[test]
    fn lines_nobody_asks_for_are_put_together() {
        let lines: Vec<_> = (0..2000).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let (first, rest) = lines.split_at(1000);
        let head = format!(
            "HTTP/1.1 200 OK\r\n{}Content-Length: 5\r\nLocation: /x\r\n{}WWW-Authenticate: Basic\r\n\r\n",
            first.concat(),
            rest.concat()
        );
        let mended = mended(&head);
        assert_eq!(mended.len(), head.len());
        let lines: Vec<_> = mended.split("\r\n").collect();
        assert_eq!(lines.len(), 1 + 3 + 1 + 2);
        assert_eq!(
            lines[..4],
            [
                "HTTP/1.1 200 OK",
                "Content-Length: 5",
                "Location: /x",
                "WWW-Authenticate: Basic"
            ]
        );
    }

    #[test]
    fn many_lines_of_a_list_are_one_list() {
        let lines = (0..1000).map(|n| {
            let link = format!("Link: </{n}>; rel=x\r\nX-{n}: 1\r\nconnection: c{n}\r\n");
            match n {
                500 => format!(
                    "{link}LINK: </next>; rel=next\r\nConnection: close\r\nLink: \u{fc}\r\n"
                ),
                _ => link,
            }
        });
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", lines.collect::<String>());
        let mended = mended(&head);
        let lines: Vec<_> = mended.split("\r\n").collect();
        // What is no text is left alone, and what follows it is another list.
        assert_eq!(lines.len(), 1 + 1 + 3 + 1 + 2);
        let values = |name: &str| -> Vec<String> {
            let found = lines.iter().filter(|line| line.starts_with(name));
            let values = found.flat_map(|line| line[name.len() + 1..].split(','));
            values.map(|value| value.trim().to_owned()).collect()
        };
        let connection = values("connection");
        assert_eq!(connection.len(), 1001);
        assert_eq!(connection[500..502], ["c500", "close"]);
        let links = values("Link");
        assert_eq!(links.len(), 1002);
        assert_eq!(
            links[500..504],
            [
                "</500>; rel=x",
                "</next>; rel=next",
                "\u{fc}",
                "</501>; rel=x"
            ]
        );
    }

    proptest! {
        #[test]
        fn what_is_asked_for_stays(
            lines in prop::collection::vec(("[A-Za-z-]{1,6}|Location|Content-Length", "[ -~]{0,5}"), 0..300),
        ) {
            let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
            let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", lines.concat());
            let mended = mended(&head);
            let asked = |text: &str| {
                let lines = text.split("\r\n").map(str::to_owned);
                let mut lines: Vec<_> =
                    lines.filter(|l| name(l.as_bytes()).is_some_and(is_asked_for)).collect();
                // The order of different ones means nothing.
                lines.sort_by_key(|line| name(line.as_bytes()).map(<[u8]>::to_ascii_lowercase));
                lines
            };
            prop_assert_eq!(asked(&mended), asked(&head));
            prop_assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        }

        #[test]
        fn any_bytes_are_no_panic(mut bytes in prop::collection::vec(prop::sample::select(&b"HTTP/1. :\r\n\tax"[..]), 0..400)) {
            let length = bytes.len();
            mend(&mut bytes);
            prop_assert_eq!(bytes.len(), length);
        }
    }
}
