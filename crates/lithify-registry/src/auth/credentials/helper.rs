//! Credential helpers: `docker-credential-NAME get|store|erase` (docker/docker-credential-helpers).
//!
//! The name comes from a file, so it may not lead to another program: letters, digits, `.`, `_` and `-` only, found on
//! `PATH` only, run without a shell. A helper may hang (a locked keychain that asks on a screen no one sees) or talk
//! without end; both are bounded, and a helper that is given up is killed with its whole process group.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lithify_cancel::CancelToken;

use super::error::HelperReply;
use super::process::{self, Limits, Output, Unanswered};
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
        command.arg(action);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let limits = Limits {
            time: self.limit,
            output: MAX_OUTPUT,
        };
        process::ask(command, input, limits, is_object, &self.cancel).map_err(|why| match why {
            Unanswered::Io(source) => self.io(action, source),
            Unanswered::Late => CredentialsError::HelperTimeout {
                name: self.name.clone(),
                action,
                limit: self.limit,
            },
            Unanswered::TooLong => CredentialsError::HelperReply {
                name: self.name.clone(),
                reason: HelperReply::TooLong { limit: MAX_OUTPUT },
            },
        })
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

/// Whether this is a whole answer.
fn is_object(output: &[u8]) -> bool {
    std::str::from_utf8(output).is_ok_and(|text| Members::parse(text).is_ok())
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
