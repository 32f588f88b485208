//! Requests and answers, one hop at a time: no retries, no redirects, no credentials of its own.

pub(crate) mod coding; // what is compressed on its way
pub(crate) mod connect; // reaching a host
pub(crate) mod deadline; // answers that have to be there in time
pub(crate) mod early; // answers to what is not sent yet
mod failure; // why there is no answer
pub(crate) mod head; // the first lines of an answer
pub(crate) mod pace; // transfers that hardly go on
pub(crate) mod proxy; // the way out
mod proxy_address; // where it begins
pub(crate) mod retry; // and when to ask again
pub(crate) mod socket; // bytes to and from a host
pub(crate) mod tls; // certificates
pub(crate) mod url; // where to

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lithify_cancel::{CancelToken, Hook};

use ureq::http::{HeaderMap, HeaderValue, Method};
use ureq::{Agent, SendBody};

use crate::Secret;
use crate::config::Timeouts;
use deadline::Deadline;
use early::{Notes, Sendable};
pub use failure::Failure;
pub(crate) use proxy::Proxies;
use proxy::{Incoming, Passage};
use proxy_address::Proxy;
use tls::{Tls, TlsError, TlsFiles};
use url::Url;

/// What this program calls itself.
pub(crate) const USER_AGENT: &str = concat!("lithify/", env!("CARGO_PKG_VERSION"));

/// Bytes received at once at most. Four times as many as the decoder takes at once make fewer round trips between a fast
/// server and this side: a tenth of a build's time where both are on one machine.
const RECEIVED: usize = 1 << 20;

/// The least length of a body whose host is asked first whether it takes it.
const LARGE: u64 = 1 << 20;

/// How long that answer is waited for. Who knows the question answers at once (RFC 9110, section 10.1.1); who does not is
/// not asked again.
const CONSENT: Duration = Duration::from_secs(1);

/// How long the words of an answer are read for whose status says enough.
const COURTESY: Duration = Duration::from_secs(10);

/// How a host is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Profile {
    pub(crate) tls: TlsFiles,
    pub(crate) timeouts: Timeouts,
}

/// What is sent.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Url,
    /// The value of `Authorization`.
    pub(crate) authorization: Option<&'a Secret>,
    pub(crate) headers: &'a [(&'static str, String)],
    pub(crate) body: Body<'a>,
}

/// What is sent after the headers.
pub(crate) enum Body<'a> {
    Empty,
    Bytes(&'a [u8]),
    /// So many bytes from a reader.
    Reader(&'a mut dyn Read, u64),
}

/// An answer; its body is read on demand.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Whether it came before all of the request was sent.
    pub(crate) unsent: bool,
    /// Whether the host was asked before it was sent the body.
    pub(crate) asked: bool,
    headers: HeaderMap,
    body: Incoming,
    /// How long all of it may take, if it is short.
    time: Duration,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Response {
    fn through(self, passage: Passage) -> Self {
        Self {
            body: self.body.through(passage),
            ..self
        }
    }

    /// A header's value; one that is no text is none.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok()
    }

    /// All values of a header that are text.
    pub(crate) fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.headers.get_all(name).into_iter();
        values.filter_map(|v| std::str::from_utf8(v.as_bytes()).ok())
    }

    /// All values of a header as they came.
    pub(crate) fn header_bytes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let values = self.headers.get_all(name).into_iter();
        values.map(HeaderValue::as_bytes)
    }

    /// The address in `Location`, with what no URL has, and servers write all the same, percent-encoded.
    pub(crate) fn location(&self) -> Option<String> {
        self.header_bytes("location").next().map(url::repaired)
    }

    /// The length the answer says it has.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// The body as a whole, `limit` bytes at most and in the time there is for short ones; the flag says whether there were more.
    pub(crate) fn read(self, limit: u64) -> Result<(Vec<u8>, bool), Failure> {
        let (coding, _deadline) = (self.coding(), Deadline::after(self.time));
        let mut bytes = Vec::new();
        let mut limited = self.body.take(limit.saturating_add(1));
        limited.read_to_end(&mut bytes).map_err(Failure::of_body)?;
        let mut bytes = coding::decoded(bytes, coding, limit);
        let more = bytes.len() as u64 > limit;
        bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok((bytes, more))
    }

    /// What there is of the body, `limit` bytes at most: of an answer whose status says enough.
    pub(crate) fn read_leniently(self, limit: u64) -> Vec<u8> {
        let coding = self.coding();
        let _deadline = Deadline::after(self.time.min(COURTESY));
        let mut bytes = Vec::new();
        self.body.take(limit).read_to_end(&mut bytes).ok();
        coding::decoded(bytes, coding, limit)
    }

    /// Reads what is left of a short body, so that the connection can be used again.
    pub(crate) fn discard(self) {
        const SHORT: u64 = 64 << 10;
        // Another connection takes no longer.
        let _deadline = Deadline::after(self.time.min(Duration::from_secs(1)));
        // What cannot be read is not wanted anyway.
        io::copy(&mut self.body.take(SHORT), &mut io::sink()).ok();
    }
}

/// Connections, kept open between requests.
#[derive(Debug)]
pub(crate) struct Http {
    agents: Agents,
    proxies: Proxies,
    /// Hosts that are not asked whether they take a body: they leave the question without an answer, or refuse it.
    unasked: Mutex<HashSet<String>>,
    token: CancelToken,
    /// Closes the connections when the work is stopped.
    _hook: Hook,
}

