//! What goes wrong at a proxy, as opposed to what is behind it.

use std::sync::Arc;

use lithify_escape::Escaped;

use super::Failure;
use crate::http::Response;
use crate::http::proxy_address::Proxy;

/// Why a proxy does not lead on. Its name comes without its password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ProxyError {
    /// It cannot be spoken to.
    #[error("{proxy}: {source}; {}? Hosts that need no proxy belong in NO_PROXY or `no-proxy`", if .proxy.is_http() { "is it running, and its address right" } else { "is it running, its address right, and the host there (by its name, too, if the proxy looks that up)" })]
    Unreachable {
        proxy: Arc<Proxy>,
        source: Box<Failure>,
    },
    /// Nothing came of a connection through it in time.
    #[error(
        "{proxy}: no connection through it in time: either it does not answer, or what it leads to does not"
    )]
    Late { proxy: Arc<Proxy> },
    /// It wants to know who asks.
    #[error("{proxy}: {} (status 407)", if .proxy.authorization.is_some() { "it does not accept the user name and password in its address" } else { "it wants a user name and password: write them into its address, as http://USER:PASSWORD@HOST:PORT" })]
    SignIn { proxy: Arc<Proxy> },
    /// It does not lead there.
    #[error("{proxy}: it refuses to lead to {} (status {status}): it has to allow that host and port, or they belong in NO_PROXY or `no-proxy`", Escaped(.to))]
    Refused {
        proxy: Arc<Proxy>,
        to: String,
        status: u16,
    },
    /// It cannot reach what it should lead to.
    #[error("{proxy}: it does not reach {} (status {status})", Escaped(.to))]
    Gateway {
        proxy: Arc<Proxy>,
        to: String,
        status: u16,
    },
    /// What comes through it is no answer, which may be its own fault.
    #[error("{proxy}, asked for {}: {source}", Escaped(.to))]
    Broken {
        proxy: Arc<Proxy>,
        to: String,
        source: Box<Failure>,
    },
    /// A connection through it ended too early, which may be its own fault.
    #[error("through {proxy}: {source}")]
    Cut {
        proxy: Arc<Proxy>,
        source: Box<Failure>,
    },
    /// It is given addresses, and this side finds none.
    #[error("{proxy}: the name {} cannot be looked up here ({source}), and this kind of proxy is given addresses: write socks5h:// or socks4a:// to have the proxy look names up", Escaped(.to))]
    Name {
        proxy: Arc<Proxy>,
        to: String,
        source: Box<Failure>,
    },
    /// Its address is none.
    #[error(
        "the proxy in {origin} is no address such as http://proxy.example:3128 (http, https, socks4, socks4a, socks5 or socks5h, a port up to 65535); in a user name or password, write %XX for what is no letter or digit"
    )]
    Address { origin: &'static str },
    /// It answers in another language.
    #[error("{proxy}: what it answers is no HTTP: is that a proxy, and its address right?")]
    NoProxy { proxy: Arc<Proxy> },
}

impl Proxy {
    /// An answer to a request for a whole URL, unless the proxy made it.
    pub(crate) fn passed_on(
        self: &Arc<Self>,
        answer: Response,
        to: &str,
    ) -> Result<Response, ureq::Error> {
        // Only Squid says that it speaks for itself.
        let is_own = answer.status == 407
            || (answer.status >= 400 && answer.header("x-squid-error").is_some());
        match is_own && self.is_http() {
            true => Err(ProxyError::of_status(self, to, answer.status).into()),
            false => Ok(answer),
        }
    }
}

impl ProxyError {
    /// What a status it answers with means.
    pub(crate) fn of_status(proxy: &Arc<Proxy>, to: &str, status: u16) -> Self {
        let (proxy, to) = (Arc::clone(proxy), to.to_owned());
        match status {
            407 => Self::SignIn { proxy },
            500 | 502..=504 => Self::Gateway { proxy, to, status },
            _ => Self::Refused { proxy, to, status },
        }
    }

    /// Whether trying again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { source, .. }
            | Self::Broken { source, .. }
            | Self::Name { source, .. }
            | Self::Cut { source, .. } => source.is_passing(),
            Self::Late { .. } | Self::Gateway { .. } => true,
            Self::SignIn { .. }
            | Self::Refused { .. }
            | Self::NoProxy { .. }
            | Self::Address { .. } => false,
        }
    }

    /// Whether it is that nothing came for too long.
    pub(crate) fn is_timeout(&self) -> bool {
        match self {
            Self::Unreachable { source, .. }
            | Self::Broken { source, .. }
            | Self::Cut { source, .. } => source.is_timeout(),
            Self::Late { .. } => true,
            _ => false,
        }
    }
}

impl From<ProxyError> for ureq::Error {
    fn from(error: ProxyError) -> Self {
        Self::Other(Box::new(error))
    }
}
