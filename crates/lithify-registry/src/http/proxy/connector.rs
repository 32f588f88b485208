//! Connections through a proxy.

use std::sync::Arc;
use std::time::Instant;

use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, SocksConnector, Transport,
};
use ureq::{Error, config::Config};

use super::absolute::Absolute;
use crate::http::USER_AGENT;
use crate::http::failure::ProxyError;
use crate::http::proxy_address::Proxy;
use crate::http::tls::{Tls, TlsError, TlsFiles};

/// Most bytes of a proxy's answer to `CONNECT`.
const MAX_ANSWER: usize = 64 << 10;

impl Proxy {
    /// An error before anything came through it.
    fn unreachable(self: &Arc<Self>, error: Error) -> Error {
        match error {
            // What is wrapped already says more.
            Error::Other(_) => error,
            // Who keeps the time of all of it may be the first to notice.
            Error::Timeout(_) => self.late(error),
            error => ProxyError::Unreachable {
                proxy: Arc::clone(self),
                source: Box::new(error.into()),
            }
            .into(),
        }
    }

    /// An error of looking up a host here that is to be reached through it.
    fn unfound(self: &Arc<Self>, to: &str, error: Error) -> Error {
        match error {
            Error::HostNotFound | Error::Io(_) => ProxyError::Name {
                proxy: Arc::clone(self),
                to: to.to_owned(),
                source: Box::new(error.into()),
            }
            .into(),
            other => other,
        }
    }

    /// An error of a connection that may be the proxy's or of what is behind it.
    pub(crate) fn late(self: &Arc<Self>, error: Error) -> Error {
        match error {
            Error::Timeout(_) => ProxyError::Late {
                proxy: Arc::clone(self),
            }
            .into(),
            other => other,
        }
    }
}

/// Looks up where the proxy is, whatever is asked for: what is behind it is for the proxy to look up.
#[derive(Debug)]
pub(crate) struct ProxyNames {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) names: DefaultResolver,
}

impl Resolver for ProxyNames {
    fn resolve(
        &self,
        _: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let scheme = if self.proxy.is_https() {
            "https"
        } else {
            "http"
        };
        let address = format!("{scheme}://{}/", self.proxy.authority());
        let uri = address.parse::<Uri>().map_err(|_| Error::InvalidProxyUrl)?;
        self.names
            .resolve(&uri, config, timeout)
            .map_err(|e| self.proxy.unreachable(e))
    }
}

/// Looks names up here: those of hosts, and of the proxy that is given their addresses, if there is one.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) proxy: Option<Arc<Proxy>>,
    pub(crate) names: DefaultResolver,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.names.resolve(uri, config, timeout);
        match &self.proxy {
            Some(proxy) if uri.authority() != proxy.parsed.uri().authority() => {
                found.map_err(|e| proxy.unfound(uri.host().unwrap_or_default(), e))
            }
            _ => found,
        }
    }
}

/// Tells failures to reach a proxy from others.
#[derive(Debug)]
pub(crate) struct Reached<C> {
    pub(crate) inner: C,
    pub(crate) proxy: Option<Arc<Proxy>>,
}

impl<In: Transport, C: Connector<In>> Connector<In> for Reached<C> {
    type Out = C::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<C::Out>, Error> {
        self.inner
            .connect(details, chained)
            .map_err(|e| match &self.proxy {
                Some(proxy) => proxy.unreachable(e),
                None => e,
            })
    }
}

/// The way through a proxy that speaks SOCKS.
pub(crate) type Socks = Reached<SocksConnector>;

/// The way through a proxy that speaks HTTP.
#[derive(Debug)]
pub(crate) struct Through {
    proxy: Option<Arc<Proxy>>,
    /// How the proxy itself is spoken to, if it is encrypted.
    tls: Option<Tls>,
}

impl Through {
    pub(crate) fn new(proxy: Option<&Arc<Proxy>>) -> Result<Self, TlsError> {
        let proxy = proxy.filter(|proxy| proxy.is_http()).cloned();
        let is_https = proxy.as_ref().is_some_and(|proxy| proxy.is_https());
        let tls = match is_https {
            true => Some(Tls::new(&TlsFiles::default())?),
            false => None,
        };
        Ok(Self { proxy, tls })
    }
}

impl<In: Transport> Connector<In> for Through {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Box<dyn Transport>>, Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        let mut transport: Box<dyn Transport> = Box::new(transport);
        let Some(proxy) = &self.proxy else {
            return Ok(Some(transport));
        };
        if let Some(tls) = &self.tls {
            let encrypted = tls
                .encrypt(transport, proxy.parsed.host(), &proxy.authority(), details)
                .map_err(|e| proxy.unreachable(e))?;
            transport = Box::new(encrypted);
        }
        if !details.needs_tls() {
            let authority = details.uri.authority().map_or("", |a| a.as_str());
            let requests = Absolute::new(transport, authority, proxy.authorization.as_ref());
            return Ok(Some(Box::new(requests)));
        }
        tunnel(proxy, transport.as_mut(), details).map_err(|e| proxy.unreachable(e))?;
        Ok(Some(Box::new(Tunnel(transport))))
    }
}

/// Asks for a tunnel (RFC 9110, section 9.3.6).
fn tunnel(
    proxy: &Arc<Proxy>,
    transport: &mut dyn Transport,
    details: &ConnectionDetails<'_>,
) -> Result<(), Error> {
    let port = details.uri.port_u16().unwrap_or(443);
    let to = format!("{}:{port}", details.uri.host().unwrap_or(""));
    let mut head = format!("CONNECT {to} HTTP/1.1\r\nhost: {to}\r\nuser-agent: {USER_AGENT}\r\n");
    if let Some(secret) = &proxy.authorization {
        head += &format!("proxy-authorization: {}\r\n", secret.expose());
    }
    head += "\r\n";
    let started = Instant::now();
    let left = || NextTimeout {
        after: match details.timeout.after.is_not_happening() {
            true => details.timeout.after,
            false => details
                .timeout
                .after
                .saturating_sub(started.elapsed())
                .into(),
        },
        ..details.timeout
    };
    let output = transport.buffers().output();
    output[..head.len()].copy_from_slice(head.as_bytes());
    transport.transmit_output(head.len(), left())?;
    let no_proxy = || ProxyError::NoProxy {
        proxy: Arc::clone(proxy),
    };
    loop {
        let more = transport.await_input(left())?;
        let input = transport.buffers().input();
        let end = input.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let Some(end) = end else {
            let starts = input.len().min(7);
            if input[..starts] != b"HTTP/1."[..starts] || input.len() > MAX_ANSWER {
                return Err(no_proxy().into());
            }
            if !more {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            continue;
        };
        let status = input
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok())
            .ok_or_else(no_proxy)?;
        transport.buffers().input_consume(end + 4);
        return match status {
            200..=299 => Ok(()),
            _ => Err(ProxyError::of_status(proxy, &to, status).into()),
        };
    }
}

/// What leads through a proxy: that may be encrypted, but what is behind it is not yet.
#[derive(Debug)]
struct Tunnel(Box<dyn Transport>);

impl Transport for Tunnel {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        false
    }
}