/// By how a host is connected to, whether by TLS, and through which proxy.
type Agents = Arc<Mutex<HashMap<Key, Agent>>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    profile: Profile,
    is_https: bool,
    is_proxied: bool,
}

/// Values that are whole whatever happened to a thread that had the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Http {
    pub(crate) fn new(proxies: Proxies, token: &CancelToken) -> Self {
        let agents = Agents::default();
        let connected = Arc::clone(&agents);
        Self {
            agents,
            proxies,
            unasked: Mutex::default(),
            token: token.clone(),
            _hook: token.on_cancel(move || {
                for agent in std::mem::take(&mut *lock(&connected)).into_values() {
                    agent.shutdown();
                }
            }),
        }
    }

    /// Sends a host bodies without asking.
    pub(crate) fn never_ask(&self, url: &Url) {
        lock(&self.unasked).insert(url.authority().to_owned());
    }

    /// Sends one request and returns its answer, whatever its status.
    pub(crate) fn send(
        &self,
        profile: &Profile,
        request: Request<'_>,
    ) -> Result<Result<Response, Failure>, TlsError> {
        let url = request.url;
        let proxy = match self.proxies.to(url) {
            Ok(proxy) => proxy,
            Err(error) => return Ok(Err(ureq::Error::from(error).into())),
        };
        let agent = self.agent(profile, url.is_https(), proxy)?;
        let is_large = matches!(request.body, Body::Reader(_, length) if length >= LARGE);
        let ask = is_large && !lock(&self.unasked).contains(url.authority());
        let (answer, notes) = exchange(&agent, request, ask, profile.timeouts.answer);
        if notes.waited_in_vain {
            log::debug!("{}: no answer to `Expect: 100-continue`", url.authority());
            self.never_ask(url);
        }
        let answer = answer.and_then(|answer| match proxy {
            Some(proxy) if !url.is_https() => proxy.passed_on(answer, url.authority()),
            _ => Ok(answer),
        });
        let answer = answer.map_err(Failure::from);
        Ok(match proxy {
            Some(proxy) => {
                let passage = Passage::new(proxy, url.authority(), url.is_https());
                match answer {
                    Ok(answer) => Ok(answer.through(passage)),
                    Err(failure) => Err(passage.blamed(failure)),
                }
            }
            None => answer,
        })
    }

    fn agent(
        &self,
        profile: &Profile,
        https: bool,
        proxy: Option<&Arc<Proxy>>,
    ) -> Result<Agent, TlsError> {
        let mut agents = lock(&self.agents);
        let key = Key {
            profile: profile.clone(),
            is_https: https,
            is_proxied: proxy.is_some(),
        };
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(USER_AGENT)
            .accept("")
            // What is compressed is the content, not its way here.
            .accept_encoding("identity")
            .proxy(proxy.and_then(|proxy| proxy.socks()))
            .timeout_connect(Some(profile.timeouts.connect))
            .timeout_resolve(Some(profile.timeouts.connect))
            .timeout_per_read(Some(profile.timeouts.idle))
            .timeout_per_write(Some(profile.timeouts.idle))
            .timeout_recv_response(Some(profile.timeouts.answer))
            .timeout_await_100(Some(CONSENT))
            .input_buffer_size(RECEIVED)
            .max_idle_connections_per_host(8)
            .build();
        let tls = match https {
            true => Some(Tls::new(&profile.tls)?),
            false => None,
        };
        let agent = connect::agent(config, tls, proxy, &profile.timeouts, &self.token)?;
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

/// Sends a request; `ask` has the host say first whether it takes the body.
fn exchange(
    agent: &Agent,
    request: Request<'_>,
    ask: bool,
    time: Duration,
) -> (Result<Response, ureq::Error>, Notes) {
    Notes::begin();
    let answer = send(agent, request, ask);
    let notes = Notes::take();
    let answer = answer.map(|answer| Response {
        unsent: notes.unsent,
        time,
        ..answer
    });
    (answer, notes)
}

fn send(agent: &Agent, request: Request<'_>, ask: bool) -> Result<Response, ureq::Error> {
    let mut builder = ureq::http::Request::builder()
        .method(request.method)
        .uri(request.url.uri().clone());
    for (name, value) in request.headers {
        builder = builder.header(*name, value);
    }
    if let Some(secret) = request.authorization {
        let mut value = HeaderValue::try_from(secret.expose()).map_err(ureq::http::Error::from)?;
        value.set_sensitive(true);
        builder = builder.header("authorization", value);
    }
    if ask {
        builder = builder.header("expect", "100-continue");
    }
    let response = match request.body {
        Body::Empty => agent.run(builder.body(SendBody::none())?)?,
        Body::Bytes(mut bytes) => {
            let length = bytes.len();
            let builder = builder.header("content-length", length);
            agent.run(builder.body(SendBody::from_reader(&mut bytes))?)?
        }
        Body::Reader(reader, length) => {
            let builder = builder.header("content-length", length);
            let mut body = Sendable::new(reader, length);
            agent.run(builder.body(SendBody::from_reader(&mut body))?)?
        }
    };
    let (parts, body) = response.into_parts();
    Ok(Response {
        status: parts.status.as_u16(),
        unsent: false,
        asked: ask,
        headers: parts.headers,
        body: Incoming::new(body.into_reader()),
        time: Duration::MAX,
    })
}
