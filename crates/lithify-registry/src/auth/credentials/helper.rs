//! Credential helpers: `docker-credential-NAME get|store|erase` (docker/docker-credential-helpers).
//!
//! The name comes from a file, so it may not lead to another program: letters, digits, `.`, `_` and `-` only, found on
//! `PATH` only, run without a shell. A helper may hang (a locked keychain that asks on a screen no one sees) or talk
//! without end; both are bounded, and a helper that is given up is killed with its whole process group.

use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lithify_cancel::{CancelToken, Cancelled, Stopped};

use super::error::HelperReply;
use super::{Credential, CredentialsError};
use crate::Secret;
use crate::auth::json::{JsonError, Members, quote};
use crate::auth::sendable;

/// How long a helper may take if nothing else is said.
pub const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes read of what a helper prints.
const MAX_OUTPUT: usize = 64 << 10;
/// Most characters of a helper's message that are shown.
const MAX_MESSAGE: usize = 300;
/// What helpers print when they have nothing, with a status that is not zero (docker-credential-helpers,
/// `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that says the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// How often a helper that closed its output is asked whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// A helper by name.
#[derive(Clone, Debug)]
pub(crate) struct Helper {
    name: String,
    file: PathBuf,
    path: Option<OsString>,
    limit: Duration,
    cancel: CancelToken,
}

/// What a helper has for a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Credential(Credential),
    Nothing,
}

