//! Answers on their way, bent.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::http::{Answer, Framing, Request, Socket, reason};
use super::lock::lock;
use super::rules::{Action, At};

/// Bytes written at once.
const PIECE: usize = 64 << 10;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Close,
    /// Nothing more is sent, and what the client still sends is read, until it closes.
    Linger,
    Stall,
    Reset,
}

/// What is told of a request while it is served. Bytes count before they are written: whoever has received them
/// finds them counted.
#[derive(Clone, Debug)]
pub(super) struct Record(pub(super) Arc<Mutex<Request>>);

impl Record {
    pub(super) fn received(&self, bytes: usize) {
        lock(&self.0).received = bytes as u64;
    }

    pub(super) fn status(&self, status: u16) {
        lock(&self.0).status = Some(status);
    }

    fn sending(&self, bytes: usize) {
        lock(&self.0).sent += bytes as u64;
    }

    fn not_sent(&self, bytes: usize) {
        lock(&self.0).sent -= bytes as u64;
    }
}

/// How one answer is to be bent.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Sent in place of what the service would answer.
    pub(super) instead: Option<Answer>,
    /// The request is not carried out and not answered.
    pub(super) refuse: bool,
    /// The request is carried out and not answered.
    pub(super) mute: bool,
    /// The connection ends with this answer.
    pub(super) close: bool,
    endless: Option<Framing>,
    end: Option<(At, Fate)>,
    drip: Option<(usize, Duration)>,
    drip_head: Option<(usize, Duration)>,
    length: Option<u64>,
    bends: Vec<Action>,
}

