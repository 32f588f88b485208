//! What goes wrong with stored credentials. No variant holds a secret.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use lithify_escape::Escaped;

use crate::auth::json::JsonError;

/// Why credentials cannot be read or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file the caller named is not there.
    #[error("{}: no such file of credentials", Escaped::path(.path))]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("cannot {action} {}: {source}", Escaped::path(.path))]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A pipe or directory.
    #[error("{} is not a regular file, so no credentials are read from it: give the path of a file", Escaped::path(.path))]
    NotFile {
        /// What is there.
        path: PathBuf,
    },
    /// More than 1 MiB.
    #[error("{} has more than {limit} bytes, too many for a file of credentials", Escaped::path(.path))]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// A member that is not what it should be.
    #[error("{}: {}{source}", Escaped::path(.path), in_field(.field))]
    Json {
        /// The file.
        path: PathBuf,
        /// The member, such as `auths["quay.io"].auth`; empty for the file as a whole.
        field: String,
        /// What is wrong.
        source: JsonError,
    },
    /// An `auth` that is not base64 of `user:password`.
    #[error("{}: {field}: expected base64 of `user:password`; sign in again with `lithify login {key}`", Escaped::path(.path))]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The member.
        field: String,
        /// The entry's key.
        key: String,
    },
    /// A secret or name with characters that cannot be sent, or longer than 32 KiB.
    #[error("{}: {field}: expected at most 32 KiB of characters that HTTP can carry", Escaped::path(.path))]
    Characters {
        /// The file.
        path: PathBuf,
        /// The member.
        field: String,
    },
    /// A helper's name that could name another program.
    #[error("{}: `{}` is no name of a credential helper: expected letters, digits, `.`, `_` and `-`", Escaped::path(.path), Escaped(.name))]
    HelperName {
        /// The file that names it.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Not on `PATH`.
    #[error("{}: the program docker-credential-{name} is not on PATH", Escaped::path(.path))]
    HelperMissing {
        /// The file that names it.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// It could not be run.
    #[error("docker-credential-{name} {action}: {source}")]
    HelperRun {
        /// The name.
        name: String,
        /// `get`, `store` or `erase`.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("docker-credential-{name} {action} did not end within {} s", .limit.as_secs_f64())]
    HelperTimeout {
        /// The name.
        name: String,
        /// `get`, `store` or `erase`.
        action: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// It said that it failed.
    #[error("docker-credential-{name} {action} failed{}", because(.message))]
    HelperFailed {
        /// The name.
        name: String,
        /// `get`, `store` or `erase`.
        action: &'static str,
        /// What it said, if it can be shown.
        message: String,
    },
    /// It answered something else than the protocol has.
    #[error("docker-credential-{name} get: {reason}")]
    HelperReply {
        /// The name.
        name: String,
        /// What is wrong.
        reason: HelperReply,
    },
    /// A registry name that cannot be a key.
    #[error("`{}` is no registry: expected host[:port][/namespace]", Escaped(.name))]
    Registry {
        /// The name.
        name: String,
    },
    /// A user name that cannot be stored.
    #[error("a user name may have neither `:` nor control characters")]
    Username,
    /// There is no directory to store credentials in.
    #[error("no place for credentials: set $HOME or $REGISTRY_AUTH_FILE, or name a file")]
    NoPlace,
}

/// What is wrong with a helper's answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelperReply {
    /// More than 64 KiB.
    #[error("more than {limit} bytes of output")]
    TooLong {
        /// Bytes allowed.
        limit: usize,
    },
    /// Not the object it should be.
    #[error("{field}: {source}")]
    Json {
        /// The member, or `output`.
        field: &'static str,
        /// What is wrong.
        source: JsonError,
    },
    /// A secret that cannot be sent.
    #[error("`{field}` has characters that HTTP cannot carry")]
    Characters {
        /// The member.
        field: &'static str,
    },
}

fn in_field(field: &str) -> String {
    if field.is_empty() {
        return String::new();
    }
    format!("{field}: ")
}

fn because(message: &str) -> String {
    if message.is_empty() {
        return String::new();
    }
    format!(": {message}")
}
