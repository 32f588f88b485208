//! What is wrong with a configuration.

use std::io;
use std::path::PathBuf;

/// Why there is no configuration, or no endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file that was named is not there.
    #[error("{}: no such configuration of registries", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Reading failed.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// More than 1 MiB.
    #[error("{} has more than {limit} bytes, too many for a configuration", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// No TOML, a key nobody knows, or a value of the wrong type.
    #[error("{}:{line}:{column}: {message}", .path.display())]
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
    /// Neither `host[:port][/path]` nor `*.host[:port]`.
    #[error("{}: {field} = \"{}\": expected {expected}", .path.display(), .value.escape_debug())]
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
    #[error("{}: two [[registry]] have the prefix `{prefix}`", .path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The prefix.
        prefix: String,
    },
    /// More of something than anyone needs.
    #[error("{}: more than {limit} {what}", .path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// Half of a pair.
    #[error("{}: {found} without {missing}", .path.display())]
    Pair {
        /// The file or directory.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What is not.
        missing: String,
    },
    /// Names that are not to be used.
    #[error("{name} is blocked: {} has blocked = true for `{prefix}`", .path.display())]
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
