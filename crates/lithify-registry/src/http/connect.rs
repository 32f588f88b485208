//! Making connections. Looking up a name, reaching a host and agreeing on a cipher are calls that nobody can interrupt:
//! they are made on threads of their own, which are left behind when the work is stopped.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use lithify_cancel::{CancelToken, Stopped};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, NextTimeout, ShutdownHandle, SocksConnector, Transport,
};

use super::early::Attentive;
use super::pace::Pace;
use super::proxy::{Names, ProxyNames, Reached, Socks, Through};
use super::proxy_address::Proxy;
use super::socket::{Line, Socket};
use super::tls::{Encrypt, Tls, TlsError};
use crate::config::Timeouts;

/// The least time one of several addresses of a host is given.
const LEAST: Duration = Duration::from_millis(50);

/// The agent of a configuration, whose requests end when the work is stopped, and go through a proxy if there is one.
pub(crate) fn agent(
    config: Config,
    tls: Option<Tls>,
    proxy: Option<&Arc<Proxy>>,
    timeouts: &Timeouts,
    token: &CancelToken,
) -> Result<ureq::Agent, TlsError> {
    let via_socks = proxy.filter(|proxy| !proxy.is_http());
    let via_http = proxy.filter(|proxy| proxy.is_http());
    let chain = ()
        .chain(Socks {
            inner: SocksConnector::default(),
            proxy: via_socks.cloned(),
        })
        .chain(Reached {
            inner: Tcp(*timeouts),
            proxy: via_http.cloned(),
        })
        .chain(Through::new(via_http)?)
        .chain(Encrypt(tls));
    let names = DefaultResolver::default();
    let made = match via_http.cloned() {
        Some(via) => with(
            config,
            chain,
            ProxyNames { proxy: via, names },
            proxy,
            token,
        ),
        None => {
            let proxy_of_names = via_socks.cloned();
            let names = Names {
                proxy: proxy_of_names,
                names,
            };
            with(config, chain, names, proxy, token)
        }
    };
    Ok(made)
}

/// The agent that makes its connections in a way of its own.
pub(crate) fn with(
    config: Config,
    connector: impl Connector<()>,
    resolver: impl Resolver,
    proxy: Option<&Arc<Proxy>>,
    token: &CancelToken,
) -> ureq::Agent {
    let resolver = Leaving {
        inner: Arc::new(resolver),
        proxy: proxy.cloned(),
        token: token.clone(),
    };
    let connector = Abandonable {
        inner: Arc::new(connector),
        resolver: resolver.clone(),
        proxy: proxy.cloned(),
        token: token.clone(),
    };
    ureq::Agent::with_parts(config, connector, resolver)
}

thread_local! {
    /// The line of the connection this thread has made last.
    static MADE: RefCell<Weak<Line>> = const { RefCell::new(Weak::new()) };
}

/// Takes a line into use: it ends with its agent, and who wraps it is told of it.
pub(crate) fn take_up(
    line: &Arc<Line>,
    details: &ConnectionDetails<'_>,
    pace: Pace,
) -> Result<Socket, Error> {
    let handle = Arc::downgrade(line) as Weak<dyn ShutdownHandle>;
    (details.register_shutdown)(handle)?;
    MADE.set(Arc::downgrade(line));
    Ok(Socket::new(line, details.config, pace))
}

/// Why a call did not come to its end.
fn stopped(stopped: Stopped, timeout: NextTimeout) -> Error {
    match stopped {
        Stopped::TimedOut => Error::Timeout(timeout.reason),
        // What is reported is that the work was stopped.
        Stopped::Cancelled => io::Error::from(lithify_cancel::Cancelled).into(),
        Stopped::Gone => io::Error::other("the thread that connects panicked").into(),
    }
}

/// What was waited for in vain on the way through a proxy.
fn blamed(proxy: Option<&Arc<Proxy>>, error: Error) -> Error {
    match proxy {
        Some(proxy) => proxy.late(error),
        None => error,
    }
}

fn until(timeout: NextTimeout) -> Option<Instant> {
    match timeout.after.is_not_happening() {
        true => None,
        false => Instant::now().checked_add(*timeout.after),
    }
}