struct Output {
    success: bool,
    /// How it ended, in words.
    status: String,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Helper {
    /// A helper named by `file`, to be found on `path`.
    pub(crate) fn new(
        file: &Path,
        name: String,
        path: Option<OsString>,
        limit: Duration,
        cancel: CancelToken,
    ) -> Result<Self, CredentialsError> {
        if !is_name(&name) {
            return Err(CredentialsError::HelperName {
                path: file.to_owned(),
                name,
            });
        }
        Ok(Self {
            name,
            file: file.to_owned(),
            path,
            limit,
            cancel,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn get(&self, server: &str) -> Result<Reply, CredentialsError> {
        let output = self.run("get", server.as_bytes().to_vec())?;
        if !output.success {
            if says_not_found(&output) {
                return Ok(Reply::Nothing);
            }
            return Err(self.failed("get", &output, None));
        }
        self.parse(&output.stdout)
            .map_err(|reason| CredentialsError::HelperReply {
                name: self.name.clone(),
                reason,
            })
    }

    pub(crate) fn store(
        &self,
        server: &str,
        username: &str,
        secret: &Secret,
    ) -> Result<(), CredentialsError> {
        let payload = format!(
            "{{\"ServerURL\":{},\"Username\":{},\"Secret\":{}}}",
            quote(server),
            quote(username),
            quote(secret.expose())
        );
        let output = self.run("store", payload.into_bytes())?;
        if !output.success {
            return Err(self.failed("store", &output, Some(secret)));
        }
        Ok(())
    }

    /// Whether there was something to erase.
    pub(crate) fn erase(&self, server: &str) -> Result<bool, CredentialsError> {
        let output = self.run("erase", server.as_bytes().to_vec())?;
        if !output.success && !says_not_found(&output) {
            return Err(self.failed("erase", &output, None));
        }
        Ok(output.success)
    }

    fn parse(&self, stdout: &[u8]) -> Result<Reply, HelperReply> {
        let json = |field, source| HelperReply::Json { field, source };
        let text = std::str::from_utf8(stdout).map_err(|_| {
            json(
                "output",
                JsonError::Type {
                    expected: "UTF-8 text",
                },
            )
        })?;
        let members = Members::parse(text).map_err(|source| json("output", source))?;
        let string = |name| {
            members
                .string(name)
                .map(Option::unwrap_or_default)
                .map_err(|source| json(name, source))
        };
        let (username, secret) = (string("Username")?, string("Secret")?);
        if secret.is_empty() && (username.is_empty() || username == TOKEN_USER) {
            return Ok(Reply::Nothing);
        }
        if username == TOKEN_USER {
            if !sendable(&secret) {
                return Err(HelperReply::Characters { field: "Secret" });
            }
            return Ok(Reply::Credential(Credential::IdentityToken(Secret::new(
                secret,
            ))));
        }
        if username.contains(':') || username.contains(char::is_control) {
            return Err(HelperReply::Characters { field: "Username" });
        }
        Ok(Reply::Credential(Credential::Basic {
            username,
            password: Secret::new(secret),
        }))
    }

    fn program(&self) -> Result<PathBuf, CredentialsError> {
        let file = format!(
            "docker-credential-{}{}",
            self.name,
            std::env::consts::EXE_SUFFIX
        );
        let path = self.path.clone().unwrap_or_default();
        std::env::split_paths(&path)
            // A relative entry would run what lies in the directory we happen to be in.
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(&file))
            .find(|program| is_program(program))
            .ok_or_else(|| CredentialsError::HelperMissing {
                path: self.file.clone(),
                name: self.name.clone(),
            })
    }

    fn run(&self, action: &'static str, input: Vec<u8>) -> Result<Output, CredentialsError> {
        log::debug!("asking docker-credential-{} to {action}", self.name);
        let mut command = Command::new(self.program()?);
        command
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|source| self.io(action, source))?;
        match self.converse(action, &mut child, input) {
            Ok(output) => Ok(output),
            Err(error) => {
                kill(&mut child);
                Err(error)
            }
        }
    }

    /// Feeds the helper and waits for it. The threads end when the pipes close; after a kill no one waits for them,
    /// because a descendant that left the group could hold a pipe open for ever.
    fn converse(
        &self,
        action: &'static str,
        child: &mut Child,
        input: Vec<u8>,
    ) -> Result<Output, CredentialsError> {
        let failed = |source| self.io(action, source);
        let timeout = || CredentialsError::HelperTimeout {
            name: self.name.clone(),
            action,
            limit: self.limit,
        };
        let deadline = Instant::now() + self.limit;
        if let Some(mut stdin) = child.stdin.take() {
            spawn(move || {
                // A helper that does not read its input tells us more by its status than by a broken pipe.
                if let Err(error) = stdin.write_all(&input) {
                    log::debug!("a credential helper did not read its input: {error}");
                }
            })
            .map_err(failed)?;
        }
        let (sender, receiver) = mpsc::channel();
        collect(child.stdout.take(), sender.clone(), true).map_err(failed)?;
        collect(child.stderr.take(), sender, false).map_err(failed)?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let received = self.cancel.receive(&receiver, Some(deadline));
            let (is_stdout, bytes) = received.map_err(|why| match why {
                Stopped::Cancelled => failed(Cancelled.into()),
                _ => timeout(),
            })?;
            let bytes = bytes.map_err(failed)?;
            if bytes.len() > MAX_OUTPUT {
                return Err(CredentialsError::HelperReply {
                    name: self.name.clone(),
                    reason: HelperReply::TooLong { limit: MAX_OUTPUT },
                });
            }
            *(if is_stdout { &mut stdout } else { &mut stderr }) = bytes;
        }
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok(Output {
                    success: status.success(),
                    status: status.to_string(),
                    stdout,
                    stderr,
                });
            }
            if Instant::now() >= deadline {
                return Err(timeout());
            }
            self.cancel
                .wait(POLL)
                .map_err(|cancelled| failed(cancelled.into()))?;
        }
    }

    fn io(&self, action: &'static str, source: io::Error) -> CredentialsError {
        CredentialsError::HelperRun {
            name: self.name.clone(),
            action,
            source,
        }
    }

    fn failed(
        &self,
        action: &'static str,
        output: &Output,
        secret: Option<&Secret>,
    ) -> CredentialsError {
        CredentialsError::HelperFailed {
            name: self.name.clone(),
            action,
            message: message(output, secret),
        }
    }
}

/// Names that cannot lead anywhere but to `docker-credential-…` in a directory of `PATH`.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with(['-', '.'])
        && name.bytes().all(allowed)
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name("credential-helper".to_owned())
        .spawn(work)
        .map(drop)
}

type Collected = (bool, io::Result<Vec<u8>>);

