//! What went wrong between here and a server.

mod proxy; // at a proxy

use std::fmt;
use std::io;

use super::pace::TooSlow;
use super::tls::TlsFailure;
pub(crate) use proxy::ProxyError;

/// Why there is no answer, or no whole one.
#[derive(Debug)]
pub struct Failure(Box<ureq::Error>);

impl Failure {
    /// Whether the server can be reached at all: a failed lookup or a refused connection is told at once, not tried
    /// again.
    pub(crate) fn is_unreachable(&self) -> bool {
        match &*self.0 {
            ureq::Error::HostNotFound => true,
            ureq::Error::Io(e) if is_lookup(e) => true,
            ureq::Error::Io(e) => matches!(
                e.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::AddrNotAvailable
            ),
            _ => false,
        }
    }

    /// What is wrong with the proxy on the way.
    fn proxy(&self) -> Option<&ProxyError> {
        match &*self.0 {
            ureq::Error::Other(e) => e.downcast_ref(),
            _ => None,
        }
    }

    /// Whether nothing came for too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.is_slowness()
            || self.proxy().is_some_and(ProxyError::is_timeout)
            || matches!(*self.0, ureq::Error::Timeout(_))
            || matches!(&*self.0, ureq::Error::Io(e) if e.kind() == io::ErrorKind::TimedOut)
    }

    /// What TLS has against the server.
    pub(crate) fn tls(&self) -> Option<&TlsFailure> {
        match &*self.0 {
            ureq::Error::Io(e) => e.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    /// Whether the server does not seem to speak TLS, or nobody leads to where it might.
    pub(crate) fn is_no_tls(&self) -> bool {
        match self.proxy() {
            Some(ProxyError::Refused { .. }) => return true,
            Some(ProxyError::Cut { source, .. }) => return source.is_no_tls(),
            _ => {}
        }
        match (self.tls().map(|tls| &tls.error), &*self.0) {
            (Some(rustls::Error::InvalidMessage(_)), _) => true,
            (Some(_), _) => false,
            // A server that does not understand the first message hangs up.
            (None, ureq::Error::Io(e)) => matches!(
                e.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
            ),
            _ => false,
        }
    }

    /// Whether a transfer went on, but hardly.
    pub(crate) fn is_slowness(&self) -> bool {
        matches!(&*self.0, ureq::Error::Io(e) if e.get_ref().is_some_and(|e| e.is::<TooSlow>()))
    }

    /// Whether trying again may help.
    pub(crate) fn is_passing(&self) -> bool {
        if self.tls().is_some() {
            return false;
        }
        match &*self.0 {
            ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => {
                !self.is_unreachable()
            }
            ureq::Error::ConnectionFailed => true,
            _ => self.proxy().is_some_and(ProxyError::is_passing),
        }
    }

    /// Whether it is an answer that did not come, or is none, as opposed to something on this side.
    pub(crate) fn is_answer(&self) -> bool {
        match &*self.0 {
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => true,
            ureq::Error::Io(e) if e.kind() == io::ErrorKind::InvalidData => true,
            _ => self.is_cut(),
        }
    }

    /// Whether a connection ended, or nothing came of it any more, before everything was there.
    pub(crate) fn is_cut(&self) -> bool {
        match &*self.0 {
            ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => true,
            ureq::Error::Io(e) => matches!(
                e.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::TimedOut
            ),
            _ => false,
        }
    }

    /// A server's yes to what it was not sent.
    pub(crate) fn unsent() -> Self {
        let error = io::Error::other("it stopped reading before it had everything");
        Self(Box::new(error.into()))
    }

    /// An answer that is somewhere else, and somewhere else again, until its time is over.
    pub(crate) fn late() -> Self {
        Self(Box::new(ureq::Error::Timeout(ureq::Timeout::RecvResponse)))
    }

    /// The failure behind an error of a body's reader.
    pub(crate) fn of_body(error: io::Error) -> Self {
        let is_ours = error.get_ref().is_some_and(|e| e.is::<ureq::Error>());
        match is_ours {
            true => match error.into_inner().map(|e| e.downcast::<ureq::Error>()) {
                Some(Ok(e)) => Self(e),
                _ => Self(Box::new(io::Error::other("the body cannot be read").into())),
            },
            false => Self(Box::new(error.into())),
        }
    }
}

impl Failure {
    /// The failure as an error of a body's reader, behind which [`of_body`](Self::of_body) finds it again.
    pub(crate) fn into_io(self) -> io::Error {
        match *self.0 {
            ureq::Error::Io(error) => error,
            other => io::Error::other(other),
        }
    }
}

/// Whether a name was looked up in vain. The standard library has a text for that, but no kind.
fn is_lookup(error: &io::Error) -> bool {
    let text = error.to_string();
    text.starts_with("failed to lookup address information") && !text.contains("Temporary failure")
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        // Errors of a connection are wrapped more than once on their way.
        match error {
            ureq::Error::Io(e) => Self::of_body_io(e),
            other => Self(Box::new(other)),
        }
    }
}

impl Failure {
    fn of_body_io(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|e| e.is::<ureq::Error>()) {
            Self::of_body(error)
        } else {
            Self(Box::new(ureq::Error::Io(error)))
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ureq::Timeout;

        if let Some(error) = self.proxy() {
            return error.fmt(f);
        }
        match &*self.0 {
            ureq::Error::HostNotFound => f.write_str("there is no host of that name"),
            ureq::Error::Timeout(Timeout::Connect) => f.write_str("no connection in time"),
            ureq::Error::Timeout(Timeout::Resolve) => {
                f.write_str("no answer of the name server in time")
            }
            ureq::Error::Timeout(Timeout::PerRead) => f.write_str("it sent nothing for too long"),
            ureq::Error::Timeout(Timeout::RecvResponse | Timeout::RecvBody) => {
                f.write_str("its whole answer was not there in time (`answer`)")
            }
            ureq::Error::Timeout(Timeout::PerWrite) => f.write_str("it took nothing for too long"),
            ureq::Error::LargeResponseHeader(..) => f.write_str("its answer has too many headers"),
            ureq::Error::Protocol(_) => f.write_str("its answer is no HTTP"),
            _ => match self.tls() {
                Some(e) => e.fmt(f),
                None => match &*self.0 {
                    ureq::Error::Io(e) => e.fmt(f),
                    other => other.fmt(f),
                },
            },
        }
    }
}

impl std::error::Error for Failure {}