/// Connects on a thread of its own.
#[derive(Debug)]
struct Abandonable<C, R> {
    inner: Arc<C>,
    resolver: Leaving<R>,
    proxy: Option<Arc<Proxy>>,
    token: CancelToken,
}

impl<C: Connector<()>, R: Resolver> Connector<()> for Abandonable<C, R> {
    type Out = Attentive;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Attentive>, Error> {
        let (inner, resolver) = (Arc::clone(&self.inner), self.resolver.clone());
        let (uri, config) = (details.uri.clone(), details.config.clone());
        let (addrs, now, timeout) = (details.addrs.clone(), details.now, details.timeout);
        let (request_level, clock) = (details.request_level, Arc::clone(&details.current_time));
        let run_connector = Arc::clone(&details.run_connector);
        let register_shutdown = Arc::clone(&details.register_shutdown);
        let made = self
            .token
            .detached("lithify-connect", until(timeout), move || {
                let details = ConnectionDetails {
                    uri: &uri,
                    addrs,
                    config: &config,
                    request_level,
                    resolver: &resolver,
                    now,
                    timeout,
                    current_time: clock,
                    run_connector,
                    register_shutdown,
                };
                let transport = inner.connect(&details, None)?;
                let line = MADE.take().upgrade();
                let boxed = transport.map(|t| Box::new(t) as Box<dyn Transport>);
                Ok::<_, Error>(boxed.map(|t| (t, line)))
            })?;
        let made = made
            .map_err(|why| stopped(why, timeout))
            .flatten()
            .map_err(|e| blamed(self.proxy.as_ref(), e))?;
        let Some((transport, line)) = made else {
            return Ok(None);
        };
        Ok(Some(Attentive::new(transport, line)))
    }
}

/// Looks names up on a thread of its own.
#[derive(Debug)]
struct Leaving<R> {
    inner: Arc<R>,
    proxy: Option<Arc<Proxy>>,
    token: CancelToken,
}

impl<R> Clone for Leaving<R> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            proxy: self.proxy.clone(),
            token: self.token.clone(),
        }
    }
}

impl<R: Resolver> Resolver for Leaving<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (inner, uri, config) = (Arc::clone(&self.inner), uri.clone(), config.clone());
        let found = self
            .token
            .detached("lithify-resolve", until(timeout), move || {
                // The time is kept out here.
                inner.resolve(&uri, &config, NextTimeout::default())
            })?;
        found
            .map_err(|why| stopped(why, timeout))
            .flatten()
            .map_err(|e| blamed(self.proxy.as_ref(), e))
    }
}

/// Opens a TCP connection, unless there is one already.
#[derive(Debug)]
struct Tcp(Timeouts);

impl<In: Transport> Connector<In> for Tcp {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Box<dyn Transport>>, Error> {
        if let Some(chained) = chained {
            return Ok(Some(Box::new(chained)));
        }
        let until = until(details.timeout);
        let count = details.addrs.len();
        let mut failed = Error::HostNotFound;
        for (index, address) in details.addrs.iter().enumerate() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            // Half of what is left for each but the last: one that does not answer must not use up the others' time.
            let time = match (left, index + 1 == count) {
                (Some(left), false) => Some((left / 2).max(LEAST)),
                (left, _) => left,
            };
            let connected = match time {
                Some(time) if time.is_zero() => Err(io::ErrorKind::TimedOut.into()),
                Some(time) => TcpStream::connect_timeout(address, time),
                None => TcpStream::connect(address),
            };
            match connected {
                Ok(stream) => {
                    stream.set_nodelay(details.config.no_delay())?;
                    let line = Line::new(stream)?;
                    let socket = take_up(&line, details, Pace::sending(&self.0))?;
                    return Ok(Some(Box::new(socket)));
                }
                Err(e) => {
                    failed = match e.kind() {
                        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                            Error::Timeout(details.timeout.reason)
                        }
                        io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::HostUnreachable
                        | io::ErrorKind::NetworkUnreachable
                        | io::ErrorKind::AddrNotAvailable => e.into(),
                        _ => return Err(e.into()),
                    };
                }
            }
        }
        Err(failed)
    }
}
