//! What goes wrong, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::http::{Answer, Framing, Request};
use super::kind::Kind;

/// Which requests a rule is about.
#[derive(Clone, Debug, Default)]
pub struct On {
    method: Option<String>,
    kind: Option<Kind>,
    path: Option<String>,
    ranged: Option<bool>,
    authorized: Option<bool>,
    skip: usize,
    times: Option<usize>,
}

impl On {
    /// All requests.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests for this kind of thing.
    #[must_use]
    pub fn kind(kind: Kind) -> Self {
        Self {
            kind: Some(kind),
            ..Self::default()
        }
    }

    /// Requests by this method only.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        Self {
            method: Some(method.into()),
            ..self
        }
    }

    /// Requests whose target (path and query as they came) holds this text only: a digest, a repository.
    #[must_use]
    pub fn path(self, part: &str) -> Self {
        Self {
            path: Some(part.into()),
            ..self
        }
    }

    /// Requests with (or without) a `Range` header only.
    #[must_use]
    pub fn ranged(self, yes: bool) -> Self {
        Self {
            ranged: Some(yes),
            ..self
        }
    }

    /// Requests with (or without) an `Authorization` header only.
    #[must_use]
    pub fn authorized(self, yes: bool) -> Self {
        Self {
            authorized: Some(yes),
            ..self
        }
    }

    /// The `n`th matching request only, counted from 1.
    #[must_use]
    pub fn nth(self, n: usize) -> Self {
        self.after(n.saturating_sub(1)).times(1)
    }

    /// Not the first `n` matching requests.
    #[must_use]
    pub fn after(self, n: usize) -> Self {
        Self { skip: n, ..self }
    }

    /// At most `n` requests.
    #[must_use]
    pub fn times(self, n: usize) -> Self {
        Self {
            times: Some(n),
            ..self
        }
    }

    /// Whether a request is one of these; [`nth`](Self::nth), [`after`](Self::after) and [`times`](Self::times) apart.
    #[must_use]
    pub fn matches(&self, request: &Request) -> bool {
        self.method.as_ref().is_none_or(|m| *m == request.method)
            && self.kind.is_none_or(|k| k == request.kind)
            && self.path.as_ref().is_none_or(|p| {
                request.target.contains(p.as_str()) || request.path.contains(p.as_str())
            })
            && self.ranged.is_none_or(|r| r == request.range().is_some())
            && self
                .authorized
                .is_none_or(|a| a == request.authorization().is_some())
    }
}

/// A place in the body that would be sent (of a ranged answer: in the part that was asked for).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// After this many bytes.
    Byte(u64),
    /// After this part of it.
    Percent(u8),
}

impl At {
    pub(super) fn of(self, length: usize) -> usize {
        match self {
            Self::Byte(n) => usize::try_from(n).map_or(length, |n| n.min(length)),
            Self::Percent(p) => length * usize::from(p.min(100)) / 100,
        }
    }
}

/// What goes wrong. All rules that match a request apply, in the order they were made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Another answer; the request is read but not carried out.
    Answer(Answer),
    /// Another answer before the request's body is read; then the connection is closed.
    Early(Answer),
    /// The connection is closed without an answer, the request not carried out.
    Close,
    /// The connection is reset without an answer, the request not carried out.
    Reset,
    /// The connection is reset once this many bytes of the request's body are read.
    ResetUpload(u64),
    /// The request is carried out, and the connection closed without an answer.
    LoseAnswer,
    /// No answer, and the connection stays open until the client closes it or the server is dropped.
    Stall,
    /// The answer comes late.
    Delay(Duration),
    /// These bytes instead of an answer; then the connection is closed.
    Raw(Vec<u8>),
    /// A status line and headers without end.
    EndlessHeaders,
    /// One more header, of this many bytes.
    HugeHeader(usize),
    /// A body that never ends, its end told as given; with [`Framing::Length`], of 1 EiB by its header.
    Endless(Framing),
    /// The connection is reset here; the client has all bytes before.
    ResetAt(At),
    /// Nothing more comes, and the connection stays open until the client closes it or the server is dropped.
    StallAt(At),
    /// The connection is closed in good order here, short of what `Content-Length` or chunks promised.
    Truncate(At),
    /// The body comes in pieces of this many bytes with a pause after each.
    Drip(usize, Duration),
    /// The answer's status line and headers come in pieces of this many bytes with a pause after each.
    DripHead(usize, Duration),
    /// The request's body is read in pieces of about this many bytes with a pause after each, and never answered.
    Sip(usize, Duration),
    /// `Content-Length` says this and the body is what it is; then the connection is closed.
    Length(u64),
    /// How the end of the body is told.
    Framing(Framing),
    /// One bit of the byte at this offset of the body is the other way round.
    FlipBit(u64),
    /// Another body under the same headers, with its true length.
    Body(Vec<u8>),
    /// A header set to this, in place of one of its name.
    Header(String, String),
    /// A header left out.
    NoHeader(String),
    /// The request's `Range` is ignored: 200 and everything.
    IgnoreRange,
    /// A part that begins this many bytes further on (or before), under the headers of the part asked for.
    ShiftRange(i64),
    /// Only this many bytes of the part asked for, with its true `Content-Length` but the `Content-Range` asked for.
    ShortRange(u64),
    /// A redirect to a URL.
    Redirect(u16, String),
    /// A redirect to the same path and query at another origin: `http://user:pw@127.0.0.1:1`.
    RedirectTo(u16, String),
    /// A redirect to the very same URL.
    RedirectLoop(u16),
    /// This many redirects through this server before the answer.
    Hops(u16, usize),
}

/// A rule in force.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    on: On,
    action: Action,
    seen: usize,
    hits: Hits,
}

impl Rule {
    pub(super) fn new(on: On, action: Action) -> Self {
        Self {
            on,
            action,
            seen: 0,
            hits: Hits::default(),
        }
    }

    pub(super) fn hits(&self) -> Hits {
        self.hits.clone()
    }

    /// What a request is to suffer.
    pub(super) fn apply(&mut self, request: &Request) -> Option<Action> {
        if !self.on.matches(request) {
            return None;
        }
        // The requests a redirect of ours leads to are part of the one that was redirected.
        if matches!(self.action, Action::Hops(..)) && request.parameter("hop").is_some() {
            return Some(self.action.clone());
        }
        self.seen += 1;
        let active = self.seen > self.on.skip
            && self
                .on
                .times
                .is_none_or(|times| self.seen <= self.on.skip + times);
        active.then(|| {
            self.hits.0.fetch_add(1, Ordering::SeqCst);
            self.action.clone()
        })
    }
}

/// How often a rule has applied.
#[derive(Clone, Debug, Default)]
pub struct Hits(Arc<AtomicUsize>);

impl Hits {
    /// The number so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
