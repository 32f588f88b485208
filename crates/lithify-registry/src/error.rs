//! Why a registry does not give or take what it should.

use std::fmt;
use std::time::Duration;

use lithify_digest::Digest;

use crate::auth;
use crate::config::ConfigError;
use crate::http::tls::TlsError;
use crate::http::url::UrlError;
use crate::http::{Failure, url::Url};

/// What was being done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Finding out whether there is a registry.
    Ping,
    /// Asking for a token.
    Token,
    /// Reading or looking for a manifest, by its tag or digest.
    Manifest(String),
    /// Reading or looking for a blob.
    Blob(Box<Digest>),
    /// Uploading a blob.
    Upload(Box<Digest>),
    /// Storing a manifest, by its tag or digest.
    PutManifest(String),
    /// Listing tags.
    Tags,
    /// Listing what refers to a manifest.
    Referrers(Box<Digest>),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => f.write_str("asking whether it is a registry"),
            Self::Token => f.write_str("asking for a token"),
            Self::Manifest(name) => write!(f, "manifest {name}"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Upload(digest) => write!(f, "upload of {digest}"),
            Self::PutManifest(name) => write!(f, "storing manifest {name}"),
            Self::Tags => f.write_str("listing tags"),
            Self::Referrers(digest) => write!(f, "referrers of {digest}"),
        }
    }
}

/// Why a registry does not give or take what it should. Words of the registry are printed escaped; credentials and
/// the queries of URLs never are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No answer, after every retry that made sense.
    #[error("{host}: {operation}: {source}{}", Tries(*.tries))]
    Transport {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// How often it was tried.
        tries: u32,
        /// What went wrong last.
        source: Failure,
    },
    /// Certificates cannot be used.
    #[error("{host}: {source}")]
    Tls {
        /// The host they are for.
        host: String,
        /// What is wrong.
        source: Box<TlsError>,
    },
    /// An answer that means no.
    #[error("{host}: {operation}: {}{}{}{}", Status(*.status), Message(.message), Tries(*.tries), Advice(operation, *.status))]
    Status {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// HTTP status.
        status: u16,
        /// The registry's own words, `CODE: message`; may be empty. Hostile input.
        message: String,
        /// How often it was tried.
        tries: u32,
    },
    /// An answer that asks for credentials, but not for which; none were sent.
    #[error("{host}: {operation}: it wants credentials, without saying which (401 without `WWW-Authenticate`), so none were sent{}", Message(.message))]
    Unauthorized {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// The registry's own words; may be empty. Hostile input.
        message: String,
    },
    /// A place the registry sends us to, and which wants to know who we are.
    #[error(
        "{host}: {operation}: it sends us to {to}, which wants credentials; none go to a place that only {host} names; if you have some for it, name the image there"
    )]
    SignInElsewhere {
        /// The registry.
        host: String,
        /// What was being done.
        operation: Operation,
        /// Where it sends us.
        to: Url,
    },
    /// No such manifest, blob or repository.
    #[error("{host}: {operation}: not there{}", Message(.message))]
    NotFound {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// The registry's own words; may be empty. Hostile input.
        message: String,
    },
    /// The registry wants a longer pause than is allowed for.
    #[error("{host}: {operation}: it asks to come back in {} s, at most {} s are waited; try again later", .after.as_secs(), .longest.as_secs())]
    RetryLater {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// The pause asked for.
        after: Duration,
        /// The longest pause made.
        longest: Duration,
    },
    /// Signing in.
    #[error(transparent)]
    Auth(Box<auth::Error>),
    /// What it asks to be told cannot be understood.
    #[error("{host}: {source}")]
    Challenge {
        /// The registry.
        host: String,
        /// Why.
        source: auth::ChallengeError,
    },
    /// The configured proxy.
    #[error("the configured `proxy` is no URL such as http://proxy.example:3128")]
    Proxy,
    /// More redirects than any real registry needs, or one in a circle.
    #[error("{host}: {operation}: more than {limit} redirects, the last to {last}")]
    Redirects {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// Redirects followed at most.
        limit: usize,
        /// Where the last one led.
        last: Url,
    },
    /// A redirect or upload address that is not followed.
    #[error("{host}: {operation}: it sends us on, but not to an address that is used: {source}")]
    Location {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// What is wrong with the address.
        source: LocationError,
    },
    /// The answer has another length than the descriptor says.
    #[error("{host}: {operation}: it would send {found} bytes, the descriptor says {expected}")]
    Length {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// By the descriptor.
        expected: u64,
        /// By the answer.
        found: u64,
    },
    /// More bytes came than the descriptor says.
    #[error("{host}: {operation}: it sends more than the {expected} bytes the descriptor says")]
    TooLong {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// By the descriptor.
        expected: u64,
    },
    /// Content that is not what its digest says.
    #[error("{host}: {operation}: its content has digest {found}")]
    Digest {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// The digest of what came.
        found: Box<Digest>,
    },
    /// A document larger than allowed.
    #[error("{host}: {operation}: more than {limit} bytes (limit `{option}`)")]
    TooLarge {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// The limit.
        limit: u64,
        /// Its name.
        option: &'static str,
    },
    /// An answer without what it must have, or with something else in its place.
    #[error("{host}: {operation}: its answer has {problem}")]
    Answer {
        /// The host.
        host: String,
        /// What was being done.
        operation: Operation,
        /// What is missing or wrong.
        problem: &'static str,
    },
    /// The configuration.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// What was to be sent cannot be read.
    #[error("{operation}: cannot read what is to be sent: {source}")]
    Source {
        /// What was being done.
        operation: Operation,
        /// Why.
        source: std::io::Error,
    },
    /// It was stopped on request.
    #[error("stopped on request")]
    Cancelled,
}

