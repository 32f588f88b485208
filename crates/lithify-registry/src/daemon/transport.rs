//! HTTP over a unix socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use lithify_cancel::CancelToken;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, Transport};
use ureq::{Agent, Error, config::Config};

use super::USER_AGENT;
use crate::config::Timeouts;
use crate::http::connect;
use crate::http::pace::Pace;
use crate::http::socket::{Line, Socket};

/// An agent all of whose requests go to one socket.
pub(super) fn agent(socket: &Path, timeouts: &Timeouts, token: &CancelToken) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(USER_AGENT)
        .accept("")
        .accept_encoding("identity")
        .proxy(None)
        .timeout_per_read(Some(timeouts.idle))
        .timeout_per_write(Some(timeouts.idle))
        .timeout_recv_response(Some(timeouts.answer))
        .timeout_await_100(None)
        .input_buffer_size(256 << 10)
        .output_buffer_size(256 << 10)
        .build();
    let connector = UnixConnector {
        socket: socket.to_owned(),
        timeouts: *timeouts,
    };
    connect::with(config, connector, NoResolver, None, token)
}

/// Opens the socket, whatever the host is called.
#[derive(Debug)]
struct UnixConnector {
    socket: PathBuf,
    timeouts: Timeouts,
}

impl<In: Transport> Connector<In> for UnixConnector {
    type Out = Socket;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<In>,
    ) -> Result<Option<Socket>, Error> {
        let line = Line::new(UnixStream::connect(&self.socket)?)?;
        connect::take_up(&line, details, Pace::sending(&self.timeouts)).map(Some)
    }
}

/// There is nothing to look up.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        // The client wants one; nothing connects to it.
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(addresses)
    }
}
