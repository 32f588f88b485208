//! Why a daemon does not give or take an image.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lithify_escape::Escaped;

use super::LEAST_VERSION;
use crate::Failure;

/// What was being done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DaemonOperation {
    /// Finding out who it is.
    Ping,
    /// Asking about an image.
    Inspect(String),
    /// Getting an image.
    Save(String),
    /// Giving it one.
    Load,
}

impl fmt::Display for DaemonOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => f.write_str("asking for its version"),
            Self::Inspect(name) => write!(f, "asking about image `{}`", Escaped(name)),
            Self::Save(name) => write!(f, "saving image `{}`", Escaped(name)),
            Self::Load => f.write_str("loading an image"),
        }
    }
}

/// Why a daemon does not give or take an image. Its own words are printed escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// `DOCKER_HOST` is not a unix socket.
    #[error("DOCKER_HOST is `{}`, and only unix:///PATH is supported: forward the daemon's socket, for example with `ssh -L`, or `docker save` the image there", Escaped(.host))]
    Host {
        /// What was found, without a password.
        host: String,
    },
    /// There is no socket where one may be.
    #[error("no daemon was found: there is no socket at {}; start Docker or `podman system service`, or name its socket in DOCKER_HOST (unix:///PATH)", Paths(.sockets))]
    NoSocket {
        /// Where they were looked for.
        sockets: Vec<PathBuf>,
    },
    /// The socket may not be opened.
    #[error("the daemon's socket `{}` may not be opened: run this as root or as a member of the socket's group", Escaped::path(.socket))]
    Permission {
        /// The socket.
        socket: PathBuf,
    },
    /// Nothing listens at the socket.
    #[error("nothing answers at the daemon's socket `{}` ({source}): is the daemon running?", Escaped::path(.socket))]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No answer, or none that is HTTP.
    #[error("daemon at `{}`: {operation}: {source}", Escaped::path(.socket))]
    Transport {
        /// The socket.
        socket: PathBuf,
        /// What was being done.
        operation: DaemonOperation,
        /// What went wrong.
        source: Box<Failure>,
    },
    /// The archive ended before it was complete.
    #[error("daemon at `{}`: {operation}: it broke off after {received} bytes: {source}", Escaped::path(.socket))]
    BrokenOff {
        /// The socket.
        socket: PathBuf,
        /// What was being done.
        operation: DaemonOperation,
        /// Bytes that came.
        received: u64,
        /// What went wrong.
        source: Box<Failure>,
    },
    /// It speaks an API older than [`LEAST_VERSION`], or none with a version that is understood.
    #[error("daemon at `{}`: its API has version `{}`, and {LEAST_VERSION} or a later one of the same kind is needed: `docker save` the image and use docker-archive:FILE", Escaped::path(.socket), Escaped(.found))]
    Version {
        /// The socket.
        socket: PathBuf,
        /// What it says. Hostile input.
        found: String,
    },
    /// It has no such image.
    #[error("the daemon at `{}` has no image `{}`; `docker images` lists what it has", Escaped::path(.socket), Escaped(.name))]
    NoSuchImage {
        /// The socket.
        socket: PathBuf,
        /// The image asked for.
        name: String,
    },
    /// An answer that means no.
    #[error("daemon at `{}`: {operation}: it answers with status {status}{}", Escaped::path(.socket), Message(.message))]
    Status {
        /// The socket.
        socket: PathBuf,
        /// What was being done.
        operation: DaemonOperation,
        /// HTTP status.
        status: u16,
        /// Its words; may be empty. Hostile input.
        message: String,
    },
    /// It does not take the image.
    #[error("daemon at `{}`: it does not take the image{}", Escaped::path(.socket), Message(.message))]
    Load {
        /// The socket.
        socket: PathBuf,
        /// Its words. Hostile input.
        message: String,
    },
    /// An answer without what it must have, or with something else in its place.
    #[error("daemon at `{}`: {operation}: its answer has {problem}", Escaped::path(.socket))]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// What was being done.
        operation: DaemonOperation,
        /// What is missing or wrong.
        problem: &'static str,
    },
    /// What was to be sent cannot be read.
    #[error("what is to be loaded cannot be read: {source}")]
    Source {
        /// Why.
        source: io::Error,
    },
}

struct Paths<'a>(&'a [PathBuf]);

impl fmt::Display for Paths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, path) in self.0.iter().enumerate() {
            let before = if number == 0 { "" } else { ", " };
            write!(f, "{before}`{}`", Escaped::path(path))?;
        }
        Ok(())
    }
}

struct Message<'a>(&'a str);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            text => write!(f, ": {}", crate::said::Said(text)),
        }
    }
}