fn collect(
    pipe: Option<impl Read + Send + 'static>,
    sender: mpsc::Sender<Collected>,
    is_stdout: bool,
) -> io::Result<()> {
    let Some(pipe) = pipe else {
        return Err(io::Error::other("no pipe to the helper"));
    };
    spawn(move || {
        let mut bytes = Vec::new();
        let result = pipe
            .take(MAX_OUTPUT as u64 + 1)
            .read_to_end(&mut bytes)
            .map(|_| bytes);
        if sender.send((is_stdout, result)).is_err() {
            log::debug!("a credential helper ended after its time");
        }
    })
}

/// Ends a helper and what it started.
fn kill(child: &mut Child) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process_group};
        // It has not been waited for, so the number is still its own.
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            log::debug!("cannot kill a credential helper's group: {error}");
        }
    }
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        log::debug!("cannot end a credential helper: {error}");
    }
}

fn says_not_found(output: &Output) -> bool {
    [&output.stdout, &output.stderr]
        .into_iter()
        .any(|bytes| String::from_utf8_lossy(bytes).contains(NOT_FOUND))
}

/// What a helper that failed said, or how it ended. By the protocol messages go to stdout, where secrets go too: what
/// looks like the answer it should have been, or has the secret in it, is not shown.
fn message(output: &Output, secret: Option<&Secret>) -> String {
    for (bytes, may_be_answer) in [(&output.stdout, true), (&output.stderr, false)] {
        let text = String::from_utf8_lossy(bytes);
        let shows_secret =
            secret.is_some_and(|s| shows(&text, s)) || (may_be_answer && text.contains('{'));
        if !text.trim().is_empty() && !shows_secret {
            let shown: String = text.trim().chars().take(MAX_MESSAGE).collect();
            return crate::said::Said(&shown).to_string();
        }
    }
    output.status.clone()
}

/// Whether a text has a secret in it: as it is, as JSON has it, which is how a helper gets it, or a line of it.
fn shows(text: &str, secret: &Secret) -> bool {
    const SHORT: usize = 6;

    let secret = secret.expose();
    let quoted = quote(secret);
    let has = |part: &str| !part.is_empty() && text.contains(part);
    let lines = secret.lines().map(str::trim);
    let mut lines = lines.filter(|line| line.len() >= SHORT);
    has(secret)
        || has(quoted.trim_matches('"'))
        || lines.any(|line| has(line) || has(quote(line).trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for good in ["osxkeychain", "ecr-login", "gcr", "a.b_c"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            "-x",
            ".x",
            "..",
            "a/b",
            "a b",
            "a;b",
            "é",
            "a\0",
            &"x".repeat(129),
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn messages_hold_no_secret() {
        let output = |stdout: &str, stderr: &str| Output {
            success: false,
            status: "exit status: 1".into(),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        let secret = Secret::new("hunter2");
        let said = |o, e| message(&output(o, e), Some(&secret));
        assert_eq!(said("locked\nmore", ""), "locked; more");
        assert_eq!(said("", "no \"D-Bus\"\n"), "no \"D-Bus\"");
        assert_eq!(said("{\"Secret\":\"other\"}", "locked"), "locked");
        assert_eq!(said("cannot store hunter2", ""), "exit status: 1");
        assert_eq!(said("", "hunter2"), "exit status: 1");
        let key = Secret::new("{\n \"private_key\": \"SECRET\"\n}");
        for echoed in [
            "{\"Secret\":\"{\\n \\\"private_key\\\": \\\"SECRET\\\"\\n}\"}",
            "\"private_key\": \"SECRET\"",
            "bad line: \\\"private_key\\\": \\\"SECRET\\\"",
        ] {
            let output = output("", echoed);
            assert_eq!(message(&output, Some(&key)), "exit status: 1", "{echoed}");
        }
        assert_eq!(said("", ""), "exit status: 1");
        assert_eq!(said("\u{1b}[31mred", ""), "\\x1b[31mred");
        assert_eq!(said(&"x".repeat(1000), "").len(), MAX_MESSAGE);
    }
}
