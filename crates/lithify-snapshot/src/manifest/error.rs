//! Reasons why a manifest is not taken.

use lithify_escape::Escaped;

use super::SCHEMA;
use crate::json::JsonError;

/// The reason why a manifest is not taken. Members are named by their way from the outermost object, as in `disk.size`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// No JSON that means the same to all readers.
    #[error("the manifest of the snapshot is not taken")]
    Json(#[from] JsonError),
    /// Another schema.
    #[error(
        "the manifest of the snapshot has the schema `{}`, expected `{SCHEMA}`",
        Escaped(found)
    )]
    Schema {
        /// The schema.
        found: String,
    },
    /// Features that a reader has to know.
    #[error(
        "the snapshot requires `{}`, which this version does not know; a newer one may",
        Escaped(feature)
    )]
    Feature {
        /// The first of them.
        feature: String,
    },
    /// A member that is not there.
    #[error("the manifest of the snapshot has no `{member}`")]
    Missing {
        /// The member.
        member: String,
    },
    /// A member that no manifest of the schema has.
    #[error(
        "the manifest of the snapshot has `{}`, which its schema does not have",
        Escaped(member)
    )]
    Unknown {
        /// The member.
        member: String,
    },
    /// A member that is another type of value.
    #[error(
        "`{}` in the manifest of the snapshot is not {expected}",
        Escaped(member)
    )]
    Type {
        /// The member.
        member: String,
        /// The type that it should be.
        expected: &'static str,
    },
    /// A member whose value is none that it may have.
    #[error(
        "`{}` in the manifest of the snapshot is `{}`, expected {expected}",
        Escaped(member),
        Escaped(found)
    )]
    Value {
        /// The member.
        member: String,
        /// Its value.
        found: String,
        /// The values that it may have.
        expected: &'static str,
    },
}