/// Why an address a registry sends us to is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// There is none.
    #[error(
        "its answer (status {status}) has no `Location`, which is expected to say where to go on: that is to be mended there, or in what stands before it"
    )]
    Missing {
        /// HTTP status.
        status: u16,
    },
    /// It is no URL that can be used.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// From an encrypted connection to one that is not.
    #[error("{to} is not encrypted, and {from} is")]
    Downgrade {
        /// Where we were.
        from: Url,
        /// Where it leads.
        to: Url,
    },
    /// From a registry elsewhere to this machine.
    #[error("{to} is this machine, and {from} is not")]
    Loopback {
        /// Where we were.
        from: Url,
        /// Where it leads.
        to: Url,
    },
}

impl Error {
    /// Whether what came is not what a digest or size promises, as opposed to absent or unreachable.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        matches!(
            self,
            Self::Length { .. } | Self::TooLong { .. } | Self::Digest { .. }
        )
    }

    /// Whether the registry did not give what it was asked for, or nothing that can be used: where it is something that is not
    /// needed, the rest can go on without.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Transport { .. }
            | Self::Status { .. }
            | Self::Unauthorized { .. }
            | Self::SignInElsewhere { .. }
            | Self::NotFound { .. }
            | Self::RetryLater { .. }
            | Self::Auth(_)
            | Self::Challenge { .. }
            | Self::Redirects { .. }
            | Self::Location { .. }
            | Self::TooLarge { .. }
            | Self::Answer { .. } => true,
            Self::Tls { .. }
            | Self::Proxy
            | Self::Length { .. }
            | Self::TooLong { .. }
            | Self::Digest { .. }
            | Self::Config(_)
            | Self::Source { .. }
            | Self::Cancelled => false,
        }
    }

    /// How often it was tried, as far as trying was of use.
    pub(crate) fn tries(&self) -> u32 {
        match self {
            Self::Transport { tries, .. } | Self::Status { tries, .. } => *tries,
            _ => 1,
        }
    }

    /// Whether it is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}

impl From<auth::Error> for Error {
    fn from(error: auth::Error) -> Self {
        Self::Auth(Box::new(error))
    }
}

impl From<Error> for std::io::Error {
    /// The error as a reader returns it: [`source_of`] finds it again.
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Transport { source, .. } if source.is_timeout() => std::io::ErrorKind::TimedOut,
            Error::NotFound { .. } => std::io::ErrorKind::NotFound,
            e if e.is_verification() => std::io::ErrorKind::InvalidData,
            _ => std::io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// The registry's error behind an error of a blob's reader.
#[must_use]
pub fn source_of(error: &std::io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

struct Tries(u32);

impl fmt::Display for Tries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            n => write!(f, " (tried {n} times)"),
        }
    }
}

struct Message<'a>(&'a str);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            text => write!(f, " ({})", crate::said::Said(text)),
        }
    }
}

/// What to do about a status.
struct Advice<'a>(&'a Operation, u16);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(Operation::Upload(_), 413) => {
                f.write_str("; send it in smaller pieces (`--chunk`)")
            }
            _ => Ok(()),
        }
    }
}

struct Status(u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            401 => f.write_str("the credentials are not accepted"),
            403 => f.write_str("access is denied"),
            429 => f.write_str("it has had too many requests"),
            405 => f.write_str("it does not allow that"),
            413 => f.write_str("that is more than it takes at once"),
            other => write!(f, "it answers with status {other}"),
        }
    }
}