impl Plan {
    /// Takes in an action that leaves the connection open until the request is read.
    pub(super) fn add(&mut self, action: Action, request: &mut Request) {
        match action {
            Action::Answer(answer) => self.instead = Some(answer),
            Action::Close => self.refuse = true,
            Action::LoseAnswer => self.mute = true,
            Action::ResetAt(at) => self.end = Some((at, Fate::Reset)),
            Action::StallAt(at) => self.end = Some((at, Fate::Stall)),
            Action::Truncate(at) => self.end = Some((at, Fate::Close)),
            Action::Drip(bytes, pause) => self.drip = Some((bytes.max(1), pause)),
            Action::DripHead(bytes, pause) => self.drip_head = Some((bytes.max(1), pause)),
            Action::Length(length) => (self.length, self.close) = (Some(length), true),
            Action::Endless(framing) => self.endless = Some(framing),
            Action::IgnoreRange => request
                .headers
                .retain(|(n, _)| !n.eq_ignore_ascii_case("range")),
            Action::Redirect(status, to) => self.instead = Some(Answer::redirect(status, &to)),
            Action::RedirectTo(status, origin) => {
                let to = format!("{origin}{}", request.target);
                self.instead = Some(Answer::redirect(status, &to));
            }
            Action::RedirectLoop(status) => {
                self.instead = Some(Answer::redirect(status, &request.target));
            }
            Action::Hops(status, hops) => {
                let hop = request
                    .parameter("hop")
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0);
                if hop < hops {
                    // What was asked for stays in the query, before the number of the hop.
                    let (path, query) = request
                        .target
                        .split_once('?')
                        .unwrap_or((&request.target, ""));
                    let parameters = query.split('&').filter(|p| !p.is_empty());
                    let mut to = format!("{path}?");
                    for parameter in parameters.filter(|p| !p.starts_with("hop=")) {
                        to.push_str(parameter);
                        to.push('&');
                    }
                    to.push_str(&format!("hop={}", hop + 1));
                    self.instead = Some(Answer::redirect(status, &to));
                }
            }
            other => self.bends.push(other),
        }
    }

    /// Writes an answer as it was bent; says what becomes of the connection.
    pub(super) fn deliver(
        mut self,
        mut socket: &Socket,
        request: &Request,
        record: &Record,
        mut answer: Answer,
        stop: &AtomicBool,
    ) -> io::Result<Fate> {
        for bend in std::mem::take(&mut self.bends) {
            self.bend(bend, &mut answer);
        }
        let framing = self.endless.unwrap_or(answer.framing);
        let body = &answer.whole[answer.range.clone()];
        let ends = request
            .header("connection")
            .is_some_and(|c| c.eq_ignore_ascii_case("close"));
        let ends = ends || self.close || framing == Framing::UntilClose;
        // 204 and 304 have no body and say no length (RFC 9110, 8.6).
        let bodiless = matches!(answer.status, 100..200 | 204 | 304);
        record.status(answer.status);
        let head = head(&answer, framing, self.length(body.len()), bodiless, ends);
        let (size, pause) = self.drip_head.unwrap_or((head.len(), Duration::ZERO));
        for piece in head.as_bytes().chunks(size) {
            socket.write_all(piece)?;
            if !pause.is_zero() && !stop.load(Ordering::SeqCst) {
                std::thread::sleep(pause);
            }
        }
        if bodiless || request.method == "HEAD" {
            return Ok(if ends { Fate::Close } else { Fate::Keep });
        }
        let mut writer = BodyWriter {
            socket,
            framing,
            record,
        };
        if self.endless.is_some() {
            while !stop.load(Ordering::SeqCst) {
                writer.piece(&[b'.'; PIECE])?;
            }
            return Ok(Fate::Close);
        }
        let (until, fate) = match self.end {
            Some((at, fate)) => (at.of(body.len()), Some(fate)),
            None => (body.len(), None),
        };
        let (size, pause) = self.drip.unwrap_or((PIECE, Duration::ZERO));
        for piece in body[..until].chunks(size) {
            writer.piece(piece)?;
            if !pause.is_zero() && !stop.load(Ordering::SeqCst) {
                std::thread::sleep(pause);
            }
        }
        if let Some(fate) = fate {
            return Ok(fate);
        }
        if framing == Framing::Chunked {
            socket.write_all(b"0\r\n\r\n")?;
        }
        Ok(if ends { Fate::Close } else { Fate::Keep })
    }

    /// What `Content-Length` is to say.
    fn length(&self, true_length: usize) -> u64 {
        let endless = self.endless.map(|_| 1 << 60);
        self.length.or(endless).unwrap_or(true_length as u64)
    }

    fn bend(&mut self, bend: Action, answer: &mut Answer) {
        match bend {
            Action::HugeHeader(size) => {
                answer.headers.push(("X-Huge".into(), "v".repeat(size)));
            }
            Action::Header(name, value) => {
                answer
                    .headers
                    .retain(|(n, _)| !n.eq_ignore_ascii_case(&name));
                answer.headers.push((name, value));
            }
            Action::NoHeader(name) => {
                answer
                    .headers
                    .retain(|(n, _)| !n.eq_ignore_ascii_case(&name));
            }
            Action::Framing(framing) => answer.framing = framing,
            Action::Body(bytes) => {
                answer.range = 0..bytes.len();
                answer.whole = Arc::new(bytes);
            }
            Action::FlipBit(offset) => {
                let place = usize::try_from(offset)
                    .ok()
                    .and_then(|o| answer.range.start.checked_add(o));
                let bytes = Arc::make_mut(&mut answer.whole);
                if let Some(byte) = place.and_then(|p| bytes.get_mut(p)) {
                    *byte ^= 1;
                }
            }
            Action::ShiftRange(by) if answer.status == 206 => {
                let shift = |place: usize| {
                    let place = place as i64 + by;
                    place.clamp(0, answer.whole.len() as i64) as usize
                };
                answer.range = shift(answer.range.start)..shift(answer.range.end);
            }
            Action::ShortRange(bytes) if answer.status == 206 => {
                let length = usize::try_from(bytes)
                    .unwrap_or(usize::MAX)
                    .min(answer.range.len());
                answer.range.end = answer.range.start + length;
            }
            _ => {}
        }
    }
}

fn head(answer: &Answer, framing: Framing, length: u64, bodiless: bool, ends: bool) -> String {
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    match framing {
        _ if bodiless => {}
        Framing::Length => head += &format!("Content-Length: {length}\r\n"),
        Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
        Framing::UntilClose => {}
    }
    if ends {
        head += "Connection: close\r\n";
    }
    head + "\r\n"
}

struct BodyWriter<'a> {
    socket: &'a Socket,
    framing: Framing,
    record: &'a Record,
}

impl BodyWriter<'_> {
    fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut socket = self.socket;
        if self.framing == Framing::Chunked {
            write!(socket, "{:x}\r\n", bytes.len())?;
        }
        self.record.sending(bytes.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            match socket.write(rest) {
                Ok(written) if written > 0 => rest = &rest[written..],
                ended => {
                    self.record.not_sent(rest.len());
                    return Err(ended.err().unwrap_or(io::ErrorKind::WriteZero.into()));
                }
            }
        }
        if self.framing == Framing::Chunked {
            socket.write_all(b"\r\n")?;
        }
        Ok(())
    }
}
