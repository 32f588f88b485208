//! What is wrong with a configuration.

use std::io;
use std::path::PathBuf;

use lithify_escape::Escaped;

/// Why there is no configuration, or no endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file that was named is not there.
    #[error("{}: no such configuration of registries", Escaped::path(.path))]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Reading failed.
    #[error("cannot read {}: {source}", Escaped::path(.path))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// More than 1 MiB.
    #[error("{} has more than {limit} bytes, too many for a configuration", Escaped::path(.path))]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// No TOML, a key nobody knows, or a value of the wrong type.
    #[error("{}:{line}:{column}: {message}", Escaped::path(.path))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was expected and found.
        message: String,
    },
    /// A time in which nothing can happen.
    #[error("{}: `{key}` in `timeouts` is 0, expected seconds, such as 60 or 0.5; leave it out for the usual", Escaped::path(.path))]
    NoTime {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// Neither `host[:port][/path]` nor `*.host[:port]`.
    #[error("{}: {field} = \"{}\": expected {expected}", Escaped::path(.path), Escaped(.value))]
    Name {
        /// The file.
        path: PathBuf,
        /// `prefix` or `location`.
        field: &'static str,
        /// What was found.
        value: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// Two entries for one prefix.
    #[error("{}: two [[registry]] have the prefix `{prefix}`", Escaped::path(.path))]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The prefix.
        prefix: String,
    },
    /// More of something than anyone needs.
    #[error("{}: more than {limit} {what}", Escaped::path(.path))]
    TooMany {
        /// The file.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// Half of a pair.
    #[error("{}: {found} without {missing}", Escaped::path(.path))]
    Pair {
        /// The file or directory.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What is not.
        missing: String,
    },
    /// Names that are not to be used.
    #[error("{name} is blocked: {} has blocked = true for `{prefix}`", Escaped::path(.path))]
    Blocked {
        /// The name.
        name: String,
        /// The prefix it matched.
        prefix: String,
        /// The file.
        path: PathBuf,
    },
}

impl ConfigError {
    /// Whether a file is where this user cannot look.
    pub(super) fn is_out_of_reach(&self) -> bool {
        let Self::Io { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory
        )
    }
}
