//! Where a daemon is looked for.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lithify_cancel::CancelToken;
use lithify_escape::Escaped;

use super::DaemonError;
use crate::config::Timeouts;

/// Where a daemon is looked for, and how long it may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DaemonOptions {
    /// `$DOCKER_HOST`: the only place looked at, if it is set.
    pub host: Option<String>,
    /// `$XDG_RUNTIME_DIR`, where daemons of a user have their sockets.
    pub runtime_dir: Option<PathBuf>,
    /// What `/run` and `/var/run` are taken relative to; `/` outside tests.
    pub root: PathBuf,
    /// How long nothing may come or be taken. Docker packs a whole image before the first byte of it comes, and unpacks
    /// one before it answers, so this is long: 10 minutes.
    pub idle: Duration,
    /// The least bytes per second of an archive, in both directions, over the time in [`idle`](Self::idle); 0 for any.
    /// Default 1024.
    pub min_rate: u64,
}

impl Default for DaemonOptions {
    /// As the process' environment says.
    fn default() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            host: set("DOCKER_HOST").map(|host| host.to_string_lossy().into_owned()),
            runtime_dir: set("XDG_RUNTIME_DIR").map(PathBuf::from),
            root: PathBuf::from("/"),
            idle: Duration::from_secs(600),
            min_rate: Timeouts::default().min_rate,
        }
    }
}

impl DaemonOptions {
    pub(super) fn timeouts(&self) -> Timeouts {
        Timeouts {
            idle: self.idle,
            answer: self.idle,
            min_rate: self.min_rate,
            window: self.idle,
            ..Timeouts::default()
        }
    }

    /// The socket of a daemon that is there: `DOCKER_HOST`, else Docker's, else Podman's; those of the system before the
    /// user's own for Docker, and the other way round for Podman, which users run themselves.
    pub(super) fn find(&self, cancel: &CancelToken) -> Result<PathBuf, DaemonError> {
        if let Some(host) = &self.host {
            let path = host.strip_prefix("unix://").filter(|p| p.starts_with('/'));
            let socket = path.map(PathBuf::from).ok_or_else(|| DaemonError::Host {
                host: without_user(host),
            })?;
            return match reach(&socket, cancel) {
                Ok(()) => Ok(socket),
                Err(e) => Err(failed(socket, e)),
            };
        }
        let places = self.places();
        let mut first = None;
        for socket in &places {
            match reach(socket, cancel) {
                Ok(()) => return Ok(socket.clone()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    log::debug!("{}: {e}", Escaped::path(socket));
                    first.get_or_insert(failed(socket.clone(), e));
                }
            }
        }
        Err(first.unwrap_or(DaemonError::NoSocket { sockets: places }))
    }

    fn places(&self) -> Vec<PathBuf> {
        let user = |name: &str| self.runtime_dir.as_ref().map(|dir| dir.join(name));
        [
            Some(self.root.join("var/run/docker.sock")),
            user("docker.sock"),
            user("podman/podman.sock"),
            Some(self.root.join("run/podman/podman.sock")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Connects, to see whether somebody is there. One who does not accept connections keeps those waiting who make them.
fn reach(socket: &Path, cancel: &CancelToken) -> io::Result<()> {
    let path = socket.to_owned();
    cancel
        .detached("lithify-connect", None, move || {
            UnixStream::connect(path).map(drop)
        })?
        .unwrap_or(Err(lithify_cancel::Cancelled.into()))
}

fn failed(socket: PathBuf, source: io::Error) -> DaemonError {
    match source.kind() {
        io::ErrorKind::NotFound => DaemonError::NoSocket {
            sockets: vec![socket],
        },
        io::ErrorKind::PermissionDenied => DaemonError::Permission { socket },
        _ => DaemonError::NotRunning { socket, source },
    }
}

/// A URL without who signs in by it.
fn without_user(host: &str) -> String {
    match (host.split_once("://"), host.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        (None, Some((_, rest))) => rest.to_owned(),
        (_, None) => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(host: Option<&str>) -> DaemonOptions {
        DaemonOptions {
            host: host.map(str::to_owned),
            runtime_dir: Some("/nowhere/user".into()),
            root: "/nowhere".into(),
            idle: Duration::from_secs(5),
            min_rate: 0,
        }
    }

    #[test]
    fn other_hosts_are_refused_without_their_passwords() {
        for host in [
            "tcp://u:secret@h:2375",
            "ssh://u@h",
            "unix://relative",
            "fd://",
            "x",
        ] {
            let error = options(Some(host)).find(&CancelToken::new()).unwrap_err();
            assert!(matches!(error, DaemonError::Host { .. }), "{error}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn every_place_is_named() {
        let text = options(None)
            .find(&CancelToken::new())
            .unwrap_err()
            .to_string();
        for place in [
            "/nowhere/var/run/docker.sock",
            "/nowhere/user/podman/podman.sock",
            "/nowhere/run/podman/podman.sock",
            "DOCKER_HOST",
        ] {
            assert!(text.contains(place), "{text}");
        }
        let one = options(Some("unix:///nowhere/x"))
            .find(&CancelToken::new())
            .unwrap_err();
        assert!(matches!(one, DaemonError::NoSocket { sockets } if sockets.len() == 1));
    }
}
